//! Kernels as the products read them.

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::scheme::{F2, F4, MOST, Scheme};
use crate::buffers;
use crate::panels::pack;
use crate::scratch::{self, Place, Prepared};
use crate::simd::Path;

/// Inputs whose kernels are read together, so that a cache line is read once.
const TOGETHER: usize = 8;

/// The outputs that are computed together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tile {
    /// F(4×4, 3×3).
    #[default]
    Four,
    /// F(2×2, 3×3): 1.8 times the multiplications, a third of the rounding errors.
    Two,
}

impl Tile {
    /// Products for each pair of channels.
    pub(crate) const fn products(self) -> usize {
        match self {
            Self::Four => F4::SIDE * F4::SIDE,
            Self::Two => F2::SIDE * F2::SIDE,
        }
    }
}

/// G g Gᵀ of each kernel: panels of output channels, in each the products, in each the inputs, in each a number for every channel.
pub struct Kernels {
    pub(crate) path: Path,
    pub(crate) tile: Tile,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) numbers: Prepared,
}

impl Kernels {
    /// Those of the forward pass.
    ///
    /// # Shapes
    ///
    /// - weights: `[output, input, 3, 3]`
    ///
    /// # Panics
    ///
    /// When there are not `outputs` times a whole number of kernels.
    #[must_use]
    pub fn new(path: Path, tile: Tile, weights: &[f32], outputs: usize, threads: usize) -> Self {
        Self::at(Place::Own, path, tile, weights, outputs, threads)
    }

    /// As [`Kernels::new`], at that place.
    pub(crate) fn at(place: Place, path: Path, tile: Tile, weights: &[f32], outputs: usize, threads: usize) -> Self {
        let inputs = weights.len() / (9 * outputs);
        assert_eq!(weights.len(), 9 * outputs * inputs, "whole kernels for {outputs} outputs");
        Self::of(place, path, tile, [inputs, outputs], threads, &Source { weights, steps: [1, inputs], is_turned: false })
    }

    /// Those of the gradient of the images: inputs and outputs exchanged, each kernel turned by 180°.
    ///
    /// # Shapes
    ///
    /// As in [`Kernels::new`].
    ///
    /// # Panics
    ///
    /// As [`Kernels::new`].
    #[must_use]
    pub fn turned(path: Path, tile: Tile, weights: &[f32], outputs: usize, threads: usize) -> Self {
        let inputs = weights.len() / (9 * outputs);
        assert_eq!(weights.len(), 9 * outputs * inputs, "whole kernels for {outputs} outputs");
        Self::of(Place::Shared, path, tile, [outputs, inputs], threads, &Source { weights, steps: [inputs, 1], is_turned: true })
    }

    fn of(place: Place, path: Path, tile: Tile, [inputs, outputs]: [usize; 2], threads: usize, source: &Source) -> Self {
        let registers = outputs.div_ceil(path.lanes);
        let size = tile.products() * inputs;
        let mut numbers = Prepared::any(place, size * registers * path.lanes);
        pack(path, registers, size, threads > 1, &mut numbers, |first, columns, panel| {
            let given = columns.min(outputs - first);
            match tile {
                Tile::Four => path.run(Transform::<F4> { source, inputs, first, given, columns, panel, scheme: PhantomData }),
                Tile::Two => path.run(Transform::<F2> { source, inputs, first, given, columns, panel, scheme: PhantomData }),
            }
        });
        Self { path, tile, inputs, outputs, numbers }
    }
}

/// Where kernels are.
struct Source<'a> {
    weights: &'a [f32],
    /// Kernels from one input to the next, and from one output to the next.
    steps: [usize; 2],
    is_turned: bool,
}

/// A panel, of which the first `given` columns are not padding.
struct Transform<'a, T> {
    source: &'a Source<'a>,
    inputs: usize,
    first: usize,
    given: usize,
    columns: usize,
    panel: &'a mut [f32],
    scheme: PhantomData<T>,
}

impl<T: Scheme> WithSimd for Transform<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { source: &Source { weights, steps, is_turned }, inputs, first, given, columns, panel, .. } = self;
        let (panel, _) = S::as_mut_simd_f32s(panel);
        let width = columns / S::F32_LANES;
        // One number of every kernel of an input after the other, so that a register has that of one output channel in each lane.
        let mut transposed = scratch::zeros(TOGETHER * 9 * columns);
        for start in (0..inputs).step_by(TOGETHER) {
            let some = start..(start + TOGETHER).min(inputs);
            for column in 0..given {
                for (input, to) in some.clone().zip(transposed.chunks_exact_mut(9 * columns)) {
                    let kernel = &weights[(input * steps[0] + (first + column) * steps[1]) * 9..][..9];
                    for tap in 0..9 {
                        to[tap * columns + column] = kernel[if is_turned { 8 - tap } else { tap }];
                    }
                }
            }
            let (transposed, _) = S::as_simd_f32s(&transposed);
            for (input, g) in some.zip(transposed.chunks_exact(9 * width)) {
                for register in 0..width {
                    let mut half = [[simd.splat_f32s(0.0); 3]; MOST];
                    for column in 0..3 {
                        let transformed = T::kernel(simd, [0, 1, 2].map(|row| g[(3 * row + column) * width + register]));
                        for row in 0..T::SIDE {
                            half[row][column] = transformed[row];
                        }
                    }
                    for row in 0..T::SIDE {
                        let transformed = T::kernel(simd, half[row]);
                        for column in 0..T::SIDE {
                            panel[((T::SIDE * row + column) * inputs + input) * width + register] = transformed[column];
                        }
                    }
                }
            }
        }
    }
}

/// Gᵀ u G of the gradients of all products, `[product]`, in each panels `[panel]`, in each `[input, output]`: `[output, input, 3, 3]`.
pub(super) fn gradient_of_weights<T: Scheme>(
    path: Path,
    gradients: &[f32],
    [inputs, outputs]: [usize; 2],
    panels: &[(usize, usize)],
) -> Vec<f32> {
    let registers = outputs.div_ceil(path.lanes);
    let mut weights = buffers::any(outputs * inputs * 9);
    weights.par_chunks_mut(path.lanes * inputs * 9).enumerate().for_each(|(register, weights)| {
        let panel = *panels.iter().find(|(first, width)| (*first..first + width).contains(&register)).unwrap_or(&(0, 1));
        path.run(Restore::<T> { gradients, inputs, registers, register, panel, weights, scheme: PhantomData });
    });
    weights
}

/// The kernels of one register of output channels.
struct Restore<'a, T> {
    gradients: &'a [f32],
    inputs: usize,
    registers: usize,
    register: usize,
    panel: (usize, usize),
    weights: &'a mut [f32],
    scheme: PhantomData<T>,
}

impl<T: Scheme> WithSimd for Restore<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { gradients, inputs, registers, register, panel: (first, width), weights, .. } = self;
        let (gradients, _) = S::as_simd_f32s(gradients);
        let mut taps = scratch::any(9 * S::F32_LANES);
        for input in 0..inputs {
            let start = (first * inputs) + input * width + register - first;
            let mut half = [[simd.splat_f32s(0.0); MOST]; 3];
            for column in 0..T::SIDE {
                let mut u = [simd.splat_f32s(0.0); MOST];
                for row in 0..T::SIDE {
                    u[row] = gradients[(row * T::SIDE + column) * registers * inputs + start];
                }
                let restored = T::kernel_gradient(simd, u);
                for row in 0..3 {
                    half[row][column] = restored[row];
                }
            }
            let (to, _) = S::as_mut_simd_f32s(&mut taps);
            for row in 0..3 {
                let restored = T::kernel_gradient(simd, half[row]);
                to[3 * row..][..3].copy_from_slice(&restored);
            }
            for (lane, kernels) in weights.chunks_exact_mut(inputs * 9).enumerate() {
                for (tap, weight) in kernels[input * 9..][..9].iter_mut().enumerate() {
                    *weight = taps[tap * S::F32_LANES + lane];
                }
            }
        }
    }
}
