//! Depthwise convolution: each output channel is made of one input channel. Weights are `[tap, channel]`.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{Convolution, PackedWeights};
use crate::registers::{load, store};

/// `[channel, row, column]` as `[tap, channel]`.
pub(super) fn packed(convolution: &Convolution, kernel: &[f32]) -> Vec<f32> {
    let taps = convolution.taps();
    (0..taps).flat_map(|tap| kernel.iter().skip(tap).step_by(taps)).copied().collect()
}

/// Some output rows of all images.
pub(super) struct Forward<'a> {
    pub(super) weights: &'a PackedWeights,
    pub(super) images: &'a [f32],
    pub(super) rows: Range<usize>,
    pub(super) out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights: PackedWeights { convolution, numbers, .. }, images, rows, out } = self;
        let ([height, columns], channels) = (convolution.sides(), convolution.inputs);
        for (row, out) in rows.zip(out.chunks_exact_mut(columns * channels)) {
            let image = &images[row / height * convolution.image_size()..][..convolution.image_size()];
            out.fill(0.0);
            for_each_tap(convolution, row % height, columns, |tap, column, from| {
                let (weights, pixel) = (&numbers[tap * channels..][..channels], &image[from * channels..][..channels]);
                add_product(simd, &mut out[column * channels..][..channels], weights, pixel);
            });
        }
    }
}

/// Calls `visit` with each tap, each column of an output row, and the pixel of the image that the tap multiplies there; in each column the taps come in order.
#[inline(always)]
fn for_each_tap(convolution: &Convolution, row: usize, columns: usize, mut visit: impl FnMut(usize, usize, usize)) {
    let [kernel_rows, kernel_columns] = convolution.kernel;
    for column in 0..columns {
        for y in 0..kernel_rows {
            let Some(from_row) = convolution.rows().index(row, y) else { continue };
            for x in 0..kernel_columns {
                if let Some(from_column) = convolution.columns().index(column, x) {
                    visit(y * kernel_columns + x, column, from_row * convolution.width + from_column);
                }
            }
        }
    }
}

/// Adds the products of two lists.
#[inline(always)]
fn add_product<S: Simd>(simd: S, to: &mut [f32], left: &[f32], right: &[f32]) {
    for channel in (0..to.len()).step_by(S::F32_LANES) {
        let count = S::F32_LANES.min(to.len() - channel);
        let at = |numbers: &[f32]| load(simd, &numbers[channel..][..count]);
        let sum = simd.mul_add_e_f32s(at(left), at(right), at(to));
        store(simd, &mut to[channel..][..count], sum);
    }
}

/// The gradient of an image.
pub(super) struct ImageGradient<'a> {
    pub(super) convolution: &'a Convolution,
    pub(super) weights: &'a [f32],
    pub(super) gradient: &'a [f32],
    pub(super) out: &'a mut [f32],
}

impl WithSimd for ImageGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { convolution, weights, gradient, out } = self;
        let ([height, columns], channels) = (convolution.sides(), convolution.inputs);
        for row in 0..height {
            for_each_tap(convolution, row, columns, |tap, column, to| {
                let slopes = &gradient[(row * columns + column) * channels..][..channels];
                add_product(simd, &mut out[to * channels..][..channels], &weights[tap * channels..][..channels], slopes);
            });
        }
    }
}

/// The gradient of the weights over some output rows of all images, `[tap, channel]`.
pub(super) struct WeightGradient<'a> {
    pub(super) convolution: &'a Convolution,
    pub(super) images: &'a [f32],
    pub(super) gradient: &'a [f32],
    pub(super) rows: Range<usize>,
    pub(super) sums: &'a mut [f32],
}

impl WithSimd for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { convolution, images, gradient, rows, sums } = self;
        let ([height, columns], channels) = (convolution.sides(), convolution.inputs);
        for row in rows {
            let image = &images[row / height * convolution.image_size()..][..convolution.image_size()];
            for_each_tap(convolution, row % height, columns, |tap, column, from| {
                let slopes = &gradient[(row * columns + column) * channels..][..channels];
                add_product(simd, &mut sums[tap * channels..][..channels], &image[from * channels..][..channels], slopes);
            });
        }
    }
}
