//! The gradient of the weights: images and gradient are interleaved once, and each tap of the kernel reads them where it needs them.

use std::ops::Range;

use super::{FEW, GROUP, TASKS};
use crate::bf16::instructions::{Multiplier, columns, pairs};
use crate::bf16::{Bf16, Pixels, Product, Run, SIDE, STEP, TILE};
use crate::buffers;
use crate::convolve::Convolution;
use crate::fill::{Size, filled};
use crate::scratch::{self, Shared};
use crate::split::each_chunk;

/// Numbers of the two tiles of a pixel.
const TWO: usize = 2 * TILE;
/// Bytes of images and gradient, at most. Larger ones are not interleaved.
const BYTES: usize = 1 << 28;
/// Numbers of the sums of a task, at most: they stay in the second cache.
const SUMS: usize = 3 << 16;
/// Pixels of the gradient that are summed between two visits of the sums' memory, at least.
const PIXELS: usize = 12;
/// Numbers of all sums together, at most, where they are split by rows.
const NUMBERS: usize = 1 << 22;

/// Numbers of a batch in groups, `[group, row, two tiles of channels, column, tile, ..]`. Images that are missing from the last group, and channels, are zeros.
struct Interleaved {
    numbers: Shared,
    /// Twos of tiles of channels.
    twos: usize,
    width: usize,
}

impl Interleaved {
    /// `load` writes a row of the images of a group: it gets the number of the group and of the row, and writes every tile that has a channel.
    fn new(batch: usize, [height, width, channels]: [usize; 3], threads: usize, load: impl Fn([usize; 2], &mut [u16]) + Sync) -> Self {
        let twos = channels.div_ceil(2 * SIDE);
        let row = twos * width * TWO / 2;
        let mut numbers = scratch::shared(batch.div_ceil(GROUP) * height * row);
        let has_rest = !channels.div_ceil(SIDE).is_multiple_of(2);
        each_chunk(threads, &mut numbers, row, &|number, to| {
            if has_rest {
                to.fill(0.0);
            }
            load([number / height, number % height], bytemuck::cast_slice_mut(to));
        });
        Self { numbers, twos, width }
    }

    /// Each row of a tile has a pixel of two images.
    fn images(bf16: Bf16, convolution: &Convolution, images: &[f32], threads: usize) -> Self {
        let Convolution { inputs, height, width, .. } = *convolution;
        let batch = convolution.batch(images);
        Self::new(batch, [height, width, inputs], threads, |[group, row], to| {
            for pair in 0..SIDE {
                let of_image = |index: usize| {
                    let image = group * GROUP + 2 * pair + index;
                    (image < batch).then(|| &images[(image * height + row) * width * inputs..][..width * inputs])
                };
                let lists = [0, 1].map(of_image);
                for column in 0..width {
                    let lists = lists.map(|list| list.map(|list| &list[column * inputs..][..inputs]));
                    pairs(bf16, lists, inputs, &mut to[column * TWO + pair * STEP..], [0, width * TWO]);
                }
            }
        })
    }

    /// Each row of a tile has a channel of a pixel of all images.
    fn gradient(bf16: Bf16, convolution: &Convolution, gradient: &[f32], threads: usize) -> Self {
        let outputs = convolution.outputs;
        let [height, width] = convolution.sides();
        let (batch, distance) = (gradient.len() / convolution.output_size(), convolution.output_size());
        Self::new(batch, [height, width, outputs], threads, |[group, row], to| {
            let count = (batch - group * GROUP).min(GROUP);
            for column in 0..width {
                for channel in (0..outputs).step_by(SIDE) {
                    let first = group * GROUP * distance + (row * width + column) * outputs + channel;
                    let pixels = Pixels { numbers: &gradient[first..], count, distance, channels: outputs - channel };
                    let tile = channel / SIDE;
                    columns(bf16, pixels, &mut to[(tile / 2 * width + column) * TWO + tile % 2 * TILE..], STEP);
                }
            }
        })
    }

    /// The numbers from some tiles on.
    fn from(&self, two: usize) -> &[u16] {
        &bytemuck::cast_slice(&self.numbers)[two * self.width * TWO..]
    }

    /// The number of a pixel, counted in twos of tiles. The row is one of all rows of all groups.
    const fn pixel(&self, row: usize, column: usize) -> usize {
        row * self.twos * self.width + column
    }
}

/// Whether so many channels and zeros to two tiles are at most half zeros more.
const fn is_nearly_whole(channels: usize) -> bool {
    2 * channels.next_multiple_of(2 * SIDE) <= 3 * channels
}

/// How the work is divided.
#[derive(Clone, Copy)]
struct Plan {
    /// Outputs and inputs of a task, whole twos of tiles, and how many tasks there are side by side over each.
    channels: [usize; 2],
    chunks: [usize; 2],
    /// Taps of the kernel.
    area: usize,
    /// Tasks side by side over the rows.
    parts: usize,
    /// Rows of the gradient of all groups, and those that are summed at once.
    rows: usize,
    band: usize,
}

impl Plan {
    fn new(convolution: &Convolution, batch: usize) -> Self {
        let Convolution { inputs, outputs, kernel, .. } = *convolution;
        let ([height, width], area) = (convolution.sides(), kernel[0] * kernel[1]);
        let all = [outputs, inputs].map(|channels| channels.next_multiple_of(2 * SIDE));
        let mut channels = all;
        while channels[0] * channels[1] * area > SUMS && channels != [2 * SIDE; 2] {
            let larger = usize::from(channels[1] > channels[0]);
            channels[larger] = (channels[larger] / 2).next_multiple_of(2 * SIDE);
        }
        let chunks = [0, 1].map(|axis| all[axis].div_ceil(channels[axis]));
        let (rows, band) = (batch.div_ceil(GROUP) * height, PIXELS.div_ceil(width));
        let most = (NUMBERS / (all[0] * all[1] * area)).clamp(1, rows.div_ceil(band));
        Self { channels, chunks, area, parts: TASKS.div_ceil(chunks[0] * chunks[1]).min(most), rows, band }
    }

    /// Numbers of the sums of a task, `[output, tap, input]`.
    const fn size(&self) -> usize {
        self.channels[0] * self.area * self.channels[1]
    }

    /// The rows of a part, whole bands.
    fn part(&self, number: usize) -> Range<usize> {
        let bands = self.rows.div_ceil(self.band);
        let bound = |part: usize| (part * bands / self.parts * self.band).min(self.rows);
        bound(number)..bound(number + 1)
    }
}

/// The gradient of the weights. `None` where the images are few, their channels or those of the output do not fill the tiles, or all of them are too much memory.
pub(in crate::bf16) fn weight_gradient(
    bf16: Bf16,
    convolution: &Convolution,
    images: &[f32],
    gradient: &[f32],
    threads: usize,
) -> Option<Vec<f32>> {
    let Convolution { inputs, outputs, .. } = *convolution;
    let batch = convolution.batch(images);
    let pixels = convolution.height * convolution.width * inputs.next_multiple_of(2 * SIDE)
        + convolution.positions() * outputs.next_multiple_of(2 * SIDE);
    let bytes = size_of::<u16>() * batch.next_multiple_of(GROUP) * pixels;
    if batch < FEW || !is_nearly_whole(inputs) || !is_nearly_whole(outputs) || bytes > BYTES {
        return None;
    }
    let plan = Plan::new(convolution, batch);
    let images = Interleaved::images(bf16, convolution, images, threads);
    let gradient = Interleaved::gradient(bf16, convolution, gradient, threads);
    let chunks = plan.chunks[0] * plan.chunks[1];
    let task = |number: usize, sums: &mut [f32], _: &mut [u8]| {
        let (part, chunk) = (number / chunks, number % chunks);
        let chunk = [chunk / plan.chunks[1], chunk % plan.chunks[1]];
        Task { bf16, convolution, plan, images: &images, gradient: &gradient }.add(plan.part(part), chunk, sums);
    };
    let tasks = plan.parts * chunks;
    let sums = filled(threads, tasks, Size::zeros(tasks * plan.size(), plan.size()), Size::NONE, task).0;
    let mut weights = buffers::any(convolution.weights());
    each_chunk(threads, &mut weights, convolution.taps(), &|output, kernels| {
        let Plan { channels, area, .. } = plan;
        for (input, kernel) in kernels.chunks_exact_mut(area).enumerate() {
            let chunk = output / channels[0] * plan.chunks[1] + input / channels[1];
            let at = chunk * plan.size() + output % channels[0] * area * channels[1] + input % channels[1];
            for (tap, weight) in kernel.iter_mut().enumerate() {
                let number = |part: usize| sums[part * chunks * plan.size() + at + tap * channels[1]];
                *weight = (1..plan.parts).fold(number(0), |sum, part| sum + number(part));
            }
        }
    });
    buffers::recycle(sums);
    Some(weights)
}

struct Task<'a> {
    bf16: Bf16,
    convolution: &'a Convolution,
    plan: Plan,
    images: &'a Interleaved,
    gradient: &'a Interleaved,
}

impl Task<'_> {
    /// Adds the products over some rows of the gradient, for a chunk of outputs and inputs.
    fn add(&self, rows: Range<usize>, chunk: [usize; 2], sums: &mut [f32]) {
        let Self { plan: Plan { channels, area, band, .. }, images, gradient, .. } = *self;
        let twos = channels.map(|channels| channels / (2 * SIDE));
        let end = |axis: usize, all: usize| ((chunk[axis] + 1) * twos[axis]).min(all);
        let (outputs, inputs) = (chunk[0] * twos[0]..end(0, gradient.twos), chunk[1] * twos[1]..end(1, images.twos));
        let stride = area * channels[1];
        let multiplier = Multiplier::new(self.bf16);
        for first in rows.clone().step_by(band) {
            let runs = (0..area).map(|tap| self.runs(first..(first + band).min(rows.end), tap)).collect::<Vec<_>>();
            for (number, input) in inputs.clone().enumerate() {
                let right = images.from(input);
                for (tap, runs) in runs.iter().enumerate().filter(|(_, runs)| !runs.is_empty()) {
                    for (row, output) in outputs.clone().enumerate() {
                        let left = gradient.from(output);
                        let product = Product { left, stride: STEP, second: Some(TILE), step: TWO, right, is_wide: true, runs };
                        multiplier.multiply(
                            &product,
                            &mut sums[row * 2 * SIDE * stride + tap * channels[1] + number * 2 * SIDE..],
                            stride,
                            false,
                        );
                    }
                }
            }
        }
    }

    /// The pixels of the images that a tap multiplies with pixels of some rows of the gradient.
    fn runs(&self, rows: Range<usize>, tap: usize) -> Vec<Run> {
        let Convolution { height: image_height, kernel, .. } = *self.convolution;
        let ([height, width], [down, across]) = (self.convolution.sides(), [self.convolution.rows(), self.convolution.columns()]);
        let (y, x) = (tap / kernel[1], tap % kernel[1]);
        let mut runs: Vec<Run> = Vec::new();
        for row in rows {
            let Some(of_image) = down.index(row % height, y) else { continue };
            let of_image = row / height * image_height + of_image;
            for (column, place) in (0..width).filter_map(|column| Some((column, across.index(column, x)?))) {
                let (left, right) = (self.gradient.pixel(row, column) * TWO, self.images.pixel(of_image, place));
                match runs.last_mut() {
                    Some(run) if run.left + run.steps * TWO == left && run.right + run.steps == right => run.steps += 1,
                    _ => runs.push(Run { left, right, steps: 1 }),
                }
            }
        }
        runs
    }
}
