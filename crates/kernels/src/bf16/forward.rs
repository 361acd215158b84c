//! The forward pass: patches times weights.

use std::ops::Range;

use super::instructions::Multiplier;
use super::interleaved::Forward;
use super::patches::{Patches, rows_per_block};
use super::{SIDE, Weights};
use crate::blocks::Blocks;
use crate::conv2d::Followed;
use crate::convolve::Convolution;
use crate::moments::Moments;
use crate::scratch;
use crate::simd::Path;

/// The convolution of images by these weights, and the moments of its channels, where they are asked for.
pub(crate) fn forward(
    path: Path,
    weights: &Weights,
    convolution: &Convolution,
    images: &[f32],
    has_moments: bool,
    threads: usize,
) -> (Vec<f32>, Option<Moments>) {
    match Forward::new(path, weights, convolution, images, false) {
        Some(groups) => groups.forward(has_moments, threads),
        None => blocks(path, weights, convolution, images).forward(has_moments, threads),
    }
}

/// The convolution and what follows it. With a pool the number of rows is even.
pub(crate) fn followed(
    path: Path,
    weights: &Weights,
    convolution: &Convolution,
    images: &[f32],
    followed: Followed,
    threads: usize,
) -> Vec<f32> {
    match Forward::new(path, weights, convolution, images, followed.steps.has_pool) {
        Some(groups) => groups.followed(followed, threads),
        None => blocks(path, weights, convolution, images).followed(followed, threads),
    }
}

/// Block by block.
fn blocks<'a>(
    path: Path,
    weights: &'a Weights,
    convolution: &'a Convolution,
    images: &'a [f32],
) -> Blocks<'a, impl Fn(Range<usize>, &mut [f32]) + Sync> {
    let multiply = |rows, out: &mut [f32]| multiply(weights, convolution, &Patches::load(weights, convolution, images, rows), out);
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
        let multiplier = Multiplier::new(weights.bf16);
        for (panel, (right, is_wide)) in weights.panels().enumerate() {
            for first in (0..rows).step_by(2 * SIDE) {
                let product = patches.times(first, first + SIDE < rows, right, is_wide);
                multiplier.multiply(&product, &mut to[first * stride + panel * 2 * SIDE..], stride, true);
            }
        }
    }
    if !is_whole {
        memory.chunks_exact(stride).zip(out.chunks_exact_mut(outputs)).for_each(|(from, to)| to.copy_from_slice(&from[..outputs]));
    }
}
