//! The forward pass: patches times weights, block by block.

use std::ops::Range;
use std::sync::Arc;

use pulp::{Simd, WithSimd};

use super::patches::{Patches, rows_per_block};
use super::{Convolution, depthwise};
use crate::blocks::Blocks;
use crate::moments::Moments;
use crate::panels::{Rows, multiply, packed, panels, widest};
use crate::registers::{load, store};
use crate::scratch;
use crate::simd::Path;

/// Inputs whose weights are packed together.
const TOGETHER: usize = 8;

/// Weights as the forward pass reads them.
pub struct PackedWeights {
    pub(super) path: Path,
    pub(super) convolution: Convolution,
    /// Group by group: panels of output channels, in each the taps in the order of a patch. For a depthwise convolution `[tap, channel]`.
    pub(super) numbers: Arc<[f32]>,
}

impl PackedWeights {
    /// Packs the weights, `[output, input of the group, row, column]`.
    ///
    /// # Panics
    ///
    /// When they are not of the convolution's sizes.
    #[must_use]
    pub fn new(path: Path, convolution: Convolution, weights: &[f32], threads: usize) -> Self {
        assert_eq!(weights.len(), convolution.weights(), "weights for {convolution:?}");
        let numbers = if convolution.is_depthwise() {
            depthwise::packed(&convolution, weights)
        } else {
            by_panels(path, &convolution, weights, threads)
        };
        Self { path, convolution, numbers: numbers.into() }
    }

    /// Packs those of a pointwise convolution, `[input, output]`.
    pub(super) fn transposed(path: Path, convolution: Convolution, weights: &[f32], threads: usize) -> Self {
        let Convolution { inputs, outputs, .. } = convolution;
        let numbers = packed(path, outputs.div_ceil(path.lanes), inputs, threads > 1, |first, columns, panel| {
            let count = columns.min(outputs - first);
            for (from, to) in weights.chunks_exact(outputs).zip(panel.chunks_exact_mut(columns)) {
                to[..count].copy_from_slice(&from[first..][..count]);
                to[count..].fill(0.0);
            }
        });
        Self { path, convolution, numbers: numbers.into() }
    }

    /// The same weights, shared, for images of another size.
    #[must_use]
    pub fn resized(&self, height: usize, width: usize) -> Self {
        let convolution = Convolution { height, width, ..self.convolution };
        Self { convolution, numbers: Arc::clone(&self.numbers), ..*self }
    }

    /// The convolution of images by these weights, block by block.
    pub(crate) fn blocks<'a>(&'a self, images: &'a [f32]) -> Blocks<'a, impl Fn(Range<usize>, &mut [f32]) + Sync> {
        let Self { path, convolution, .. } = self;
        let multiply = |rows, out: &mut [f32]| {
            if convolution.is_depthwise() {
                path.run(depthwise::Forward { weights: self, images, rows, out });
            } else {
                path.run(Block { weights: self, images, rows, out });
            }
        };
        Blocks { path: *path, convolution, images, lines: rows_per_block(convolution), multiply }
    }
}

fn by_panels(path: Path, convolution: &Convolution, kernel: &[f32], threads: usize) -> Vec<f32> {
    let (taps, area) = (convolution.taps(), convolution.kernel.iter().product());
    let inputs = taps / area;
    let outputs = convolution.outputs / convolution.groups;
    let of_group = |kernel: &[f32]| {
        packed(path, outputs.div_ceil(path.lanes), taps, threads > 1, |first, columns, panel| {
            // Columns beyond the last one are zeros.
            panel.fill(0.0);
            // Some inputs of all outputs at a time, so that a cache line is read and written once.
            for start in (0..inputs).step_by(TOGETHER) {
                let some = start..(start + TOGETHER).min(inputs);
                for (output, kernel) in kernel.chunks_exact(taps).skip(first).take(columns).enumerate() {
                    for (input, kernel) in some.clone().zip(kernel[start * area..].chunks_exact(area)) {
                        kernel.iter().enumerate().for_each(|(place, weight)| panel[(place * inputs + input) * columns + output] = *weight);
                    }
                }
            }
        })
    };
    joined(kernel.chunks_exact(outputs * taps).map(of_group))
}

/// The lists of all groups, one after the other.
pub(super) fn joined(mut lists: impl ExactSizeIterator<Item = Vec<f32>>) -> Vec<f32> {
    if lists.len() == 1 { lists.next().unwrap_or_default() } else { lists.collect::<Vec<_>>().concat() }
}

/// The convolution of images, and the moments of its channels, where they are asked for. With `threads` 1 the caller's thread does all.
///
/// # Shapes
///
/// - images: `[image, row, column, input]`
/// - output: `[image, row, column, output]`
///
/// # Panics
///
/// When the images are not of the convolution's sizes.
#[must_use]
pub fn forward(weights: &PackedWeights, images: &[f32], has_moments: bool, threads: usize) -> (Vec<f32>, Option<Moments>) {
    weights.blocks(images).forward(has_moments, threads)
}

/// Some output rows of all images.
struct Block<'a> {
    weights: &'a PackedWeights,
    images: &'a [f32],
    rows: Range<usize>,
    out: &'a mut [f32],
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights: PackedWeights { convolution, numbers, .. }, images, rows, out } = self;
        let (taps, outputs) = (convolution.taps(), convolution.outputs / convolution.groups);
        let registers = outputs.div_ceil(S::F32_LANES);
        let mut patches = Patches::of(convolution, rows.len());
        if convolution.groups == 1 && outputs.is_multiple_of(S::F32_LANES) {
            let (to, _) = S::as_mut_simd_f32s(out);
            multiply_panels(simd, patches.load(convolution, images, 0, rows), S::as_simd_f32s(numbers).0, taps, to, registers);
            return;
        }
        let mut block = scratch::any(rows.len() * convolution.sides()[1] * registers * S::F32_LANES);
        for (group, numbers) in numbers.chunks_exact(taps * registers * S::F32_LANES).enumerate() {
            let rows = patches.load(convolution, images, group, rows.clone());
            let (to, _) = S::as_mut_simd_f32s(&mut block);
            multiply_panels(simd, rows, S::as_simd_f32s(numbers).0, taps, to, registers);
            for (from, pixel) in block.chunks_exact(registers * S::F32_LANES).zip(out.chunks_exact_mut(convolution.outputs)) {
                let channels = &mut pixel[group * outputs..][..outputs];
                for channel in (0..outputs).step_by(S::F32_LANES) {
                    let count = S::F32_LANES.min(outputs - channel);
                    store(simd, &mut channels[channel..][..count], load(simd, &from[channel..][..count]));
                }
            }
        }
    }
}

/// The rows, of `depth` numbers each, times all panels: `[row, register]`.
#[inline(always)]
pub(super) fn multiply_panels<S: Simd>(simd: S, rows: Rows, numbers: &[S::f32s], depth: usize, to: &mut [S::f32s], registers: usize) {
    for (first, width) in panels(registers, widest(S::REGISTER_COUNT)) {
        multiply(simd, rows, width, &numbers[first * depth..][..width * depth], &mut to[first..], registers);
    }
}
