//! Depthwise convolution: each output channel is made of one input channel.
//!
//! An input channel is copied with the zeros around it and, where there is a stride, as that many planes of the rows and columns between which the
//! kernel does not mix in one step. Then every tap of the kernel meets numbers side by side, over the ends of rows too.

use pulp::{Simd, WithSimd};

use super::Convolution;
use super::convolution::Pass;
use crate::fill::{Size, filled};
use crate::scratch;
use crate::split::WORTHWHILE;

/// Registers of positions whose sums are kept at once.
const WIDTH: usize = 4;

pub(super) fn forward(pass: &Pass, threads: usize) -> Vec<f32> {
    let convolution = &pass.convolution;
    let positions = convolution.positions();
    let planes = pass.images.len() / convolution.area();
    let per_task = WORTHWHILE.div_ceil(positions * convolution.taps());
    let out = Size { length: planes * positions, per_task: per_task * positions };
    let split = Split::of(convolution, WIDTH * pass.path.lanes);
    let task = |number: usize, out: &mut [f32], _: &mut [u8]| pass.path.run(Task { pass, split: &split, first: number * per_task, out });
    filled(threads, planes.div_ceil(per_task), out, Size::NONE, task).0
}

/// How a channel is copied: one plane for each row and column of a step.
struct Split {
    /// Rows and columns of a plane.
    height: usize,
    width: usize,
    /// Where each tap of the kernel meets the first position.
    starts: Vec<usize>,
    /// Positions from the first to the last, those at the ends of rows included, in whole blocks of registers.
    positions: usize,
    /// Numbers of all planes and of what is read beyond them.
    length: usize,
}

impl Split {
    fn of(convolution: &Convolution, block: usize) -> Self {
        let [rows, columns] = convolution.sides();
        let ([kernel_height, kernel_width], [down, right]) = (convolution.kernel, convolution.stride);
        let padded = |side: usize, axis: usize| (side + 2 * convolution.padding[axis]).div_ceil(convolution.stride[axis]);
        let (height, width) = (padded(convolution.height, 0), padded(convolution.width, 1));
        let start = |y: usize, x: usize| ((y % down * right + x % right) * height + y / down) * width + x / right;
        let starts: Vec<usize> = (0..kernel_height).flat_map(|y| (0..kernel_width).map(move |x| start(y, x))).collect();
        let positions = ((rows - 1) * width + columns).next_multiple_of(block);
        let read = starts.iter().max().map_or(0, |last| last + positions);
        Self { height, width, starts, positions, length: read.max(down * right * height * width) }
    }

    /// Copies a channel. What is not written is zeros already.
    #[inline(always)]
    fn load(&self, convolution: &Convolution, channel: &[f32], to: &mut [f32]) {
        let [down, right] = convolution.stride;
        let (rows, columns) = (convolution.rows(), convolution.columns());
        for (y, row) in (rows.padding..).zip(channel.chunks_exact(convolution.width)) {
            for x in 0..right {
                let line = (y % down * right + x) * self.height + y / down;
                columns.meet(x, row, &mut to[line * self.width..][..self.width], |to, from| *to = from);
            }
        }
    }
}

/// Channels from the one numbered `first` on, over all images.
struct Task<'a> {
    pass: &'a Pass<'a>,
    split: &'a Split,
    first: usize,
    out: &'a mut [f32],
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pass, split, first, out } = self;
        let convolution = &pass.convolution;
        let [_, columns] = convolution.sides();
        let taps = convolution.taps();
        let mut planes = scratch::zeros(split.length);
        let mut sums = scratch::any(split.positions);
        let channels = pass.images.chunks_exact(convolution.area()).skip(first);
        for (number, (channel, out)) in (first..).zip(channels.zip(out.chunks_exact_mut(convolution.positions()))) {
            let output = number % convolution.outputs;
            let weights = &pass.weights[output * taps..][..taps];
            split.load(convolution, channel, &mut planes);
            for (block, sums) in sums.chunks_exact_mut(WIDTH * S::F32_LANES).enumerate() {
                add_taps(simd, &split.starts, &planes[block * WIDTH * S::F32_LANES..], weights, sums);
            }
            let bias = pass.bias.map_or(0.0, |bias| bias[output]);
            for (to, from) in out.chunks_exact_mut(columns).zip(sums.chunks(split.width)) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to = from + bias);
            }
        }
    }
}

/// The sums over the kernel at a block of positions.
#[inline(always)]
fn add_taps<S: Simd>(simd: S, starts: &[usize], planes: &[f32], weights: &[f32], to: &mut [f32]) {
    let mut sums = [simd.splat_f32s(0.0); WIDTH];
    for (start, weight) in starts.iter().zip(weights) {
        let (numbers, _) = S::as_simd_f32s(&planes[*start..][..WIDTH * S::F32_LANES]);
        let weight = simd.splat_f32s(*weight);
        for v in 0..WIDTH {
            sums[v] = simd.mul_add_e_f32s(weight, numbers[v], sums[v]);
        }
    }
    let (to, _) = S::as_mut_simd_f32s(to);
    to.copy_from_slice(&sums);
}
