//! The forward pass.

use pulp::{Simd, WithSimd};

use super::weights::{ConvWeights, Packed};
use super::winograd::{self, Pools, Transformed};
use super::{ArgMax, NONE};
use crate::fill::{Size, filled};
use crate::image::{Images, Layout};
use crate::panels::{panels, widest};
use crate::scratch;
use crate::simd::Path;

/// The output of a pass for training.
#[derive(Debug)]
pub struct Pooled {
    /// The activations, `[image, row, column, channel]`.
    pub values: Vec<f32>,
    /// Those of the pools, in the same order.
    pub argmax: Vec<ArgMax>,
}

/// Pooled activations `[image, row, column, channel]`, without argmax: for inference.
///
/// Where there are fewer than four images for each of `threads` threads, an image is several tasks; the results are the same bits. With `threads` 1 the
/// caller's thread does all.
#[must_use]
pub fn forward(weights: &ConvWeights, images: &Images, threads: usize) -> Vec<f32> {
    pooled(weights, images, false, threads).values
}

/// [`forward`] with the argmax of the pools, which [`backward`](super::backward()) needs.
#[must_use]
pub fn forward_with_argmax(weights: &ConvWeights, images: &Images, threads: usize) -> Pooled {
    pooled(weights, images, true, threads)
}

fn pooled(weights: &ConvWeights, images: &Images, wants_argmax: bool, threads: usize) -> Pooled {
    let geometry = weights.layout.geometry();
    let (batch, height) = (images.batch, geometry.pooled_height());
    let rows = rows_of_task(height, batch, threads);
    let length = batch * geometry.pooled() * geometry.outputs;
    if length == 0 {
        return Pooled { values: Vec::new(), argmax: Vec::new() };
    }
    let pass = Pass { weights, images, rows };
    let out = Size::any(length, rows * geometry.pooled_width() * geometry.outputs);
    let argmax = if wants_argmax { out } else { Size::NONE };
    let task = |number, out: &mut [f32], argmax: &mut [ArgMax]| weights.path.run(Task { pass: &pass, number, out, argmax });
    let (values, argmax, _) = filled(threads, batch * height.div_ceil(rows), out, argmax, task);
    Pooled { values, argmax }
}

/// Pooled rows of a task. As many as leave no thread without work: each task reads all weights, so that two of 4 and 3 rows took 51 µs where seven of
/// one took 65, all of them on one thread.
fn rows_of_task(height: usize, batch: usize, threads: usize) -> usize {
    if threads == 1 || batch >= 4 * threads {
        return height;
    }
    // Of several images, tasks of the same size, so that none has rows of two.
    let tasks = if batch == 1 { threads } else { (2 * threads).div_ceil(batch) };
    let most = height.div_ceil(tasks);
    (1..=most).rev().find(|rows| batch == 1 || height.is_multiple_of(*rows)).unwrap_or(1)
}

/// What all tasks read.
struct Pass<'a> {
    weights: &'a ConvWeights<'a>,
    images: &'a Images<'a>,
    /// Pooled rows of a task.
    rows: usize,
}

/// Some rows of one image.
struct Task<'a> {
    pass: &'a Pass<'a>,
    number: usize,
    out: &'a mut [f32],
    argmax: &'a mut [ArgMax],
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pass, number, out, argmax } = self;
        let Pass { weights, images, rows } = *pass;
        let (path, layout) = (weights.path, &weights.layout);
        let geometry = layout.geometry();
        let tasks = geometry.pooled_height().div_ceil(rows);
        let (image, first) = (number / tasks, number % tasks * rows);
        let count = out.len() / (geometry.pooled_width() * geometry.outputs);
        let mut copy;
        let input = if let Some(stored) = layout.borrow(images, image, first, count) {
            stored
        } else {
            copy = scratch::any(layout.size(count));
            layout.load(images, image, first, count, &mut copy);
            &copy
        };
        let width = path.padded(geometry.outputs);
        let mut padded = scratch::any(if width == geometry.outputs { 0 } else { count * geometry.pooled_width() * width });
        let values = if padded.is_empty() { &mut *out } else { &mut padded };
        let mut indices = scratch::any(if argmax.is_empty() { 0 } else { values.len() });
        let indices: &mut [u32] = bytemuck::cast_slice_mut(&mut indices);
        match &weights.transformed {
            None => Rows { path, layout, packed: weights.packed(), input, values, argmax: indices }.with_simd(simd),
            Some(transformed) if winograd::are_finite(simd, input) => {
                Pools { path, layout, transformed, input, values, argmax: indices }.with_simd(simd);
            }
            // A function of its own: as a loop around both ways it made convolutions of few channels 8 % slower.
            Some(transformed) => path.run(RowByRow { weights, transformed, input, values, argmax: indices }),
        }
        for (to, from) in out.chunks_exact_mut(geometry.outputs).zip(padded.chunks_exact(width)) {
            to.copy_from_slice(&from[..geometry.outputs]);
        }
        for (to, from) in argmax.chunks_exact_mut(geometry.outputs).zip(indices.chunks_exact(width)) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = narrow(*from));
        }
    }
}

/// Rows of pooled positions of one image, some of whose numbers are not finite.
///
/// How a row is computed depends on its own input alone, not on the other rows of the task: results are the same however rows are divided among
/// threads.
struct RowByRow<'a> {
    weights: &'a ConvWeights<'a>,
    transformed: &'a Transformed,
    input: &'a [f32],
    values: &'a mut [f32],
    argmax: &'a mut [u32],
}

impl WithSimd for RowByRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights, transformed, input, values, mut argmax } = self;
        let (path, layout) = (weights.path, &weights.layout);
        let size = layout.geometry().pooled_width() * path.padded(layout.geometry().outputs);
        for (row, values) in values.chunks_exact_mut(size).enumerate() {
            let input = &input[layout.start(2 * row, 0)..][..layout.size(1)];
            let argmax = argmax.split_off_mut(..size.min(argmax.len())).unwrap_or_default();
            if winograd::are_finite(simd, input) {
                Pools { path, layout, transformed, input, values, argmax }.with_simd(simd);
            } else {
                Rows { path, layout, packed: weights.packed(), input, values, argmax }.with_simd(simd);
            }
        }
    }
}

/// An argmax is at most 4.
#[expect(clippy::cast_possible_truncation, reason = "a conversion that checks would not be vectorized")]
#[inline(always)]
fn narrow(index: u32) -> ArgMax {
    index as ArgMax
}

/// Rows of pooled positions of one image, laid out in `input`.
struct Rows<'a> {
    path: Path,
    layout: &'a Layout,
    packed: &'a Packed,
    input: &'a [f32],
    values: &'a mut [f32],
    argmax: &'a mut [u32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { path, layout, packed, input, values, argmax } = self;
        let columns = layout.geometry().pooled_width();
        let (bias, _) = S::as_simd_f32s(&packed.bias);
        let (mut weights, _) = S::as_simd_f32s(&packed.weights);
        let (values, _) = S::as_mut_simd_f32s(values);
        let (argmax, _) = S::as_mut_simd_u32s(argmax);
        let registers = bias.len();
        let size = layout.runs * layout.run;
        for (register, width) in panels(registers, widest(path.registers)) {
            let (block, after) = weights.split_at(size * width);
            weights = after;
            let bias = &bias[register..register + width];
            for position in 0..values.len() / registers {
                let starts = layout.starts(2 * (position / columns), 2 * (position % columns));
                let at = position * registers + register;
                let values = &mut values[at..at + width];
                let argmax = if argmax.is_empty() { &mut [] } else { &mut argmax[at..at + width] };
                match width {
                    4 => tile::<S, 4>(simd, layout, input, starts, block, bias, values, argmax),
                    2 => tile::<S, 2>(simd, layout, input, starts, block, bias, values, argmax),
                    _ => tile::<S, 1>(simd, layout, input, starts, block, bias, values, argmax),
                }
            }
        }
    }
}

/// One pooled position of `V` registers of output channels.
#[expect(clippy::too_many_arguments, reason = "an inner loop, whose slices stay in registers one by one")]
#[inline(always)]
fn tile<S: Simd, const V: usize>(
    simd: S,
    layout: &Layout,
    image: &[f32],
    starts: [usize; 4],
    weights: &[S::f32s],
    bias: &[S::f32s],
    values: &mut [S::f32s],
    argmax: &mut [S::u32s],
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
        let (value, index) = pool(simd, [sums[0][v], sums[1][v], sums[2][v], sums[3][v]]);
        values[v] = value;
        if let Some(to) = argmax.get_mut(v) {
            *to = index;
        }
    }
}

/// ReLU and the largest of the four values of a pool, with its index.
///
/// As in the stock operations, the first of equal values counts, and the last that is not a number counts more than all others.
#[inline(always)]
pub(super) fn pool<S: Simd>(simd: S, values: [S::f32s; 4]) -> (S::f32s, S::u32s) {
    let zero = simd.splat_f32s(0.0);
    let mut largest = values[0];
    let mut index = simd.splat_u32s(0);
    for (position, value) in [(1, values[1]), (2, values[2]), (3, values[3])] {
        let larger = simd.greater_than_f32s(value, largest);
        largest = simd.max_f32s(value, largest);
        index = simd.select_u32s(larger, simd.splat_u32s(position), index);
    }
    let sum = simd.add_f32s(simd.add_f32s(values[0], values[1]), simd.add_f32s(values[2], values[3]));
    if simd.first_true_m32s(simd.not_m32s(simd.equal_f32s(sum, sum))) < S::F32_LANES {
        for (position, value) in (0..).zip(values) {
            let is_number = simd.equal_f32s(value, value);
            largest = simd.select_f32s(is_number, largest, value);
            index = simd.select_u32s(is_number, index, simd.splat_u32s(position));
        }
    }
    let off = simd.less_than_or_equal_f32s(largest, zero);
    (simd.select_f32s(off, zero, largest), simd.select_u32s(off, simd.splat_u32s(u32::from(NONE)), index))
}
