//! A convolution block by block: the output rows of all images, one after the other, in blocks of so many whole rows.

use std::ops::Range;

use crate::conv2d::Followed;
use crate::convolve::Convolution;
use crate::epilogue::{self, Sizes};
use crate::fill::{Size, filled};
use crate::moments::Moments;
use crate::scratch;
use crate::simd::Path;

/// What a convolution is computed by.
pub(super) struct Blocks<'a, F> {
    pub(super) path: Path,
    pub(super) convolution: &'a Convolution,
    /// `[image, row, column, input]`.
    pub(super) images: &'a [f32],
    /// The output rows of a block. They follow from the convolution alone.
    pub(super) lines: usize,
    /// Writes some output rows of all images.
    pub(super) multiply: F,
}

impl<F: Fn(Range<usize>, &mut [f32]) + Sync> Blocks<'_, F> {
    /// The convolution, and the moments of its channels, where they are asked for. With `threads` 1 the caller's thread does all.
    ///
    /// # Panics
    ///
    /// When the images are not of the convolution's sizes.
    pub(super) fn forward(&self, has_moments: bool, threads: usize) -> (Vec<f32>, Option<Moments>) {
        let (batch, Self { path, convolution, lines, multiply, .. }) = (self.convolution.batch(self.images), self);
        let ([height, width], channels) = (convolution.sides(), convolution.outputs);
        let line = width * channels;
        let task = |number: usize, out: &mut [f32], _: &mut [u8]| {
            let first = number * lines;
            multiply(first..first + out.len() / line, out);
            has_moments.then(|| Moments::of(*path, out, channels))
        };
        let out = Size::any(batch * height * line, lines * line);
        let (out, _, moments) = filled(threads, (batch * height).div_ceil(*lines), out, Size::NONE, task);
        (out, Moments::joined(moments.into_iter().flatten()))
    }

    /// The convolution and what follows it, which is computed while a block is in the cache. With a pool the number of rows is even: blocks end with a pair.
    ///
    /// # Panics
    ///
    /// When the images are not of the convolution's sizes.
    pub(super) fn followed(&self, followed: Followed, threads: usize) -> Vec<f32> {
        let (batch, Self { path, convolution, lines, multiply, .. }) = (self.convolution.batch(self.images), self);
        let Followed { steps, affine, other } = followed;
        let ([height, width], channels) = (convolution.sides(), convolution.outputs);
        let by = if steps.has_pool { 2 } else { 1 };
        let line = width / by * channels;
        let lines = lines.next_multiple_of(by);
        let task = |number: usize, out: &mut [f32], _: &mut [u8]| {
            let first = number * lines;
            let rows = first..first + out.len() / line * by;
            let mut block = scratch::any(rows.len() * width * channels);
            multiply(rows.clone(), &mut block);
            let sizes = Sizes { batch: 1, height: rows.len(), width, channels };
            let other = if other.is_empty() { other } else { &other[first * width * channels..][..sizes.len()] };
            epilogue::of_rows(*path, sizes, steps, &block, affine, other, out);
        };
        let out = Size::any(batch * height / by * line, lines / by * line);
        filled(threads, (batch * height).div_ceil(lines), out, Size::NONE, task).0
    }
}
