//! Weights as the forward pass reads them.

use super::instructions::round;
use super::{Bf16, SIDE, STEP, TILE};
use crate::convolve::Convolution;
use crate::scratch::{self, Place, Prepared};
use crate::split::each_chunk;

/// Weights rounded to bfloat16. Panels of two tiles of output channels (the last may have one), in each the numbers that an output is the sum of, 32 at a time:
/// `[row, column, input]`, and zeros behind them.
pub(crate) struct Weights {
    pub(super) bf16: Bf16,
    /// The numbers that an output is the sum of, and zeros to whole steps.
    pub(super) depth: usize,
    numbers: Prepared,
}

impl Weights {
    /// Those of a convolution, `[output, input, row, column]`.
    pub(crate) fn new(place: Place, bf16: Bf16, convolution: &Convolution, weights: &[f32], threads: usize) -> Self {
        Self::packed(place, bf16, [convolution.outputs, convolution.inputs], convolution.kernel, weights, false, threads)
    }

    /// Those of the convolution that makes the gradient of the images from the gradient of the output: inputs and outputs are exchanged, and the kernel is turned by 180°.
    pub(crate) fn turned(bf16: Bf16, convolution: &Convolution, weights: &[f32], threads: usize) -> Self {
        let (columns, channels) = (convolution.inputs, convolution.outputs);
        Self::packed(Place::Shared, bf16, [columns, channels], convolution.kernel, weights, true, threads)
    }

    fn packed(
        place: Place,
        bf16: Bf16,
        [columns, channels]: [usize; 2],
        kernel: [usize; 2],
        weights: &[f32],
        is_turned: bool,
        threads: usize,
    ) -> Self {
        let area = kernel[0] * kernel[1];
        assert_eq!(weights.len(), columns * channels * area, "weights of {columns} by {channels} kernels of {area}");
        let depth = (channels * area).next_multiple_of(STEP);
        let mut numbers = Prepared::any(place, depth * columns.next_multiple_of(SIDE) / 2);
        let panel = |number: usize, panel: &mut [f32]| {
            let panel: &mut [u16] = bytemuck::cast_slice_mut(panel);
            panel.fill(0);
            let first = number * 2 * SIDE;
            let (count, tiles) = ((columns - first).min(2 * SIDE), panel.len() / depth / SIDE);
            let mut put = |column: usize, channel: usize, kernel: &[u16]| {
                let at = column / SIDE * TILE + column % SIDE * 2;
                for (tap, weight) in kernel.iter().enumerate() {
                    let tap = if is_turned { area - 1 - tap } else { tap };
                    let index = tap * channels + channel;
                    panel[index / STEP * tiles * TILE + index % STEP / 2 * STEP + index % 2 + at] = *weight;
                }
            };
            // In the order of the weights.
            let length = if is_turned { count } else { channels };
            let mut memory = scratch::any((length * area).div_ceil(2));
            let rounded: &mut [u16] = &mut bytemuck::cast_slice_mut(&mut memory)[..length * area];
            if is_turned {
                for channel in 0..channels {
                    round(bf16, &weights[(channel * columns + first) * area..][..count * area], rounded);
                    rounded.chunks_exact(area).enumerate().for_each(|(column, kernel)| put(column, channel, kernel));
                }
            } else {
                for column in 0..count {
                    round(bf16, &weights[(first + column) * channels * area..][..channels * area], rounded);
                    rounded.chunks_exact(area).enumerate().for_each(|(channel, kernel)| put(column, channel, kernel));
                }
            }
        };
        each_chunk(threads, &mut numbers, depth * SIDE, &panel);
        Self { bf16, depth, numbers }
    }

    /// The panels, each with its number of tiles.
    pub(super) fn panels(&self) -> impl Iterator<Item = (&[u16], bool)> {
        let numbers: &[u16] = bytemuck::cast_slice(&self.numbers);
        numbers.chunks(self.depth * 2 * SIDE).map(|panel| (panel, panel.len() == self.depth * 2 * SIDE))
    }
}
