//! The gradient of the weights: the sum over all positions of the output's gradient times the patch.

use std::ops::Range;

use super::instructions::{Multiplier, columns, pairs};
use super::{Bf16, Pixels, Product, Run, SIDE, STEP, TILE, interleaved};
use crate::buffers;
use crate::convolve::Convolution;
use crate::fill::{Size, filled};
use crate::scratch;
use crate::split::each_chunk;

/// Positions that are summed between two visits of the sums' memory.
const POSITIONS: usize = 512;
/// Numbers of the sums of a task, at most, about, and columns of them: what a task reads and writes stays in the second cache.
const SUMS: usize = 1 << 17;
const COLUMNS: usize = 512;
/// Tasks, at least, where there are positions for them. Fixed, so that sums do not depend on threads.
const TASKS: usize = 16;
/// Numbers of all sums together, at most, where they are split by positions.
const NUMBERS: usize = 1 << 22;

/// How the work is divided. Columns are taps, for each its inputs and zeros to whole tiles.
#[derive(Clone, Copy)]
struct Plan {
    /// Tiles of a tap.
    tiles: usize,
    /// Tiles of columns of a task; it is even.
    per_task: usize,
    /// Tasks side by side over the columns.
    chunks: usize,
    /// Tasks side by side over the positions.
    parts: usize,
    positions: usize,
    outputs: usize,
}

impl Plan {
    fn new(convolution: &Convolution, batch: usize) -> Self {
        let Convolution { inputs, outputs, kernel, .. } = *convolution;
        let (positions, outputs) = (batch * convolution.positions(), outputs.next_multiple_of(SIDE));
        let tiles = inputs.div_ceil(SIDE);
        let all = tiles * kernel[0] * kernel[1];
        let most = (SUMS / outputs).min(COLUMNS) / SIDE;
        let chunks = all.div_ceil(most.max(2));
        let per_task = all.div_ceil(chunks).next_multiple_of(2);
        let chunks = all.div_ceil(per_task);
        let most_parts = (NUMBERS / (all * SIDE * outputs)).max(1).min(positions.div_ceil(POSITIONS).max(1));
        Self { tiles, per_task, chunks, parts: TASKS.div_ceil(chunks).min(most_parts), positions, outputs }
    }

    /// Numbers of the sums of a task.
    const fn size(&self) -> usize {
        self.outputs * self.per_task * SIDE
    }

    /// The positions of a part, whole blocks.
    fn part(&self, number: usize) -> Range<usize> {
        let blocks = self.positions.div_ceil(POSITIONS);
        let bound = |part: usize| (part * blocks / self.parts * POSITIONS).min(self.positions);
        bound(number)..bound(number + 1)
    }
}

/// The gradient of the weights.
///
/// # Shapes
///
/// - images: `[image, row, column, input]`
/// - gradient: `[image, row, column, output]`
/// - output: `[output, input, row, column]`
///
/// # Panics
///
/// When the slices are not of these sizes.
pub(crate) fn weight_gradient(bf16: Bf16, convolution: &Convolution, images: &[f32], gradient: &[f32], threads: usize) -> Vec<f32> {
    let batch = convolution.batch(images);
    let sizes = [images.len(), gradient.len()];
    assert_eq!(sizes, [batch * convolution.image_size(), batch * convolution.output_size()], "slices for {convolution:?}");
    if let Some(weights) = interleaved::weight_gradient(bf16, convolution, images, gradient, threads) {
        return weights;
    }
    let plan = Plan::new(convolution, batch);
    let task = |number: usize, sums: &mut [f32], _: &mut [u8]| {
        let (part, chunk) = (number / plan.chunks, number % plan.chunks);
        Task { bf16, convolution, plan, images, gradient }.add(plan.part(part), chunk * plan.per_task, sums);
    };
    let tasks = plan.parts * plan.chunks;
    let sums = filled(threads, tasks, Size::any(tasks * plan.size(), plan.size()), Size::NONE, task).0;
    let mut weights = buffers::any(convolution.weights());
    let area = convolution.taps() / convolution.inputs;
    each_chunk(threads, &mut weights, convolution.taps(), &|output, kernels| {
        for tile in 0..plan.tiles * area {
            let (tap, input) = (tile / plan.tiles, tile % plan.tiles * SIDE);
            let at = tile / plan.per_task * plan.size() + (output * plan.per_task + tile % plan.per_task) * SIDE;
            let mut sum = [0.0; SIDE];
            for part in 0..plan.parts {
                let numbers = &sums[part * plan.chunks * plan.size() + at..][..SIDE];
                sum.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
            }
            kernels[input * area..].chunks_mut(area).zip(sum).for_each(|(kernel, sum)| kernel[tap] = sum);
        }
    });
    buffers::recycle(sums);
    weights
}

struct Task<'a> {
    bf16: Bf16,
    convolution: &'a Convolution,
    plan: Plan,
    images: &'a [f32],
    gradient: &'a [f32],
}

impl Task<'_> {
    /// The sums over some positions, for the tiles of columns from `first` on: `[output, column]`.
    fn add(&self, positions: Range<usize>, first: usize, sums: &mut [f32]) {
        let Plan { per_task, outputs, .. } = self.plan;
        if positions.is_empty() {
            sums.fill(0.0);
            return;
        }
        let most = positions.len().min(POSITIONS).next_multiple_of(STEP);
        // Rows of outputs a line apart, so that 16 of them are in different sets of the cache.
        let stride = most + STEP;
        let (mut left, mut right) = (scratch::any(outputs * stride / 2), scratch::any(most * per_task * SIDE / 2));
        let (left, right): (&mut [u16], &mut [u16]) = (bytemuck::cast_slice_mut(&mut left), bytemuck::cast_slice_mut(&mut right));
        for block in positions.clone().step_by(POSITIONS) {
            let some = block..(block + POSITIONS).min(positions.end);
            let steps = some.len().div_ceil(STEP);
            self.load_gradient(&some, left, stride);
            self.load_patches(&some, first, right, steps);
            let multiplier = Multiplier::new(self.bf16);
            for row in (0..outputs).step_by(2 * SIDE) {
                for two in 0..per_task / 2 {
                    let product = Product {
                        left: &left[row * stride..],
                        stride,
                        second: (row + SIDE < outputs).then_some(SIDE * stride),
                        step: STEP,
                        right: &right[two * steps * 2 * TILE..],
                        is_wide: true,
                        runs: &[Run { left: 0, right: 0, steps }],
                    };
                    let to = &mut sums[row * per_task * SIDE + two * 2 * SIDE..];
                    multiplier.multiply(&product, to, per_task * SIDE, block == positions.start);
                }
            }
        }
    }

    /// The gradient of the output at some positions, `[output, position]`.
    fn load_gradient(&self, positions: &Range<usize>, to: &mut [u16], stride: usize) {
        let outputs = self.convolution.outputs;
        for step in 0..positions.len().div_ceil(STEP) {
            let first = positions.start + step * STEP;
            let pixels = &self.gradient[first * outputs..(first + STEP).min(positions.end) * outputs];
            for channel in (0..outputs).step_by(SIDE) {
                let pixels =
                    Pixels { numbers: &pixels[channel..], count: pixels.len() / outputs, distance: outputs, channels: outputs - channel };
                columns(self.bf16, pixels, &mut to[channel * stride + step * STEP..], stride);
            }
        }
    }

    /// The patches at some positions, for the tiles of columns from `first` on: `[two tiles, step, tile, pair of positions, column, position of the pair]`.
    fn load_patches(&self, positions: &Range<usize>, first: usize, to: &mut [u16], steps: usize) {
        let (convolution, Plan { tiles, per_task, .. }) = (self.convolution, self.plan);
        let Convolution { inputs, width, kernel, .. } = *convolution;
        let [height, columns] = convolution.sides();
        let twos = steps * 2 * TILE;
        let end = (first + per_task).min(tiles * kernel[0] * kernel[1]);
        if end < first + per_task {
            // Tiles behind the last.
            (0..per_task).skip(end - first).for_each(|tile| {
                (0..steps).for_each(|step| to[tile / 2 * twos + (step * 2 + tile % 2) * TILE..][..TILE].fill(0));
            });
        }
        // Runs of tiles of one tap: the first, and the tap's row and column, its first input and how many.
        let mut runs = Vec::new();
        let mut tile = first;
        while tile < end {
            let (tap, channel) = (tile / tiles, tile % tiles * SIDE);
            let next = ((tap + 1) * tiles).min(end);
            runs.push((tile - first, [tap / kernel[1], tap % kernel[1]], channel, (inputs - channel).min((next - tile) * SIDE)));
            tile = next;
        }
        for pair in 0..steps * SIDE {
            let places = [0, 1].map(|index| {
                let position = positions.start + 2 * pair + index;
                (position < positions.end).then(|| (position / (height * columns), position / columns % height, position % columns))
            });
            for &(tile, [y, x], channel, length) in &runs {
                let lists = places.map(|place| {
                    let (image, row, column) = place?;
                    let (row, column) = (convolution.rows().index(row, y)?, convolution.columns().index(column, x)?);
                    Some(&self.images[((image * convolution.height + row) * width + column) * inputs + channel..][..length])
                });
                let row = &mut to[pair / SIDE * 2 * TILE + pair % SIDE * STEP..];
                pairs(self.bf16, lists, length, row, [tile, twos]);
            }
        }
    }
}
