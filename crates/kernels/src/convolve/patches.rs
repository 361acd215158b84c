//! The pixels under a kernel, side by side.

use std::ops::Range;

use super::Convolution;
use crate::panels::Rows;
use crate::scratch::{self, Aligned};

/// Numbers of the patches of a block, about: they stay in the second cache.
const NUMBERS: usize = 1 << 17;
/// Positions of a block: from so many on a product is as fast as any.
const POSITIONS: Range<usize> = 48..256;

/// How the output rows of a batch are divided into blocks: so many whole rows, of all images one after the other. It follows from the convolution alone.
pub(super) fn rows_per_block(convolution: &Convolution) -> usize {
    let positions = (NUMBERS / convolution.taps().max(1)).clamp(POSITIONS.start, POSITIONS.end);
    positions.div_ceil(convolution.sides()[1].max(1))
}

/// The patches of a block, `[position, row, column, input of the group]`.
pub(super) struct Patches {
    memory: Aligned,
}

impl Patches {
    /// Memory for the patches of some rows.
    pub(super) fn of(convolution: &Convolution, rows: usize) -> Self {
        let length = if convolution.is_pointwise() { 0 } else { rows * convolution.sides()[1] * convolution.taps() };
        Self { memory: scratch::any(length) }
    }

    /// Lays out the patches of a group under these output rows of all images.
    pub(super) fn load<'a>(&'a mut self, convolution: &Convolution, images: &'a [f32], group: usize, rows: Range<usize>) -> Rows<'a> {
        let Convolution { inputs, width, kernel, stride, padding, groups, .. } = *convolution;
        let [height, columns] = convolution.sides();
        let (taps, count) = (convolution.taps(), rows.len() * columns);
        if convolution.is_pointwise() {
            return Rows { numbers: &images[rows.start * columns * inputs..][..count * inputs], stride: inputs, count };
        }
        let (of_group, line) = (inputs / groups, kernel[1] * inputs / groups);
        for (row, patches) in rows.zip(self.memory.chunks_exact_mut(columns * taps)) {
            let image = &images[row / height * convolution.image_size()..][..convolution.image_size()];
            for (column, patch) in patches.chunks_exact_mut(taps).enumerate() {
                for (y, to) in patch.chunks_exact_mut(line).enumerate() {
                    let Some(from) = convolution.rows().index(row % height, y) else {
                        to.fill(0.0);
                        continue;
                    };
                    let from = &image[from * width * inputs..][..width * inputs];
                    let first = column * stride[1];
                    if groups == 1 && first >= padding[1] && first + kernel[1] <= width + padding[1] {
                        to.copy_from_slice(&from[(first - padding[1]) * inputs..][..line]);
                        continue;
                    }
                    for (x, to) in to.chunks_exact_mut(of_group).enumerate() {
                        match convolution.columns().index(column, x) {
                            Some(from_column) => to.copy_from_slice(&from[from_column * inputs + group * of_group..][..of_group]),
                            None => to.fill(0.0),
                        }
                    }
                }
            }
        }
        Rows { numbers: &self.memory[..count * taps], stride: taps, count }
    }
}

/// Adds patches of a group, `[position, row, column, input of the group]`, to the pixels of an image that they came from.
pub(super) fn fold(convolution: &Convolution, patches: &[f32], stride: usize, group: usize, rows: Range<usize>, image: &mut [f32]) {
    let Convolution { inputs, width, kernel, groups, .. } = *convolution;
    let columns = convolution.sides()[1];
    let (of_group, taps) = (inputs / groups, convolution.taps());
    for (index, row) in rows.enumerate() {
        for column in 0..columns {
            let patch = &patches[(index * columns + column) * stride..][..taps];
            for y in 0..kernel[0] {
                let Some(to_row) = convolution.rows().index(row, y) else { continue };
                for x in 0..kernel[1] {
                    let Some(to_column) = convolution.columns().index(column, x) else { continue };
                    let from = &patch[(y * kernel[1] + x) * of_group..][..of_group];
                    let to = &mut image[(to_row * width + to_column) * inputs + group * of_group..][..of_group];
                    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                }
            }
        }
    }
}
