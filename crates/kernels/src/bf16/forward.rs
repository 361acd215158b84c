//! The forward pass: patches times weights, block by block.

use super::amx::{Product, Tiles};
use super::patches::{Patches, rows_per_block};
use super::{SIDE, Weights};
use crate::convolve::Convolution;
use crate::epilogue::{self, Affine, Sizes, Steps};
use crate::fill::{Size, filled};
use crate::moments::Moments;
use crate::scratch;
use crate::simd::Path;

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
pub(crate) fn forward(
    path: Path,
    weights: &Weights,
    convolution: &Convolution,
    images: &[f32],
    has_moments: bool,
    threads: usize,
) -> (Vec<f32>, Option<Moments>) {
    let batch = images.len() / convolution.image_size();
    assert_eq!(images.len(), batch * convolution.image_size(), "images for {convolution:?}");
    let [height, columns] = convolution.sides();
    let line = columns * convolution.outputs;
    let lines = rows_per_block(convolution);
    let task = |number: usize, out: &mut [f32], _: &mut [u8]| {
        let first = number * lines;
        let rows = first..first + out.len() / line;
        let patches = Patches::load(weights.bf16, convolution, weights.depth, images, rows);
        multiply(weights, convolution, &patches, out);
        has_moments.then(|| Moments::of(path, out, convolution.outputs))
    };
    let out = Size::any(batch * height * line, lines * line);
    let (out, _, moments) = filled(threads, (batch * height).div_ceil(lines), out, Size::NONE, task);
    (out, Moments::joined(moments.into_iter().flatten()))
}

/// The convolution of images and what follows it, block by block. `other` is what is added, or empty. With `threads` 1 the caller's thread does all. Returns `None` for a pool over an odd
/// number of rows: blocks do not end with a pair.
///
/// # Panics
///
/// When the slices are not of the sizes.
pub(crate) fn forward_followed(
    path: Path,
    weights: &Weights,
    convolution: &Convolution,
    images: &[f32],
    (steps, affine, other): (Steps, &Affine, &[f32]),
    threads: usize,
) -> Option<Vec<f32>> {
    let batch = images.len() / convolution.image_size();
    assert_eq!(images.len(), batch * convolution.image_size(), "images for {convolution:?}");
    let ([height, width], channels) = (convolution.sides(), convolution.outputs);
    let by = if steps.has_pool { 2 } else { 1 };
    if !height.is_multiple_of(by) || width < by {
        return None;
    }
    let line = width / by * channels;
    let lines = rows_per_block(convolution).next_multiple_of(by);
    let task = |number: usize, out: &mut [f32], _: &mut [u8]| {
        let first = number * lines;
        let rows = first..first + out.len() / line * by;
        let patches = Patches::load(weights.bf16, convolution, weights.depth, images, rows.clone());
        let mut block = scratch::any(rows.len() * width * channels);
        multiply(weights, convolution, &patches, &mut block);
        let sizes = Sizes { batch: 1, height: rows.len(), width, channels };
        let other = if other.is_empty() { other } else { &other[first * width * channels..][..sizes.len()] };
        epilogue::of_rows(path, sizes, steps, &block, affine, other, out);
    };
    let out = Size::any(batch * height / by * line, lines / by * line);
    Some(filled(threads, (batch * height).div_ceil(lines), out, Size::NONE, task).0)
}

/// Patches times weights.
fn multiply(weights: &Weights, convolution: &Convolution, patches: &Patches, out: &mut [f32]) {
    let outputs = convolution.outputs;
    let count = out.len() / outputs;
    // Whole tiles are written where they belong.
    let is_whole = count.is_multiple_of(SIDE) && outputs.is_multiple_of(SIDE);
    let stride = outputs.next_multiple_of(SIDE);
    let rows = count.next_multiple_of(SIDE);
    let mut memory = scratch::any(if is_whole { 0 } else { rows * stride });
    let to: &mut [f32] = if is_whole { out } else { &mut memory };
    {
        let tiles = Tiles::new(weights.bf16);
        for (panel, (right, is_wide)) in weights.panels().enumerate() {
            for first in (0..rows).step_by(2 * SIDE) {
                let is_two = first + SIDE < rows;
                let left = patches.rows(first, is_two, weights.depth, convolution.kernel[0]);
                tiles.multiply(&Product { right, is_wide, ..left }, &mut to[first * stride + panel * 2 * SIDE..], stride, true);
            }
        }
    }
    if !is_whole {
        memory.chunks_exact(stride).zip(out.chunks_exact_mut(outputs)).for_each(|(from, to)| to.copy_from_slice(&from[..outputs]));
    }
}
