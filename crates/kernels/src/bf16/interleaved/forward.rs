//! The forward pass: bands of rows of the images of a group.

use std::ops::Range;

use rayon::prelude::*;

use super::{FEW, GROUP, TASKS, inside};
use crate::bf16::instructions::{Multiplier, spread};
use crate::bf16::{Product, Run, SIDE, STEP, Weights};
use crate::buffers;
use crate::conv2d::{Followed, PIXELS};
use crate::convolve::Convolution;
use crate::epilogue::{self, Sizes};
use crate::moments::Moments;
use crate::scratch::{self, Aligned};
use crate::simd::Path;

/// Bytes of a band, about: what goes in and comes out stays in the second cache.
const BYTES: usize = 3 << 19;

/// A convolution of the images of groups.
pub(in crate::bf16) struct Forward<'a> {
    path: Path,
    weights: &'a Weights,
    convolution: &'a Convolution,
    images: &'a [f32],
    batch: usize,
    /// Rows of the convolution that give an output row: two with a pool.
    by: usize,
    /// Rows of the convolution of a band, a multiple of them.
    rows: usize,
}

/// Whether at least an eighth of all windows together lies outside of an image. Otherwise it takes longer to interleave than leaving out saves.
fn is_worthwhile(convolution: &Convolution) -> bool {
    let axes = [convolution.rows(), convolution.columns()].into_iter().zip(convolution.kernel).zip(convolution.sides());
    let inside = axes.map(|((axis, kernel), windows)| (0..windows).map(|window| inside(axis, window, kernel).len()).sum::<usize>());
    let all = convolution.positions() * convolution.kernel.iter().product::<usize>();
    8 * inside.product::<usize>() <= 7 * all
}

/// Some output rows of the images of a group, and where they go: for each image a slice.
struct Band<'a> {
    images: Range<usize>,
    rows: Range<usize>,
    out: Vec<&'a mut [f32]>,
}

impl<'a> Forward<'a> {
    /// `None` where the images are few, their channels are no multiple of 32, little of the windows lies outside, or rows of 32 images do not fit in the cache.
    ///
    /// # Panics
    ///
    /// When the images are not of the convolution's sizes.
    pub(in crate::bf16) fn new(
        path: Path,
        weights: &'a Weights,
        convolution: &'a Convolution,
        images: &'a [f32],
        has_pool: bool,
    ) -> Option<Self> {
        let Convolution { inputs, outputs, width, kernel, stride, .. } = *convolution;
        let [height, columns] = convolution.sides();
        let (batch, by) = (convolution.batch(images), if has_pool { 2 } else { 1 });
        let bytes = |rows: usize| {
            let read = ((rows - 1) * stride[0] + kernel[0]) * width * inputs * size_of::<u16>();
            GROUP * (read + rows * columns * outputs.next_multiple_of(SIDE) * size_of::<f32>())
        };
        if batch < FEW || !inputs.is_multiple_of(STEP) || !is_worthwhile(convolution) || bytes(by) > BYTES {
            return None;
        }
        // Bands of about the same size.
        let most = (1..=height / by).take_while(|rows| bytes(rows * by) <= BYTES).last()?;
        let bands = height.div_ceil(most * by).max(TASKS.div_ceil(batch.div_ceil(GROUP))).min(height / by);
        let rows = height.div_ceil(bands).next_multiple_of(by);
        Some(Self { path, weights, convolution, images, batch, by, rows })
    }

    /// The convolution, and the moments of its channels, where they are asked for. With `threads` 1 the caller's thread does all.
    pub(in crate::bf16) fn forward(&self, has_moments: bool, threads: usize) -> (Vec<f32>, Option<Moments>) {
        let channels = self.convolution.outputs;
        let (out, moments) = self.each_band(threads, &|band| {
            let mut block = self.multiply(&band);
            let stride = channels.next_multiple_of(SIDE);
            band.out.into_iter().enumerate().for_each(|(image, to)| copy(&block, image, to, channels));
            has_moments.then(|| {
                // Without what is no image, and no channel.
                let count = block.len() / stride / GROUP * band.images.len();
                for pixel in 0..count {
                    let from = pixel / band.images.len() * GROUP + pixel % band.images.len();
                    if from * stride != pixel * channels {
                        block.copy_within(from * stride..from * stride + channels, pixel * channels);
                    }
                }
                let blocks = block[..count * channels].chunks(PIXELS * channels).map(|pixels| Moments::of(self.path, pixels, channels));
                Moments::joined(blocks)
            })
        });
        (out, Moments::joined(moments.into_iter().flatten().flatten()))
    }

    /// The convolution and what follows it, which is computed while a band is in the cache.
    pub(in crate::bf16) fn followed(&self, followed: Followed, threads: usize) -> Vec<f32> {
        let Followed { steps, affine, other } = followed;
        let ([height, width], channels) = (self.convolution.sides(), self.convolution.outputs);
        self.each_band(threads, &|band| {
            let block = self.multiply(&band);
            let sizes = Sizes { batch: 1, height: band.rows.len(), width, channels };
            let mut pixels = scratch::any(sizes.len());
            for ((number, image), to) in band.images.enumerate().zip(band.out) {
                copy(&block, number, &mut pixels, channels);
                let other =
                    if other.is_empty() { other } else { &other[(image * height + band.rows.start) * width * channels..][..sizes.len()] };
                epilogue::of_rows(self.path, sizes, steps, &pixels, affine, other, to);
            }
        })
        .0
    }

    /// Does `work` for each band.
    fn each_band<R: Send>(&self, threads: usize, work: &(dyn Fn(Band) -> R + Sync)) -> (Vec<f32>, Vec<R>) {
        let ([height, width], by) = (self.convolution.sides(), self.by);
        let line = width / by * self.convolution.outputs;
        let mut out = buffers::any(self.batch * (height / by) * line);
        let mut parts = out.chunks_mut(height / by * line).map(|image| image.chunks_mut(self.rows / by * line)).collect::<Vec<_>>();
        let mut bands = Vec::new();
        for (group, parts) in parts.chunks_mut(GROUP).enumerate() {
            let images = group * GROUP..group * GROUP + parts.len();
            for first in (0..height).step_by(self.rows) {
                let rows = first..(first + self.rows).min(height);
                bands.push(Band { images: images.clone(), rows, out: parts.iter_mut().filter_map(Iterator::next).collect() });
            }
        }
        let results = if threads == 1 { bands.into_iter().map(work).collect() } else { bands.into_par_iter().map(work).collect() };
        (out, results)
    }

    /// The convolution for a band, `[row, column, image, output]`, with a place for each of 32 images and outputs to whole tiles.
    fn multiply(&self, Band { images, rows, .. }: &Band) -> Aligned {
        let Self { weights: Weights { bf16, .. }, convolution, .. } = *self;
        let Convolution { inputs, width, kernel, .. } = *convolution;
        let [down, across] = [convolution.rows(), convolution.columns()];
        let columns = convolution.sides()[1];
        // The rows under all windows, `[row, column, step, image, channel]`.
        let first = (rows.start * down.stride).saturating_sub(down.padding).min(down.side);
        let end = ((rows.end - 1) * down.stride + kernel[0]).saturating_sub(down.padding).clamp(first, down.side);
        let (steps, size) = (inputs / STEP, GROUP * STEP);
        let mut memory = scratch::any((end - first) * width * steps * size / 2);
        let band: &mut [u16] = bytemuck::cast_slice_mut(&mut memory);
        let length = (end - first) * width * inputs;
        for (number, image) in images.clone().enumerate().filter(|_| length > 0) {
            let from = &self.images[image * convolution.image_size() + first * width * inputs..][..length];
            spread(*bf16, from, &mut band[number * STEP..], size);
        }
        let mut runs = Vec::with_capacity(rows.len() * columns * kernel[0]);
        let mut of_positions = Vec::with_capacity(rows.len() * columns);
        for (row, column) in rows.clone().flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let (ys, xs) = (inside(down, row, kernel[0]), inside(across, column, kernel[1]));
            let start = runs.len();
            for y in ys.filter(|_| !xs.is_empty()) {
                let place = (row * down.stride + y - down.padding - first) * width + column * across.stride + xs.start - across.padding;
                runs.push(Run { left: place * steps * size, right: (y * kernel[1] + xs.start) * steps, steps: xs.len() * steps });
            }
            of_positions.push(start..runs.len());
        }
        let stride = convolution.outputs.next_multiple_of(SIDE);
        let mut out = scratch::any(of_positions.len() * GROUP * stride);
        let second = (images.len() > SIDE).then_some(SIDE * STEP);
        {
            let multiplier = Multiplier::new(*bf16);
            for (panel, (right, is_wide)) in self.weights.panels().enumerate() {
                for (runs, to) in of_positions.iter().map(|range| &runs[range.clone()]).zip(out.chunks_exact_mut(GROUP * stride)) {
                    if runs.is_empty() {
                        to.fill(0.0);
                        continue;
                    }
                    let product = Product { left: band, stride: STEP, second, step: size, right, is_wide, runs };
                    multiplier.multiply(&product, &mut to[panel * 2 * SIDE..], stride, true);
                }
            }
        }
        out
    }
}

/// Copies the pixels of one image out of `[position, image, channel]`.
fn copy(block: &[f32], image: usize, to: &mut [f32], channels: usize) {
    let stride = channels.next_multiple_of(SIDE);
    let pixels = block.chunks_exact(GROUP * stride).map(|images| &images[image * stride..][..channels]);
    to.chunks_exact_mut(channels).zip(pixels).for_each(|(to, pixel)| to.copy_from_slice(pixel));
}
