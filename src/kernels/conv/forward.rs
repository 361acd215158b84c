//! The forward pass.

use std::sync::OnceLock;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::winograd::{Pools, Transformed};
use super::{NONE, Winner};
use crate::kernels::fill::{Size, filled};
use crate::kernels::image::{Geometry, Images, Layout};
use crate::kernels::scratch;
use crate::kernels::simd::Path;

/// Pooled activations `[image, row, column, channel]` of `batch` images and, where they are asked for, which value of each pool they are.
///
/// `weights` is `[output, input, row, column]`, `bias` is `[output]`.
#[must_use]
pub fn forward(
    path: Path,
    geometry: Geometry,
    batch: usize,
    images: &Images,
    weights: &[f32],
    bias: &[f32],
    wants_winners: bool,
) -> (Vec<f32>, Vec<Winner>) {
    let layout = Layout::new(geometry, path);
    let height = geometry.pooled_height();
    // A few images are split by rows, so that all threads have some.
    let rows = if batch >= 4 * rayon::current_num_threads() { height } else { 1 };
    let length = batch * geometry.pooled() * geometry.outputs;
    if length == 0 {
        return (Vec::new(), Vec::new());
    }
    let transformed = Transformed::new(path, &layout, batch * geometry.pooled(), wants_winners, weights, bias);
    // Only images that are not finite may need both.
    let packed = if transformed.is_none() { OnceLock::from(Packed::new(path, &layout, weights, bias, true)) } else { OnceLock::new() };
    let pass = Pass { path, layout: &layout, images, weights, bias, transformed: transformed.as_deref(), packed, rows };
    let out = Size { length, per_task: rows * geometry.pooled_width() * geometry.outputs };
    let winners = if wants_winners { out } else { Size::NONE };
    let task = |number, out: &mut [f32], winners: &mut [Winner]| path.run(Task { pass: &pass, number, out, winners });
    let (out, winners, _) = filled(length / out.per_task, out, winners, task);
    (out, winners)
}

/// What all tasks read.
struct Pass<'a> {
    path: Path,
    layout: &'a Layout,
    images: &'a Images<'a>,
    weights: &'a [f32],
    bias: &'a [f32],
    transformed: Option<&'a Transformed>,
    packed: OnceLock<Packed>,
    /// Pooled rows of a task.
    rows: usize,
}

/// Some rows of one image.
struct Task<'a> {
    pass: &'a Pass<'a>,
    number: usize,
    out: &'a mut [f32],
    winners: &'a mut [Winner],
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pass, number, out, winners } = self;
        let Pass { path, layout, images, weights, bias, transformed, ref packed, rows } = *pass;
        let geometry = layout.geometry();
        let tasks = geometry.pooled_height().div_ceil(rows);
        let (image, first) = (number / tasks, number % tasks * rows);
        let count = out.len() / (geometry.pooled_width() * geometry.outputs);
        let mut copy;
        let input = if let Some(lying) = layout.borrow(images, image, first, count) {
            lying
        } else {
            copy = scratch::any(layout.size(count));
            layout.load(images, image, first, count, &mut copy);
            &copy
        };
        let width = path.padded(geometry.outputs);
        let mut padded = scratch::any(if width == geometry.outputs { 0 } else { count * geometry.pooled_width() * width });
        let values = if padded.is_empty() { &mut *out } else { &mut padded };
        let mut places = scratch::any(if winners.is_empty() { 0 } else { values.len() });
        let places: &mut [u32] = bytemuck::cast_slice_mut(&mut places);
        let done = match transformed {
            None => false,
            Some(transformed) => Pools { path, layout, transformed, input, values: &mut *values, places: &mut *places }.with_simd(simd),
        };
        if !done {
            // By one thread: one that waits for others takes up another task meanwhile, which would wait here for this very packing.
            let packed = packed.get_or_init(|| Packed::new(path, layout, weights, bias, false));
            Rows { path, layout, packed, input, values, places }.with_simd(simd);
        }
        for (to, from) in out.chunks_exact_mut(geometry.outputs).zip(padded.chunks_exact(width)) {
            to.copy_from_slice(&from[..geometry.outputs]);
        }
        for (to, from) in winners.chunks_exact_mut(geometry.outputs).zip(places.chunks_exact(width)) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = small(*from));
        }
    }
}

/// Winners are at most 4.
#[expect(clippy::cast_possible_truncation, reason = "a conversion that checks would not be vectorized")]
#[inline(always)]
fn small(winner: u32) -> Winner {
    winner as Winner
}

/// Weights in the order the forward pass reads them: blocks of output channels, in each the runs, in each a number for every channel.
struct Packed {
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// Registers of output channels that are computed together: each with four accumulators.
#[inline]
pub(super) fn widest(registers: usize) -> usize {
    if registers >= 32 { 4 } else { 2 }
}

/// Splits `registers` registers of channels into blocks of at most `widest`: first register and width of each.
#[inline(always)]
pub(super) fn blocks(mut left: usize, widest: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let width = [4, 2, 1].into_iter().find(|width| *width <= widest && *width <= left)?;
        let block = (first, width);
        first += width;
        left -= width;
        Some(block)
    })
}

/// `size` numbers for each of the channels of all registers, block by block; `fill` writes one, given its first channel and how many it has.
/// On all threads, if `parallel` says so.
pub(super) fn blocked(
    path: Path,
    registers: usize,
    size: usize,
    parallel: bool,
    fill: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let mut numbers = vec![0.0; size * registers * path.lanes];
    let mut rest = numbers.as_mut_slice();
    let mut parts = Vec::new();
    for (first, width) in blocks(registers, widest(path.registers)) {
        let (part, after) = rest.split_at_mut(size * width * path.lanes);
        parts.push((first * path.lanes, width * path.lanes, part));
        rest = after;
    }
    let fill = |(first, channels, part)| fill(first, channels, part);
    if parallel {
        parts.into_par_iter().for_each(fill);
    } else {
        parts.into_iter().for_each(fill);
    }
    numbers
}

impl Packed {
    fn new(path: Path, layout: &Layout, weights: &[f32], bias: &[f32], parallel: bool) -> Self {
        let outputs = bias.len();
        let registers = outputs.div_ceil(path.lanes);
        // The places leave out what pads a run, which no patch has.
        let places: Vec<usize> =
            layout.places().iter().map(|place| place / layout.padded_run * layout.run + place % layout.padded_run).collect();
        let packed = blocked(path, registers, layout.runs * layout.run, parallel, |first, channels, block| {
            for (tap, place) in places.iter().enumerate() {
                let to = &mut block[place * channels..][..channels.min(outputs - first)];
                to.iter_mut().zip(weights[first * places.len() + tap..].iter().step_by(places.len())).for_each(|(to, from)| *to = *from);
            }
        });
        let mut padded = bias.to_vec();
        padded.resize(registers * path.lanes, 0.0);
        Self { weights: packed, bias: padded }
    }
}

/// Rows of pooled positions of one image, laid out in `input`.
struct Rows<'a> {
    path: Path,
    layout: &'a Layout,
    packed: &'a Packed,
    input: &'a [f32],
    values: &'a mut [f32],
    places: &'a mut [u32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { path, layout, packed, input, values, places } = self;
        let columns = layout.geometry().pooled_width();
        let (bias, _) = S::as_simd_f32s(&packed.bias);
        let (mut weights, _) = S::as_simd_f32s(&packed.weights);
        let (values, _) = S::as_mut_simd_f32s(values);
        let (places, _) = S::as_mut_simd_u32s(places);
        let registers = bias.len();
        let size = layout.runs * layout.run;
        for (register, width) in blocks(registers, widest(path.registers)) {
            let (block, after) = weights.split_at(size * width);
            weights = after;
            let bias = &bias[register..register + width];
            for position in 0..values.len() / registers {
                let starts = layout.starts(2 * (position / columns), 2 * (position % columns));
                let at = position * registers + register;
                let values = &mut values[at..at + width];
                let places = if places.is_empty() { &mut [] } else { &mut places[at..at + width] };
                match width {
                    4 => tile::<S, 4>(simd, layout, input, starts, block, bias, values, places),
                    2 => tile::<S, 2>(simd, layout, input, starts, block, bias, values, places),
                    _ => tile::<S, 1>(simd, layout, input, starts, block, bias, values, places),
                }
            }
        }
    }
}

/// One pooled position of `V` registers of output channels.
#[inline(always)]
fn tile<S: Simd, const V: usize>(
    simd: S,
    layout: &Layout,
    image: &[f32],
    starts: [usize; 4],
    weights: &[S::f32s],
    bias: &[S::f32s],
    values: &mut [S::f32s],
    places: &mut [S::u32s],
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; 4];
    for v in 0..V {
        for position in &mut sums {
            position[v] = bias[v];
        }
    }
    let (weights, _) = weights.as_chunks::<V>();
    let length = layout.run;
    for run in 0..layout.runs {
        let shift = run * layout.next_run;
        let weights = &weights[run * length..][..length];
        let a = &image[starts[0] + shift..][..length];
        let b = &image[starts[1] + shift..][..length];
        let c = &image[starts[2] + shift..][..length];
        let d = &image[starts[3] + shift..][..length];
        for i in 0..length {
            for (position, number) in [a[i], b[i], c[i], d[i]].into_iter().enumerate() {
                let number = simd.splat_f32s(number);
                for v in 0..V {
                    sums[position][v] = simd.mul_add_e_f32s(number, weights[i][v], sums[position][v]);
                }
            }
        }
    }
    for v in 0..V {
        let (value, place) = pool(simd, [sums[0][v], sums[1][v], sums[2][v], sums[3][v]]);
        values[v] = value;
        if let Some(to) = places.get_mut(v) {
            *to = place;
        }
    }
}

/// ReLU and the largest of the four values of a pool, with its place.
///
/// As in the stock operations, the first of equal values wins, and the last that is not a number wins over all others.
#[inline(always)]
pub(super) fn pool<S: Simd>(simd: S, values: [S::f32s; 4]) -> (S::f32s, S::u32s) {
    let zero = simd.splat_f32s(0.0);
    let mut largest = values[0];
    let mut winner = simd.splat_u32s(0);
    for (position, value) in (0..).zip(values).skip(1) {
        let larger = simd.greater_than_f32s(value, largest);
        largest = simd.max_f32s(value, largest);
        winner = simd.select_u32s(larger, simd.splat_u32s(position), winner);
    }
    let sum = simd.add_f32s(simd.add_f32s(values[0], values[1]), simd.add_f32s(values[2], values[3]));
    if simd.first_true_m32s(simd.not_m32s(simd.equal_f32s(sum, sum))) < S::F32_LANES {
        for (position, value) in (0..).zip(values) {
            let is_number = simd.equal_f32s(value, value);
            largest = simd.select_f32s(is_number, largest, value);
            winner = simd.select_u32s(is_number, winner, simd.splat_u32s(position));
        }
    }
    let off = simd.less_than_or_equal_f32s(largest, zero);
    (simd.select_f32s(off, zero, largest), simd.select_u32s(off, simd.splat_u32s(u32::from(NONE)), winner))
}
