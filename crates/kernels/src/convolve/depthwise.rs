//! Depthwise convolution: each output channel is made of one input channel. Every tap of the kernel multiplies numbers that lie side by side, across the ends of rows too.

use pulp::{Simd, WithSimd};

use super::convolution::Pass;
use super::planes::Planes;
use crate::fill::{Size, filled};
use crate::scratch;

/// Registers of positions summed at once.
const WIDTH: usize = 4;

/// Multiplications of a task, at least.
const TASK: usize = 1 << 18;

pub(super) fn forward(pass: &Pass, threads: usize) -> Vec<f32> {
    let convolution = &pass.convolution;
    let positions = convolution.positions();
    let channels = pass.images.len() / convolution.area();
    let per_task = TASK.div_ceil(positions * convolution.taps());
    let out = Size { length: channels * positions, per_task: per_task * positions };
    let block = WIDTH * pass.path.lanes;
    let planes = Planes::of(convolution, convolution.sides()[0], block, pass.path.lanes);
    let task = |number: usize, out: &mut [f32], _: &mut [u8]| pass.path.run(Task { pass, planes: &planes, first: number * per_task, out });
    filled(threads, channels.div_ceil(per_task), out, Size::NONE, task).0
}

/// Channels from the one numbered `first` on, over all images.
struct Task<'a> {
    pass: &'a Pass<'a>,
    planes: &'a Planes,
    first: usize,
    out: &'a mut [f32],
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pass, planes, first, out } = self;
        let convolution = &pass.convolution;
        let ([rows, columns], taps, area) = (convolution.sides(), convolution.taps(), convolution.area());
        let block = WIDTH * S::F32_LANES;
        let mut memory = planes.memory();
        let mut sums = scratch::any(((rows - 1) * planes.width() + columns).next_multiple_of(block));
        for (number, out) in (first..).zip(out.chunks_exact_mut(rows * columns)) {
            let output = number % convolution.outputs;
            let weights = &pass.weights.kernel[output * taps..][..taps];
            planes.load(simd, &pass.images[number * area..][..area], 0, &mut memory);
            for (position, sums) in (0..).step_by(block).zip(sums.chunks_exact_mut(block)) {
                add_taps(simd, planes.starts(), &memory.planes[position..], weights, sums);
            }
            let bias = simd.splat_f32s(pass.weights.bias.map_or(0.0, |bias| bias[output]));
            for row in 0..rows {
                store_row(simd, &sums[row * planes.width()..][..columns], bias, &mut out[row * columns..][..columns]);
            }
        }
    }
}

/// The sums over the kernel at a block of positions.
#[inline(always)]
fn add_taps<S: Simd>(simd: S, starts: &[usize], planes: &[f32], weights: &[f32], to: &mut [f32]) {
    let mut sums = [simd.splat_f32s(0.0); WIDTH];
    for tap in 0..starts.len() {
        let (numbers, _) = S::as_simd_f32s(&planes[starts[tap]..][..WIDTH * S::F32_LANES]);
        let weight = simd.splat_f32s(weights[tap]);
        for v in 0..WIDTH {
            sums[v] = simd.mul_add_e_f32s(weight, numbers[v], sums[v]);
        }
    }
    let (to, _) = S::as_mut_simd_f32s(to);
    to[..WIDTH].copy_from_slice(&sums);
}

#[inline(always)]
fn store_row<S: Simd>(simd: S, from: &[f32], bias: S::f32s, to: &mut [f32]) {
    let ((from, from_rest), (to, to_rest)) = (S::as_simd_f32s(from), S::as_mut_simd_f32s(to));
    for register in 0..from.len() {
        to[register] = simd.add_f32s(from[register], bias);
    }
    if !from_rest.is_empty() {
        simd.partial_store_f32s(to_rest, simd.add_f32s(simd.partial_load_f32s(from_rest), bias));
    }
}
