//! The gradient of the weights: the sum over images and positions of patches times the output's gradient.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::patches::{Patches, rows_per_block};
use super::{Convolution, depthwise};
use crate::buffers;
use crate::fill::{Size, filled};
use crate::panels::{add_products, panels, widest};
use crate::registers::{load, store};
use crate::scratch;
use crate::simd::Path;

/// Sums that are made side by side, at most, and their numbers together, about. Fixed, so that sums do not depend on threads.
const TASKS: usize = 16;
const NUMBERS: usize = 1 << 22;
/// Taps that are put in order together.
const TOGETHER: usize = 16;
/// Numbers of the sums that a task adds up.
const CHUNK: usize = 1 << 14;

/// The gradient of the weights.
///
/// # Shapes
///
/// - images: `[image, row, column, input]`
/// - gradient: `[image, row, column, output]`
/// - output: `[output, input of the group, row, column]`
///
/// # Panics
///
/// When the slices are not of these sizes.
#[must_use]
pub fn weight_gradient(path: Path, convolution: Convolution, images: &[f32], gradient: &[f32], threads: usize) -> Vec<f32> {
    let batch = images.len() / convolution.image_size();
    let sizes = [images.len(), gradient.len()];
    assert_eq!(sizes, [batch * convolution.image_size(), batch * convolution.output_size()], "slices for {convolution:?}");
    let Convolution { outputs, groups, .. } = convolution;
    let (taps, of_group, rows) = (convolution.taps(), outputs / groups, batch * convolution.sides()[0]);
    let padded = if convolution.is_depthwise() { outputs } else { groups * path.padded(of_group) };
    let size = taps * padded;
    let tasks = (NUMBERS / size.max(1)).clamp(2, TASKS).min(rows.max(1));
    let task = |number: usize, sums: &mut [f32], _: &mut [u8]| {
        let rows = number * rows / tasks..(number + 1) * rows / tasks;
        if convolution.is_depthwise() {
            path.run(depthwise::WeightGradient { convolution: &convolution, images, gradient, rows, sums });
        } else {
            path.run(Task { convolution: &convolution, images, gradient, rows, sums });
        }
    };
    let mut partials = filled(threads, tasks, Size::zeros(tasks * size, size), Size::NONE, task).0;
    let (sums, others) = partials.split_at_mut(size);
    sums.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, sums)| {
        for partial in others.chunks_exact(size) {
            sums.iter_mut().zip(&partial[chunk * CHUNK..]).for_each(|(sum, number)| *sum += number);
        }
    });
    let weights = ordered(path, &convolution, sums);
    buffers::recycle(partials);
    weights
}

/// Sums as the kernels have them, in the order of the weights.
fn ordered(path: Path, convolution: &Convolution, sums: &[f32]) -> Vec<f32> {
    let Convolution { outputs, groups, .. } = *convolution;
    let (taps, of_group) = (convolution.taps(), outputs / groups);
    let mut weights = buffers::any(convolution.weights());
    if convolution.is_depthwise() {
        for (tap, sums) in sums.chunks_exact(outputs).enumerate() {
            sums.iter().enumerate().for_each(|(channel, sum)| weights[channel * taps + tap] = *sum);
        }
        return weights;
    }
    let (order, lanes) = (convolution.kernel_order(), path.lanes);
    for (sums, weights) in sums.chunks_exact(sums.len() / groups).zip(weights.chunks_exact_mut(of_group * taps)) {
        for (first, width) in panels(of_group.div_ceil(lanes), widest(path.registers)) {
            let panel = &sums[first * lanes * taps..][..width * lanes * taps];
            let count = (width * lanes).min(of_group - first * lanes);
            let weights = &mut weights[first * lanes * taps..][..count * taps];
            // Some taps of all outputs at a time, so that a cache line is read once.
            for start in (0..taps).step_by(TOGETHER) {
                let some = start..(start + TOGETHER).min(taps);
                for (output, kernel) in weights.chunks_exact_mut(taps).enumerate() {
                    some.clone().for_each(|tap| kernel[order[tap]] = panel[tap * width * lanes + output]);
                }
            }
        }
    }
    weights
}

/// Adds up over some output rows of all images: group by group, panels of outputs, in each the taps.
struct Task<'a> {
    convolution: &'a Convolution,
    images: &'a [f32],
    gradient: &'a [f32],
    rows: Range<usize>,
    sums: &'a mut [f32],
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { convolution, images, gradient, rows, sums } = self;
        let Convolution { outputs, groups, .. } = *convolution;
        let (taps, of_group, columns) = (convolution.taps(), outputs / groups, convolution.sides()[1]);
        let registers = of_group.div_ceil(S::F32_LANES);
        let lines = rows_per_block(convolution);
        let mut patches = Patches::of(convolution, lines);
        let mut slopes = scratch::any(lines * columns * registers * S::F32_LANES);
        for first in rows.clone().step_by(lines) {
            let rows = first..(first + lines).min(rows.end);
            let count = rows.len() * columns;
            for (group, sums) in sums.chunks_exact_mut(taps * registers * S::F32_LANES).enumerate() {
                let left = patches.load(convolution, images, group, rows.clone());
                let pixels = gradient[first * columns * outputs..][..count * outputs].chunks_exact(outputs);
                for (pixel, to) in pixels.zip(slopes.chunks_exact_mut(registers * S::F32_LANES)) {
                    let pixel = &pixel[group * of_group..][..of_group];
                    for channel in (0..of_group).step_by(S::F32_LANES) {
                        let numbers = load(simd, &pixel[channel..][..S::F32_LANES.min(of_group - channel)]);
                        store(simd, &mut to[channel..][..S::F32_LANES], numbers);
                    }
                }
                let ((slopes, _), (sums, _)) = (S::as_simd_f32s(&slopes), S::as_mut_simd_f32s(sums));
                for (first, width) in panels(registers, widest(S::REGISTER_COUNT)) {
                    let to = &mut sums[first * taps..][..width * taps];
                    add_products(simd, left, taps, (&slopes[first..], registers), width, to, false);
                }
            }
        }
    }
}
