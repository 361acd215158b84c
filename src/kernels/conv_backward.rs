//! The backward pass of [`super::conv`].

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::conv::{NONE, Winner};
use super::image::{Geometry, Images, Layout};
use super::scratch::{self, Aligned};
use super::simd::Path;

/// The gradients of weights and bias, and of the images where they are asked for.
#[derive(Debug)]
pub struct Gradients {
    /// `[output, input, row, column]`.
    pub weights: Vec<f32>,
    /// `[output]`.
    pub bias: Vec<f32>,
    /// `[image, row, column, channel]`.
    pub images: Option<Vec<f32>>,
}

/// The largest number of images whose gradients one task adds up: fixed by the batch alone, so that sums do not depend on threads.
fn images_per_task(batch: usize) -> usize {
    batch.div_ceil(32).max(4)
}

/// The backward pass: `gradient` is that of the pooled activations, `winners` are the forward pass's.
pub fn backward(
    path: Path,
    geometry: Geometry,
    images: &Images,
    weights: &[f32],
    winners: &[Winner],
    gradient: &Images,
    wants_images: bool,
) -> Gradients {
    let layout = Layout::new(geometry, path);
    let places = layout.places();
    let size = layout.kernel_size();
    let mut kernels = scratch::zeros(if wants_images { geometry.outputs * size } else { 0 });
    for (kernel, weights) in kernels.chunks_exact_mut(size).zip(weights.chunks_exact(places.len())) {
        places.iter().zip(weights).for_each(|(place, weight)| kernel[*place] = *weight);
    }
    let batch = winners.len() / (geometry.pooled() * geometry.outputs);
    let per_task = images_per_task(batch);
    let image_size = geometry.height * geometry.width * geometry.inputs;
    let mut image_gradients = vec![0.0; if wants_images { batch * image_size } else { 0 }];
    let pass = Pass { path, layout: &layout, images, kernels: &kernels, winners, gradient };
    let task = |number: usize, image_gradients: &mut [f32]| {
        let first = number * per_task;
        pass.partial(first..(first + per_task).min(batch), image_gradients)
    };
    let partials: Vec<Partial> = if wants_images {
        image_gradients.par_chunks_mut(per_task * image_size).enumerate().map(|(number, gradients)| task(number, gradients)).collect()
    } else {
        (0..batch.div_ceil(per_task)).into_par_iter().map(|number| task(number, &mut [])).collect()
    };
    let mut sums = vec![0.0; weights.len()];
    sums.par_chunks_mut(places.len()).enumerate().for_each(|(output, sums)| {
        let mut sum = vec![0.0; size];
        for partial in &partials {
            sum.iter_mut().zip(&partial.kernels[output * size..]).for_each(|(sum, number)| *sum += number);
        }
        sums.iter_mut().zip(&places).for_each(|(to, place)| *to = sum[*place]);
    });
    let bias = (0..geometry.outputs).map(|output| partials.iter().map(|partial| partial.bias[output]).sum()).collect();
    Gradients { weights: sums, bias, images: wants_images.then_some(image_gradients) }
}

/// What one task adds up.
struct Partial {
    kernels: Aligned,
    bias: Vec<f32>,
}

struct Pass<'a> {
    path: Path,
    layout: &'a Layout,
    images: &'a Images<'a>,
    kernels: &'a [f32],
    winners: &'a [Winner],
    gradient: &'a Images<'a>,
}

impl Pass<'_> {
    /// The gradients over some of the images.
    fn partial(&self, numbers: std::ops::Range<usize>, image_gradients: &mut [f32]) -> Partial {
        let layout = self.layout;
        let geometry = layout.geometry();
        let length = layout.size(geometry.pooled_height());
        let mut partial = Partial { kernels: scratch::zeros(geometry.outputs * layout.kernel_size()), bias: vec![0.0; geometry.outputs] };
        let mut image = scratch::any(length);
        let mut lists = Lists::new(geometry);
        let image_size = geometry.height * geometry.width * geometry.inputs;
        let mut image_gradients = image_gradients.chunks_exact_mut(image_size);
        let mut taps = Taps::new(geometry, self.path, layout.run);
        for number in numbers {
            layout.load(self.images, number, 0, geometry.pooled_height(), &mut image);
            if layout.patches {
                taps.load(self, number);
                self.path.run(Patches { layout, image: &image, taps: &mut taps });
            } else {
                lists.by_channel(self, number, &mut partial.bias);
                self.path.run(Kernels { layout, lists: &lists, image: &image, sums: &mut partial.kernels });
            }
            if let Some(to) = image_gradients.next() {
                lists.by_position(self, number);
                let mut sums = scratch::zeros(length);
                self.path.run(Positions { layout, lists: &lists, kernels: self.kernels, sums: &mut sums });
                layout.fold(&sums, to);
            }
        }
        if layout.patches {
            taps.store(layout, &mut partial);
        }
        partial
    }
}

/// The gradient of the kernels where patches are short: for each of their numbers, one for every output channel.
///
/// To look up where each channel's winner is takes longer than to multiply all four positions of a pool by what is 0 for three of them.
struct Taps {
    /// Output channels, padded to whole registers.
    channels: usize,
    /// `[tap, channel]`, and at the end those of the bias.
    sums: Aligned,
    /// `[position, channel]`.
    gradient: Aligned,
    /// `[position, channel]`.
    winners: Aligned,
}

impl Taps {
    fn new(geometry: Geometry, path: Path, taps: usize) -> Self {
        let channels = path.padded(geometry.outputs);
        let size = geometry.pooled() * channels;
        Self { channels, sums: scratch::zeros((taps + 1) * channels), gradient: scratch::zeros(size), winners: scratch::zeros(size) }
    }

    fn load(&mut self, pass: &Pass, image: usize) {
        let geometry = pass.layout.geometry();
        let outputs = geometry.outputs;
        let winners = pass.winners[image * geometry.pooled() * outputs..].chunks_exact(outputs);
        let gradients = self.gradient.chunks_exact_mut(self.channels).zip(self.winners.chunks_exact_mut(self.channels));
        for ((position, from), (gradient, winners)) in winners.enumerate().zip(gradients) {
            let (row, column) = (position / geometry.pooled_width(), position % geometry.pooled_width());
            pass.gradient.pixel(image, row, column, &mut gradient[..outputs]);
            winners.iter_mut().zip(from).for_each(|(to, winner)| *to = f32::from(*winner));
        }
    }

    fn store(&self, layout: &Layout, partial: &mut Partial) {
        for (output, kernel) in partial.kernels.chunks_exact_mut(layout.padded_run).enumerate() {
            for (tap, to) in kernel[..layout.run].iter_mut().enumerate() {
                *to = self.sums[tap * self.channels + output];
            }
            partial.bias[output] = self.sums[layout.run * self.channels + output];
        }
    }
}

struct Patches<'a> {
    layout: &'a Layout,
    image: &'a [f32],
    taps: &'a mut Taps,
}

impl WithSimd for Patches<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layout, image, taps } = self;
        let (gradient, _) = S::as_simd_f32s(&taps.gradient);
        let (winners, _) = S::as_simd_f32s(&taps.winners);
        let (sums, _) = S::as_mut_simd_f32s(&mut taps.sums);
        let registers = taps.channels / S::F32_LANES;
        for register in 0..registers {
            let mut tap = 0;
            while tap < layout.run {
                let sums = &mut sums[tap * registers + register..];
                tap += match layout.run - tap {
                    9.. => add_taps::<S, 9>(simd, layout, &image[tap..], registers, &gradient[register..], &winners[register..], sums),
                    4.. => add_taps::<S, 4>(simd, layout, &image[tap..], registers, &gradient[register..], &winners[register..], sums),
                    _ => add_taps::<S, 1>(simd, layout, &image[tap..], registers, &gradient[register..], &winners[register..], sums),
                };
            }
            let bias = &mut sums[layout.run * registers + register];
            for (gradient, winner) in gradient[register..].iter().step_by(registers).zip(winners[register..].iter().step_by(registers)) {
                let off = simd.equal_f32s(*winner, simd.splat_f32s(f32::from(NONE)));
                *bias = simd.add_f32s(*bias, simd.select_f32s(off, simd.splat_f32s(0.0), *gradient));
            }
        }
    }
}

/// Adds up `T` taps over all positions; how many were done.
#[inline(always)]
fn add_taps<S: Simd, const T: usize>(
    simd: S,
    layout: &Layout,
    image: &[f32],
    registers: usize,
    gradient: &[S::f32s],
    winners: &[S::f32s],
    to: &mut [S::f32s],
) -> usize {
    let geometry = layout.geometry();
    let mut sums = [simd.splat_f32s(0.0); T];
    for t in 0..T {
        sums[t] = to[t * registers];
    }
    for position in 0..geometry.pooled() {
        let starts = layout.starts(2 * (position / geometry.pooled_width()), 2 * (position % geometry.pooled_width()));
        let (gradient, winner) = (gradient[position * registers], winners[position * registers]);
        for place in 0..4 {
            let won = simd.equal_f32s(winner, simd.splat_f32s(place as f32));
            let gradient = simd.select_f32s(won, gradient, simd.splat_f32s(0.0));
            let Some(numbers) = image[starts[place]..].first_chunk::<T>() else { return T };
            for t in 0..T {
                sums[t] = simd.mul_add_e_f32s(simd.splat_f32s(numbers[t]), gradient, sums[t]);
            }
        }
    }
    for t in 0..T {
        to[t * registers] = sums[t];
    }
    T
}

/// A number of the gradient, and where the runs start that it multiplies.
#[derive(Clone, Copy, Default)]
struct Entry {
    start: u32,
    gradient: f32,
}

/// Where an image's gradient is not 0.
struct Lists {
    entries: Vec<Entry>,
    /// How many entries each list has.
    counts: Vec<usize>,
    pixel: Vec<f32>,
}

impl Lists {
    fn new(geometry: Geometry) -> Self {
        Self {
            entries: vec![Entry::default(); 5 * geometry.pooled() * geometry.outputs],
            counts: Vec::new(),
            pixel: vec![0.0; geometry.outputs],
        }
    }

    /// For each output channel, the positions of the winners; and adds up the gradient of the bias.
    fn by_channel(&mut self, pass: &Pass, image: usize, bias: &mut [f32]) {
        let geometry = pass.layout.geometry();
        let (outputs, pooled) = (geometry.outputs, geometry.pooled());
        self.counts.clear();
        self.counts.resize(outputs, 0);
        for position in 0..pooled {
            let (row, column) = (position / geometry.pooled_width(), position % geometry.pooled_width());
            let [a, b, c, d] = pass.layout.starts(2 * row, 2 * column).map(offset);
            let starts = [a, b, c, d, 0, 0, 0, 0];
            pass.gradient.pixel(image, row, column, &mut self.pixel);
            let winners = &pass.winners[(image * pooled + position) * outputs..][..outputs];
            let lists = self.entries.chunks_exact_mut(pooled).zip(&mut self.counts).zip(bias.iter_mut());
            for (((list, count), bias), (winner, gradient)) in lists.zip(winners.iter().zip(&self.pixel)) {
                // Written in any case, and counted only where ReLU let something through: a branch would be guessed wrong half of the time.
                list[*count] = Entry { start: starts[usize::from(*winner % 8)], gradient: *gradient };
                let live = *winner != NONE;
                *count += usize::from(live);
                *bias += if live { *gradient } else { 0.0 };
            }
        }
    }

    /// For each position of each pool, the output channels that won there.
    fn by_position(&mut self, pass: &Pass, image: usize) {
        let geometry = pass.layout.geometry();
        let (outputs, pooled) = (geometry.outputs, geometry.pooled());
        self.counts.clear();
        self.counts.resize(4 * pooled, 0);
        let kernels = pass.winners[image * pooled * outputs..].chunks_exact(outputs);
        let lists = self.entries.chunks_exact_mut(5 * outputs).zip(self.counts.chunks_exact_mut(4));
        for ((position, winners), (entries, counts)) in (0..pooled).zip(kernels).zip(lists) {
            pass.gradient.pixel(image, position / geometry.pooled_width(), position % geometry.pooled_width(), &mut self.pixel);
            let mut lengths = [0; 8];
            let size = pass.layout.kernel_size();
            for (output, (winner, gradient)) in winners.iter().zip(&self.pixel).enumerate() {
                let winner = usize::from(*winner % 8);
                entries[winner * outputs + lengths[winner]] = Entry { start: offset(output * size), gradient: *gradient };
                lengths[winner] += 1;
            }
            counts.copy_from_slice(&lengths[..4]);
        }
    }
}

/// Offsets within an image and within the kernels of a layer are below 2³².
#[expect(clippy::cast_possible_truncation, reason = "a network has at most 2^28 parameters, and an image fewer numbers")]
fn offset(at: usize) -> u32 {
    at as u32
}

/// The gradient of the kernels: for each output channel, the runs at its winners.
struct Kernels<'a> {
    layout: &'a Layout,
    lists: &'a Lists,
    image: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Kernels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layout, lists, image, sums } = self;
        let pooled = layout.geometry().pooled();
        for output in 0..lists.counts.len() {
            let entries = &lists.entries[output * pooled..][..lists.counts[output]];
            for run in 0..layout.runs {
                let to = &mut sums[(output * layout.runs + run) * layout.padded_run..][..layout.padded_run];
                add_runs(simd, to, entries, image, run * layout.next_run);
            }
        }
    }
}

/// The gradient of the image: at each position, the kernels of the channels that won there.
struct Positions<'a> {
    layout: &'a Layout,
    lists: &'a Lists,
    kernels: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Positions<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layout, lists, kernels, sums } = self;
        let geometry = layout.geometry();
        for position in 0..geometry.pooled() {
            let starts = layout.starts(2 * (position / geometry.pooled_width()), 2 * (position % geometry.pooled_width()));
            for winner in 0..4 {
                let entries = &lists.entries[(5 * position + winner) * geometry.outputs..][..lists.counts[4 * position + winner]];
                for run in 0..layout.runs {
                    let to = &mut sums[starts[winner] + run * layout.next_run..][..layout.padded_run];
                    add_runs(simd, to, entries, kernels, run * layout.padded_run);
                }
            }
        }
    }
}

/// `to += Σ gradient · from[start + shift..]` over `entries`.
#[inline(always)]
fn add_runs<S: Simd>(simd: S, to: &mut [f32], entries: &[Entry], from: &[f32], shift: usize) {
    let lanes = S::F32_LANES;
    let mut at = 0;
    while at < to.len() {
        let (to, shift) = (&mut to[at..], shift + at);
        // Where there are few sums, several of each are kept, so that one multiplication need not wait for the other.
        let width = match to.len() / lanes {
            12.. => add_block::<S, 12, 1>(simd, to, entries, from, shift),
            6.. => add_block::<S, 6, 2>(simd, to, entries, from, shift),
            4.. => add_block::<S, 4, 2>(simd, to, entries, from, shift),
            2.. => add_block::<S, 2, 4>(simd, to, entries, from, shift),
            _ => add_block::<S, 1, 8>(simd, to, entries, from, shift),
        };
        at += width * lanes;
    }
}

/// `B` registers of [`add_runs`], in `U` sums each; how many were done.
#[inline(always)]
fn add_block<S: Simd, const B: usize, const U: usize>(simd: S, to: &mut [f32], entries: &[Entry], from: &[f32], shift: usize) -> usize {
    let Some(to) = S::as_mut_simd_f32s(to).0.first_chunk_mut::<B>() else { return B };
    let mut sums = [[simd.splat_f32s(0.0); B]; U];
    sums[0] = *to;
    let (several, rest) = entries.as_chunks::<U>();
    for entries in several {
        for u in 0..U {
            sums[u] = add_entry(simd, sums[u], entries[u], from, shift);
        }
    }
    for entry in rest {
        sums[0] = add_entry(simd, sums[0], *entry, from, shift);
    }
    for u in 1..U {
        for b in 0..B {
            sums[0][b] = simd.add_f32s(sums[0][b], sums[u][b]);
        }
    }
    *to = sums[0];
    B
}

/// `sums + gradient · from[start + shift..]`.
#[inline(always)]
fn add_entry<S: Simd, const B: usize>(simd: S, mut sums: [S::f32s; B], entry: Entry, from: &[f32], shift: usize) -> [S::f32s; B] {
    if let Some(numbers) = S::as_simd_f32s(&from[entry.start as usize + shift..]).0.first_chunk::<B>() {
        let gradient = simd.splat_f32s(entry.gradient);
        for b in 0..B {
            sums[b] = simd.mul_add_e_f32s(gradient, numbers[b], sums[b]);
        }
    }
    sums
}
