//! The gradients where most of the output gradient is 0: sums of runs, each multiplied by one number.

use bytemuck::{Pod, Zeroable};
use pulp::{Simd, WithSimd};

use super::{ArgMax, NONE};
use crate::image::Layout;
use crate::scratch::{self, Aligned};

/// A number of the gradient, and where the runs start that it multiplies.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Entry {
    start: u32,
    gradient: f32,
}

/// Numbers in whose memory an entry fits.
const ENTRY: usize = size_of::<Entry>() / size_of::<f32>();

/// Where an image's gradient is not 0.
pub(super) struct Lists {
    outputs: usize,
    padded_run: usize,
    /// For each pooled position, where the runs of its four positions start.
    starts: Vec<[u32; 8]>,
    entries: Aligned,
    /// How many entries each list has.
    counts: Vec<usize>,
}

impl Lists {
    pub(super) fn new(layout: &Layout) -> Self {
        let geometry = layout.geometry();
        let starts = |position: usize| {
            let (row, column) = (position / geometry.pooled_width(), position % geometry.pooled_width());
            let [a, b, c, d] = layout.starts(2 * row, 2 * column).map(offset);
            [a, b, c, d, 0, 0, 0, 0]
        };
        Self {
            outputs: geometry.outputs,
            padded_run: layout.padded_run,
            starts: (0..geometry.pooled()).map(starts).collect(),
            entries: scratch::any(5 * geometry.pooled() * geometry.outputs * ENTRY),
            counts: vec![0; geometry.outputs.max(4 * geometry.pooled())],
        }
    }

    #[inline(always)]
    fn entries(&self) -> &[Entry] {
        bytemuck::cast_slice(&self.entries)
    }

    /// For each output channel, the positions of the argmax. Both arguments are `[position, channel]`.
    ///
    /// Every entry is written, and counted only where the pool's output is positive: a branch would be mispredicted half of the time.
    #[inline(always)]
    pub(super) fn by_channel(&mut self, argmax: &[ArgMax], gradient: &[f32]) {
        let entries = bytemuck::cast_slice_mut::<f32, Entry>(&mut self.entries);
        let lists = entries.chunks_exact_mut(self.starts.len()).zip(&mut self.counts);
        for (output, (list, counted)) in lists.enumerate().take(self.outputs) {
            let mut count = 0;
            for (position, starts) in self.starts.iter().enumerate() {
                let at = position * self.outputs + output;
                let index = argmax[at];
                list[count] = Entry { start: starts[usize::from(index % 8)], gradient: gradient[at] };
                count += usize::from(index != NONE);
            }
            *counted = count;
        }
    }

    /// For each position of each pool, the output channels whose largest value it has. Both arguments are `[position, channel]`.
    #[inline(always)]
    pub(super) fn by_position(&mut self, argmax: &[ArgMax], gradient: &[f32]) {
        let outputs = self.outputs;
        let entries = bytemuck::cast_slice_mut::<f32, Entry>(&mut self.entries);
        let lists = entries.chunks_exact_mut(5 * outputs).zip(self.counts.chunks_exact_mut(4));
        for ((argmax, gradient), (entries, counts)) in argmax.chunks_exact(outputs).zip(gradient.chunks_exact(outputs)).zip(lists) {
            let mut lengths = [0; 8];
            for (output, (index, gradient)) in argmax.iter().zip(gradient).enumerate() {
                let index = usize::from(*index % 8);
                entries[index * outputs + lengths[index]] = Entry { start: offset(output * self.padded_run), gradient: *gradient };
                lengths[index] += 1;
            }
            counts.copy_from_slice(&lengths[..4]);
        }
    }
}

/// Offsets within an image and within the kernels of a layer are below 2³².
#[expect(clippy::cast_possible_truncation, reason = "a network has at most 2^28 parameters, and an image fewer numbers")]
#[inline(always)]
fn offset(at: usize) -> u32 {
    at as u32
}

/// The gradient of the kernels: for each output channel, the runs at its argmax.
pub(super) struct KernelGradient<'a> {
    pub(super) layout: &'a Layout,
    pub(super) lists: &'a Lists,
    pub(super) image: &'a [f32],
    pub(super) sums: &'a mut [f32],
}

impl WithSimd for KernelGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layout, lists, image, sums } = self;
        let pooled = layout.geometry().pooled();
        let all = lists.entries();
        for output in 0..lists.outputs {
            let entries = &all[output * pooled..][..lists.counts[output]];
            for run in 0..layout.runs {
                let to = &mut sums[(output * layout.runs + run) * layout.padded_run..][..layout.padded_run];
                add_runs(simd, to, entries, image, run * layout.next_run);
            }
        }
    }
}

/// The gradient of the image: at each position, the kernels of the channels whose largest value is there.
pub(super) struct ImageGradient<'a> {
    pub(super) layout: &'a Layout,
    pub(super) lists: &'a Lists,
    pub(super) kernels: &'a [f32],
    pub(super) sums: &'a mut [f32],
}

impl WithSimd for ImageGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layout, lists, kernels, sums } = self;
        let (entries, all) = (lists.entries(), lists.outputs * layout.padded_run);
        // One run of all kernels after the other, so that the run stays in the first-level cache.
        for (run, kernels) in kernels.chunks_exact(all).enumerate() {
            let shift = run * layout.next_run;
            for (position, starts) in lists.starts.iter().enumerate() {
                for index in 0..4 {
                    let entries = &entries[(5 * position + index) * lists.outputs..][..lists.counts[4 * position + index]];
                    let to = &mut sums[starts[index] as usize + shift..][..layout.padded_run];
                    add_runs(simd, to, entries, kernels, 0);
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
        // Where there are few sums, there are several of each, so that one multiplication need not wait for the other.
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
