//! Depthwise convolution: each output channel is made of one input channel. Weights are `[tap, channel]`.
//!
//! The sums of a few pixels stay in registers until all their summands are added.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{Convolution, PackedWeights};
use crate::registers::{for_each_register, load, store};
use crate::strided::Axis;

/// `[channel, row, column]` as `[tap, channel]`.
pub(super) fn packed(convolution: &Convolution, kernel: &[f32]) -> Vec<f32> {
    let taps = convolution.taps();
    (0..taps).flat_map(|tap| kernel.iter().skip(tap).step_by(taps)).copied().collect()
}

/// Pixels of a row to be computed, `step` columns apart, that are sums over the same columns of the kernel. The pixels they are made from are `from_step` columns apart.
struct Run {
    first: usize,
    step: usize,
    count: usize,
    from_step: usize,
    /// Of each summand of the first pixel: the column of the kernel, and that of the row it is made from.
    taps: Vec<(usize, usize)>,
}

/// The runs of the columns `first`, `first + step`, ... below `side`.
fn runs(first: usize, step: usize, side: usize, from_step: usize, taps: impl Fn(usize) -> Vec<(usize, usize)>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for column in (first..side).step_by(step) {
        let taps = taps(column);
        match runs.last_mut() {
            Some(run) if run.taps.iter().map(|(tap, _)| tap).eq(taps.iter().map(|(tap, _)| tap)) => run.count += 1,
            _ => runs.push(Run { first: column, step, count: 1, from_step, taps }),
        }
    }
    runs
}

/// The numbers of a window that are not padding: for each its place in the window, and on the side.
fn window(axis: Axis, kernel: usize, window: usize) -> Vec<(usize, usize)> {
    (0..kernel).filter_map(|tap| Some((tap, axis.index(window, tap)?))).collect()
}

/// The windows over a number of the side: for each the place in it, and its own.
fn windows(axis: Axis, kernel: usize, index: usize) -> Vec<(usize, usize)> {
    let place = index + axis.padding;
    let of_tap = |tap: usize| {
        let first = place.checked_sub(tap)?;
        (first.is_multiple_of(axis.stride) && first / axis.stride < axis.windows(kernel)).then_some((tap, first / axis.stride))
    };
    (0..kernel).rev().filter_map(of_tap).collect()
}

/// Adds up one row: the products of the rows `from` and the rows of the kernel, of which `rows` has the indexes, for the pixels of `runs`.
struct Row<'a> {
    channels: usize,
    kernel_columns: usize,
    weights: &'a [f32],
    from: &'a [f32],
    /// Columns of `from`.
    columns: usize,
    rows: Vec<(usize, usize)>,
    runs: &'a [Run],
}

impl Row<'_> {
    #[inline(always)]
    fn add_up<S: Simd>(&self, simd: S, offsets: &mut Vec<(usize, usize)>, out: &mut [f32]) {
        for run in self.runs {
            offsets.clear();
            for (y, from_row) in &self.rows {
                for (x, from_column) in &run.taps {
                    let pixel = from_row * self.columns + from_column;
                    offsets.push(((y * self.kernel_columns + x) * self.channels, pixel * self.channels));
                }
            }
            if offsets.is_empty() {
                let pixels = out[run.first * self.channels..].chunks_exact_mut(self.channels);
                pixels.step_by(run.step).take(run.count).for_each(|pixel| pixel.fill(0.0));
                continue;
            }
            let mut index = 0;
            while index < run.count {
                // Eight registers of sums at a time, if there are as many, so that none waits for the one before it.
                let together = [8, 4, 2, 1].into_iter().find(|count| index + count <= run.count).unwrap_or(1);
                match together {
                    8 => self.pixels::<S, 8, 1>(simd, run, index, offsets, out),
                    4 => self.pixels::<S, 4, 2>(simd, run, index, offsets, out),
                    2 => self.pixels::<S, 2, 4>(simd, run, index, offsets, out),
                    _ => self.pixels::<S, 1, 8>(simd, run, index, offsets, out),
                }
                index += together;
            }
        }
    }

    /// `C` pixels from number `index` of the run on, `V` registers of channels at a time.
    #[inline(always)]
    fn pixels<S: Simd, const C: usize, const V: usize>(
        &self,
        simd: S,
        run: &Run,
        index: usize,
        offsets: &[(usize, usize)],
        out: &mut [f32],
    ) {
        let channels = self.channels;
        let (from, to) = (&self.from[index * run.from_step * channels..], &mut out[(run.first + index * run.step) * channels..]);
        let wide = channels / (V * S::F32_LANES) * V * S::F32_LANES;
        for channel in (0..wide).step_by(V * S::F32_LANES) {
            self.sums::<S, C, V>(simd, run, (channel, S::F32_LANES), offsets, from, to);
        }
        for_each_register::<S>(
            wide..channels,
            #[inline(always)]
            |channel, count| {
                self.sums::<S, C, 1>(simd, run, (channel, count), offsets, from, to);
            },
        );
    }

    /// `C` pixels by `V` registers of `count` channels.
    #[inline(always)]
    fn sums<S: Simd, const C: usize, const V: usize>(
        &self,
        simd: S,
        run: &Run,
        (channel, count): (usize, usize),
        offsets: &[(usize, usize)],
        from: &[f32],
        to: &mut [f32],
    ) {
        let (step, to_step) = (run.from_step * self.channels, run.step * self.channels);
        let all = (V - 1) * S::F32_LANES + count;
        let mut sums = [[simd.splat_f32s(0.0); V]; C];
        for (weight, pixel) in offsets {
            let weights = &self.weights[weight + channel..][..all];
            let from = &from[pixel + channel..][..(C - 1) * step + all];
            for v in 0..V {
                let weight = load(simd, &weights[v * S::F32_LANES..][..count]);
                for c in 0..C {
                    sums[c][v] = simd.mul_add_e_f32s(weight, load(simd, &from[c * step + v * S::F32_LANES..][..count]), sums[c][v]);
                }
            }
        }
        let to = &mut to[channel..][..(C - 1) * to_step + all];
        for c in 0..C {
            for v in 0..V {
                store(simd, &mut to[c * to_step + v * S::F32_LANES..][..count], sums[c][v]);
            }
        }
    }
}

/// Some output rows of all images.
pub(super) struct Forward<'a> {
    pub(super) weights: &'a PackedWeights,
    pub(super) images: &'a [f32],
    pub(super) rows: Range<usize>,
    pub(super) out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights: PackedWeights { convolution, numbers, .. }, images, rows, out } = self;
        let ([height, columns], channels, [kernel_rows, kernel_columns]) = (convolution.sides(), convolution.inputs, convolution.kernel);
        let runs = runs(0, 1, columns, convolution.stride[1], |column| window(convolution.columns(), kernel_columns, column));
        let mut offsets = Vec::new();
        for (number, out) in rows.zip(out.chunks_exact_mut(columns * channels)) {
            let from = &images[number / height * convolution.image_size()..][..convolution.image_size()];
            let rows = window(convolution.rows(), kernel_rows, number % height);
            let row = Row { channels, kernel_columns, weights: numbers, from, columns: convolution.width, rows, runs: &runs };
            row.add_up(simd, &mut offsets, out);
        }
    }
}

/// The gradient of an image.
pub(super) struct ImageGradient<'a> {
    pub(super) convolution: &'a Convolution,
    pub(super) weights: &'a [f32],
    pub(super) gradient: &'a [f32],
    pub(super) out: &'a mut [f32],
}

impl WithSimd for ImageGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { convolution, weights, gradient, out } = self;
        let ([_, columns], channels, [kernel_rows, kernel_columns]) = (convolution.sides(), convolution.inputs, convolution.kernel);
        let (width, stride) = (convolution.width, convolution.stride[1]);
        let of_phase = |phase| runs(phase, stride, width, 1, |column| windows(convolution.columns(), kernel_columns, column));
        let runs: Vec<Run> = (0..stride).flat_map(of_phase).collect();
        let mut offsets = Vec::new();
        for (row, out) in out.chunks_exact_mut(width * channels).enumerate() {
            let rows = windows(convolution.rows(), kernel_rows, row);
            let row = Row { channels, kernel_columns, weights, from: gradient, columns, rows, runs: &runs };
            row.add_up(simd, &mut offsets, out);
        }
    }
}

/// The gradient of the weights over some output rows of all images, `[tap, channel]`.
pub(super) struct WeightGradient<'a> {
    pub(super) convolution: &'a Convolution,
    pub(super) images: &'a [f32],
    pub(super) gradient: &'a [f32],
    pub(super) rows: Range<usize>,
    pub(super) sums: &'a mut [f32],
}

impl WithSimd for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { convolution, images, gradient, rows, sums } = self;
        let ([height, columns], channels, [kernel_rows, kernel_columns]) = (convolution.sides(), convolution.inputs, convolution.kernel);
        let runs = runs(0, 1, columns, convolution.stride[1], |column| window(convolution.columns(), kernel_columns, column));
        for row in rows {
            let image = &images[row / height * convolution.image_size()..][..convolution.image_size()];
            let slopes = &gradient[row * columns * channels..][..columns * channels];
            for (y, from_row) in window(convolution.rows(), kernel_rows, row % height) {
                let line = &image[from_row * convolution.width * channels..][..convolution.width * channels];
                let sums = &mut sums[y * kernel_columns * channels..][..kernel_columns * channels];
                for run in &runs {
                    for taps in run.taps.chunks(5) {
                        match taps.len() {
                            5 => add_taps::<S, 5>(simd, channels, run, taps, line, slopes, sums),
                            4 => add_taps::<S, 4>(simd, channels, run, taps, line, slopes, sums),
                            3 => add_taps::<S, 3>(simd, channels, run, taps, line, slopes, sums),
                            2 => add_taps::<S, 2>(simd, channels, run, taps, line, slopes, sums),
                            _ => add_taps::<S, 1>(simd, channels, run, taps, line, slopes, sums),
                        }
                    }
                }
            }
        }
    }
}

/// Adds the products of the slopes of a run with the pixels of `line` under `T` taps, which are side by side.
#[inline(always)]
fn add_taps<S: Simd, const T: usize>(
    simd: S,
    channels: usize,
    run: &Run,
    taps: &[(usize, usize)],
    line: &[f32],
    slopes: &[f32],
    sums: &mut [f32],
) {
    let Some((first_tap, from)) = taps.first().copied() else { return };
    let (sums, slopes) = (&mut sums[first_tap * channels..][..T * channels], &slopes[run.first * channels..][..run.count * channels]);
    for_each_register::<S>(
        0..channels,
        #[inline(always)]
        |channel, count| {
            let mut totals = [simd.splat_f32s(0.0); T];
            for t in 0..T {
                totals[t] = load(simd, &sums[t * channels + channel..][..count]);
            }
            for (index, slope) in slopes.chunks_exact(channels).enumerate() {
                let slope = load(simd, &slope[channel..][..count]);
                let pixels = &line[(from + index * run.from_step) * channels + channel..][..(T - 1) * channels + count];
                for t in 0..T {
                    totals[t] = simd.mul_add_e_f32s(load(simd, &pixels[t * channels..][..count]), slope, totals[t]);
                }
            }
            for t in 0..T {
                store(simd, &mut sums[t * channels + channel..][..count], totals[t]);
            }
        },
    );
}
