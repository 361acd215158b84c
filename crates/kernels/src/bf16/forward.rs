//! The forward pass: patches times weights, block by block.

use std::ops::Range;

use super::amx::Tiles;
use super::patches::{Patches, rows_per_block};
use super::{Product, SIDE, Weights};
use crate::blocks::Blocks;
use crate::convolve::Convolution;
use crate::scratch;
use crate::simd::Path;

/// The convolution of images by these weights, block by block.
pub(crate) fn blocks<'a>(
    path: Path,
    weights: &'a Weights,
    convolution: &'a Convolution,
    images: &'a [f32],
) -> Blocks<'a, impl Fn(Range<usize>, &mut [f32]) + Sync> {
    let multiply = |rows, out: &mut [f32]| {
        let patches = Patches::load(weights.bf16, convolution, weights.depth, images, rows);
        multiply(weights, convolution, &patches, out);
    };
    Blocks { path, convolution, images, lines: rows_per_block(convolution), multiply }
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
