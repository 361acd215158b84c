//! The gradient of the kernels where patches are short.

use pulp::{Simd, WithSimd};

use super::ArgMax;
use crate::image::Layout;
use crate::scratch::{self, Aligned};
use crate::simd::Path;

/// The gradient of the kernels where patches are short: for each number of a patch, a sum for every output channel.
///
/// Multiplying all four positions of a pool, by 0 for three of them, is faster than reading only the argmax's.
pub(super) struct PatchSums {
    /// Output channels, padded to whole registers.
    channels: usize,
    outputs: usize,
    run: usize,
    padded_run: usize,
    /// `[tap, channel]`.
    sums: Aligned,
    /// `[position, channel]`; empty where the gradient needs no padding.
    gradient: Aligned,
    /// `[position, channel]`.
    argmax: Aligned,
}

impl PatchSums {
    pub(super) fn new(layout: &Layout, path: Path) -> Self {
        let geometry = layout.geometry();
        let channels = path.padded(geometry.outputs);
        let size = geometry.pooled() * channels;
        let gradient = scratch::zeros(if channels == geometry.outputs { 0 } else { size });
        let (argmax, sums) = (scratch::zeros(size), scratch::zeros(layout.run * channels));
        Self { channels, outputs: geometry.outputs, run: layout.run, padded_run: layout.padded_run, sums, gradient, argmax }
    }

    /// Takes argmax and gradient of an image, `[position, channel]`.
    #[inline(always)]
    pub(super) fn load(&mut self, argmax: &[ArgMax], gradient: &[f32]) {
        for (to, from) in self.gradient.chunks_exact_mut(self.channels).zip(gradient.chunks_exact(self.outputs)) {
            to[..self.outputs].copy_from_slice(from);
        }
        for (to, from) in self.argmax.chunks_exact_mut(self.channels).zip(argmax.chunks_exact(self.outputs)) {
            to.iter_mut().zip(from).for_each(|(to, largest)| *to = f32::from(*largest));
        }
    }

    /// Stores the sums as the kernels of one output channel after the other.
    pub(super) fn store(&self, kernels: &mut [f32]) {
        for (output, kernel) in kernels.chunks_exact_mut(self.padded_run).enumerate() {
            for (tap, to) in kernel[..self.run].iter_mut().enumerate() {
                *to = self.sums[tap * self.channels + output];
            }
        }
    }
}

/// Adds the gradient of an image, laid out in `image`, to the sums that have loaded it.
pub(super) struct PatchGradient<'a> {
    pub(super) layout: &'a Layout,
    pub(super) image: &'a [f32],
    pub(super) gradient: &'a [f32],
    pub(super) patch_sums: &'a mut PatchSums,
}

impl WithSimd for PatchGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layout, image, gradient, patch_sums } = self;
        let (gradient, _) = S::as_simd_f32s(if patch_sums.gradient.is_empty() { gradient } else { &patch_sums.gradient });
        let (argmax, _) = S::as_simd_f32s(&patch_sums.argmax);
        let (sums, _) = S::as_mut_simd_f32s(&mut patch_sums.sums);
        let registers = patch_sums.channels / S::F32_LANES;
        for register in 0..registers {
            let mut tap = 0;
            while tap < layout.run {
                let sums = &mut sums[tap * registers + register..];
                tap += match layout.run - tap {
                    9.. => add_taps::<S, 9>(simd, layout, &image[tap..], registers, &gradient[register..], &argmax[register..], sums),
                    4.. => add_taps::<S, 4>(simd, layout, &image[tap..], registers, &gradient[register..], &argmax[register..], sums),
                    _ => add_taps::<S, 1>(simd, layout, &image[tap..], registers, &gradient[register..], &argmax[register..], sums),
                };
            }
        }
    }
}

/// Adds up `T` numbers of a patch over all positions; how many were done.
#[inline(always)]
fn add_taps<S: Simd, const T: usize>(
    simd: S,
    layout: &Layout,
    image: &[f32],
    registers: usize,
    gradient: &[S::f32s],
    argmax: &[S::f32s],
    to: &mut [S::f32s],
) -> usize {
    let geometry = layout.geometry();
    let mut sums = [simd.splat_f32s(0.0); T];
    for t in 0..T {
        sums[t] = to[t * registers];
    }
    for position in 0..geometry.pooled() {
        let starts = layout.starts(2 * (position / geometry.pooled_width()), 2 * (position % geometry.pooled_width()));
        let (gradient, largest) = (gradient[position * registers], argmax[position * registers]);
        for index in 0..4 {
            let is_largest = simd.equal_f32s(largest, simd.splat_f32s(index as f32));
            let gradient = simd.select_f32s(is_largest, gradient, simd.splat_f32s(0.0));
            let Some(numbers) = image[starts[index]..].first_chunk::<T>() else { return T };
            for t in 0..T {
                sums[t] = simd.mul_add_e_f32s(simd.splat_f32s(numbers[t]), gradient, sums[t]);
            }
        }
    }
    for t in 0..T {
        to[t * registers] = sums[t];
    }
    T
}
