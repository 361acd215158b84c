//! The pixels under a kernel, rounded.

use std::ops::Range;

use super::instructions::round;
use super::{Bf16, Product, Run, SIDE, STEP, Weights};
use crate::convolve::Convolution;
use crate::scratch::{self, Aligned};

/// Numbers of the patches of a block, about: they stay in the second cache.
const NUMBERS: usize = 1 << 18;
/// Positions of a block.
const POSITIONS: Range<usize> = 128..256;
/// Numbers between patches, so that 16 of them are in different sets of the cache.
const GAP: usize = STEP;

/// How the output rows of a batch are divided into blocks: so many whole rows, of all images one after the other. It follows from the convolution alone.
pub(super) fn rows_per_block(convolution: &Convolution) -> usize {
    let positions = (NUMBERS / convolution.taps().max(1)).clamp(POSITIONS.start, POSITIONS.end);
    positions.div_ceil(convolution.sides()[1].max(1))
}

/// The patches of a block.
pub(super) struct Patches {
    memory: Aligned,
    form: Form,
    runs: Vec<Run>,
}

#[derive(Clone, Copy)]
enum Form {
    /// One after the other, `[row, column, input]`, each so many numbers after the one before.
    Apart(usize),
    /// Rows of pixels with what is around them, which the patches of 16 pixels side by side have in common: numbers of a row, of a pixel, and columns of a block.
    Together { row: usize, pixel: usize, columns: usize },
}

impl Patches {
    /// The patches under some output rows of all images.
    pub(super) fn load(weights: &Weights, convolution: &Convolution, images: &[f32], rows: Range<usize>) -> Self {
        let Weights { bf16, depth, .. } = *weights;
        let Convolution { inputs, width, kernel, stride, padding, extra_padding, .. } = *convolution;
        let [height, columns] = convolution.sides();
        let count = rows.len() * columns;
        if convolution.is_pointwise() {
            let mut patches = Self::apart(count, depth);
            let pixels = images[rows.start * columns * inputs..][..count * inputs].chunks_exact(inputs);
            pixels.zip(patches.numbers_mut().chunks_exact_mut(depth + GAP)).for_each(|(pixel, patch)| {
                round(bf16, pixel, patch);
                patch[inputs..depth].fill(0);
            });
            return patches;
        }
        let line = kernel[1] * inputs;
        let row = (2 * padding[1] + extra_padding[1] + width) * inputs;
        let is_of_one_image = rows.start / height == (rows.end - 1) / height;
        let is_together = is_of_one_image && stride == [1, 1] && columns.is_multiple_of(SIDE) && line.is_multiple_of(STEP);
        let band_rows = |rows: &Range<usize>| (rows.len() - 1) * stride[0] + kernel[0];
        if is_together {
            let mut memory = scratch::any((band_rows(&rows) * row).div_ceil(2));
            load_band(bf16, convolution, images, &rows, bytemuck::cast_slice_mut(&mut memory));
            let steps = line / STEP;
            let runs = (0..kernel[0]).map(|y| Run { left: y * row, right: y * steps, steps }).collect();
            return Self { memory, form: Form::Together { row, pixel: inputs, columns }, runs };
        }
        let mut patches = Self::apart(count, depth);
        let mut memory = scratch::any((band_rows(&rows) * row).div_ceil(2));
        let band: &mut [u16] = bytemuck::cast_slice_mut(&mut memory);
        let mut to = patches.numbers_mut().chunks_exact_mut(depth + GAP);
        let mut first = rows.start;
        while first < rows.end {
            let of_image = first..((first / height + 1) * height).min(rows.end);
            load_band(bf16, convolution, images, &of_image, band);
            for (index, patch) in to.by_ref().take(of_image.len() * columns).enumerate() {
                let from = &band[index / columns * stride[0] * row + index % columns * stride[1] * inputs..];
                for (y, to) in patch[..kernel[0] * line].chunks_exact_mut(line).enumerate() {
                    to.copy_from_slice(&from[y * row..][..line]);
                }
                patch[kernel[0] * line..depth].fill(0);
            }
            first = of_image.end;
        }
        patches
    }

    fn apart(count: usize, depth: usize) -> Self {
        let memory = scratch::any((count.next_multiple_of(SIDE) * (depth + GAP)).div_ceil(2));
        Self { memory, form: Form::Apart(depth + GAP), runs: vec![Run { left: 0, right: 0, steps: depth / STEP }] }
    }

    fn numbers_mut(&mut self) -> &mut [u16] {
        bytemuck::cast_slice_mut(&mut self.memory)
    }

    /// Where a patch begins.
    const fn place(&self, index: usize) -> usize {
        match self.form {
            Form::Apart(stride) => index * stride,
            Form::Together { row, pixel, columns } => index / columns * row + index % columns * pixel,
        }
    }

    /// 16 or 32 patches from number `first` on, times one tile or two for each step.
    pub(super) fn times<'a>(&'a self, first: usize, is_two: bool, right: &'a [u16], is_wide: bool) -> Product<'a> {
        let numbers: &[u16] = bytemuck::cast_slice(&self.memory);
        let start = self.place(first);
        let second = is_two.then(|| self.place(first + SIDE) - start);
        Product { left: &numbers[start..], stride: self.place(1), second, step: STEP, right, is_wide, runs: &self.runs }
    }
}

/// The rows of an image that these output rows are made of, rounded, with the zeros around them.
fn load_band(bf16: Bf16, convolution: &Convolution, images: &[f32], rows: &Range<usize>, band: &mut [u16]) {
    let Convolution { inputs, width, kernel, stride, padding, extra_padding, .. } = *convolution;
    let height = convolution.sides()[0];
    let image = &images[rows.start / height * convolution.image_size()..][..convolution.image_size()];
    let row = (2 * padding[1] + extra_padding[1] + width) * inputs;
    let first = rows.start % height * stride[0];
    for (number, to) in band.chunks_exact_mut(row).take((rows.len() - 1) * stride[0] + kernel[0]).enumerate() {
        let Some(from) = (first + number).checked_sub(padding[0]).filter(|from| *from < convolution.height) else {
            to.fill(0);
            continue;
        };
        let (left, rest) = to.split_at_mut(padding[1] * inputs);
        let (pixels, right) = rest.split_at_mut(width * inputs);
        left.fill(0);
        round(bf16, &image[from * width * inputs..][..width * inputs], pixels);
        right.fill(0);
    }
}
