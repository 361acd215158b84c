//! The forward pass of 3×3 kernels with fewer multiplications (Lavin and Gray 2015, arXiv 1509.09308, F(2×2, 3×3)).
//!
//! The four values of a pool are Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A, with d the 4×4 pixels they see: 16 products for each channel instead of 36. The sums
//! are ordered differently, and a number that is not finite spreads over the whole pool, so rows with such input are computed directly.

use pulp::{Simd, WithSimd};

use super::forward::pool;
use crate::image::Layout;
use crate::panels::{Rows, multiply, packed, panels, widest};
use crate::scratch;
use crate::simd::Path;

/// Products of a pool and channel.
const PRODUCTS: usize = 16;
/// Pools transformed at once, about: so many that their products stay in the second cache.
const POOLS: usize = 32;
/// Transformed kernels: blocks of output channels, in each the 16 products, in each the inputs, in each a number for every channel.
pub(super) struct Transformed {
    kernels: Vec<f32>,
    bias: Vec<f32>,
}

impl Transformed {
    /// The transformed kernels; none where they are not 3×3, the inputs lie as patches, or a number is not finite.
    pub(super) fn new(path: Path, layout: &Layout, weights: &[f32], bias: &[f32]) -> Option<Self> {
        let geometry = layout.geometry();
        if geometry.kernel != 3 || layout.patches {
            return None;
        }
        // Sixteen at a time, because a loop that may end at any number is not vectorized.
        let are_finite = |numbers: &[f32]| numbers.iter().fold(true, |all, number| all & number.is_finite());
        if !weights.chunks(16).chain(bias.chunks(16)).all(are_finite) {
            return None;
        }
        let (inputs, outputs) = (geometry.inputs, geometry.outputs);
        let registers = outputs.div_ceil(path.lanes);
        let kernels = packed(path, registers, PRODUCTS * inputs, true, |first, channels, block| {
            path.run(TransformKernels { weights, inputs, first, given: channels.min(outputs - first), block });
        });
        let mut padded = bias.to_vec();
        padded.resize(registers * path.lanes, 0.0);
        Some(Self { kernels, bias: padded })
    }
}

/// G g Gᵀ of the 3×3 kernels of a block of output channels, of which the first `given` are not padding.
struct TransformKernels<'a> {
    weights: &'a [f32],
    inputs: usize,
    first: usize,
    given: usize,
    block: &'a mut [f32],
}

impl WithSimd for TransformKernels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights, inputs, first, given, block } = self;
        let (block, _) = S::as_mut_simd_f32s(block);
        let width = block.len() / (PRODUCTS * inputs);
        // One number of every kernel of an input after the other, so that a register has that of one output channel in each lane.
        let mut transposed = scratch::zeros(9 * width * S::F32_LANES);
        for input in 0..inputs {
            for channel in 0..given {
                let kernel = &weights[((first + channel) * inputs + input) * 9..][..9];
                for (tap, number) in kernel.iter().enumerate() {
                    transposed[tap * width * S::F32_LANES + channel] = *number;
                }
            }
            let (g, _) = S::as_simd_f32s(&transposed);
            for register in 0..width {
                let number = |tap: usize| g[tap * width + register];
                let columns = [0, 1, 2].map(|column| line(simd, [number(column), number(3 + column), number(6 + column)]));
                for row in 0..4 {
                    let products = line(simd, [columns[0][row], columns[1][row], columns[2][row]]);
                    for (column, value) in products.into_iter().enumerate() {
                        block[((4 * row + column) * inputs + input) * width + register] = value;
                    }
                }
            }
        }
    }
}

/// G times a column of three.
#[inline(always)]
fn line<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; 4] {
    let half = simd.splat_f32s(0.5);
    let (outer, inner) = (simd.mul_f32s(half, simd.add_f32s(a, c)), simd.mul_f32s(half, b));
    [a, simd.add_f32s(outer, inner), simd.sub_f32s(outer, inner), c]
}

/// Whether every number is finite; `input` is in whole registers.
#[inline(always)]
pub(super) fn are_finite<S: Simd>(simd: S, input: &[f32]) -> bool {
    let (input, _) = S::as_simd_f32s(input);
    let mut zeros = simd.splat_f32s(0.0);
    for numbers in input {
        zeros = simd.mul_add_e_f32s(*numbers, simd.splat_f32s(0.0), zeros);
    }
    simd.reduce_sum_f32s(zeros).is_finite()
}

/// Pooled rows of one image, laid out in `input`, all of it finite.
pub(super) struct Pools<'a> {
    pub(super) path: Path,
    pub(super) layout: &'a Layout,
    pub(super) transformed: &'a Transformed,
    pub(super) input: &'a [f32],
    pub(super) values: &'a mut [f32],
    pub(super) argmax: &'a mut [u32],
}

impl WithSimd for Pools<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { path, layout, transformed, input, values, argmax } = self;
        let (input, _) = S::as_simd_f32s(input);
        let columns = layout.geometry().pooled_width();
        let (bias, _) = S::as_simd_f32s(&transformed.bias);
        let (values, _) = S::as_mut_simd_f32s(values);
        let (argmax, _) = S::as_mut_simd_u32s(argmax);
        let rows = (POOLS / columns).max(1);
        let all = values.len() / bias.len();
        let inputs = layout.padded_inputs();
        let mut pixels = scratch::any(PRODUCTS * rows * columns * inputs);
        let mut products = scratch::any(PRODUCTS * rows * columns * transformed.bias.len());
        for first in (0..all).step_by(rows * columns) {
            let count = (all - first).min(rows * columns);
            transform_pixels(simd, layout, input, first, count, &mut pixels);
            multiply_all::<S>(simd, path, layout, transformed, &pixels, count, &mut products);
            let at = first * bias.len()..(first + count) * bias.len();
            let argmax = if argmax.is_empty() { &mut [] } else { &mut argmax[at.clone()] };
            gather(simd, &products, bias, &mut values[at], argmax);
        }
    }
}

/// Bᵀ d B of the pools from `first` on: `[product, pool, channel]`.
#[inline(always)]
fn transform_pixels<S: Simd>(simd: S, layout: &Layout, input: &[S::f32s], first: usize, count: usize, to: &mut [f32]) {
    let columns = layout.geometry().pooled_width();
    let registers = layout.padded_inputs() / S::F32_LANES;
    let (to, _) = S::as_mut_simd_f32s(to);
    for pool in 0..count {
        let (y, x) = (2 * ((first + pool) / columns), 2 * ((first + pool) % columns));
        for register in 0..registers {
            let mut d = [[simd.splat_f32s(0.0); 4]; 4];
            for row in 0..4 {
                for column in 0..4 {
                    d[row][column] = input[layout.start(y + row, x + column) / S::F32_LANES + register];
                }
            }
            for column in 0..4 {
                let [a, b, c, e] = [d[0][column], d[1][column], d[2][column], d[3][column]];
                d[0][column] = simd.sub_f32s(a, c);
                d[1][column] = simd.add_f32s(b, c);
                d[2][column] = simd.sub_f32s(c, b);
                d[3][column] = simd.sub_f32s(b, e);
            }
            for (row, [a, b, c, e]) in d.into_iter().enumerate() {
                let line = [simd.sub_f32s(a, c), simd.add_f32s(b, c), simd.sub_f32s(c, b), simd.sub_f32s(b, e)];
                for column in 0..4 {
                    to[((4 * row + column) * count + pool) * registers + register] = line[column];
                }
            }
        }
    }
}

/// For each of the 16 products, pixels times kernels: `[product, pool, output]`.
#[inline(always)]
fn multiply_all<S: Simd>(simd: S, path: Path, layout: &Layout, transformed: &Transformed, pixels: &[f32], count: usize, to: &mut [f32]) {
    let (inputs, stride) = (layout.geometry().inputs, layout.padded_inputs());
    let (kernels, _) = S::as_simd_f32s(&transformed.kernels);
    let (to, _) = S::as_mut_simd_f32s(to);
    let registers = transformed.bias.len() / S::F32_LANES;
    for product in 0..PRODUCTS {
        let rows = Rows { numbers: &pixels[product * count * stride..][..count * stride], stride, count };
        let to = &mut to[product * count * registers..][..count * registers];
        for (first, width) in panels(registers, widest(path.registers)) {
            let kernels = &kernels[(first * PRODUCTS + product * width) * inputs..][..inputs * width];
            multiply(simd, rows, width, kernels, &mut to[first..], registers);
        }
    }
}

/// Aᵀ M A, the bias, and the pool.
#[inline(always)]
fn gather<S: Simd>(simd: S, products: &[f32], bias: &[S::f32s], values: &mut [S::f32s], argmax: &mut [S::u32s]) {
    let (products, _) = S::as_simd_f32s(products);
    let size = values.len();
    for pools in (0..size).step_by(bias.len()) {
        for register in 0..bias.len() {
            let at = pools + register;
            let mut lines = [[simd.splat_f32s(0.0); 4]; 2];
            for column in 0..4 {
                let product = |row: usize| products[(4 * row + column) * size + at];
                let [a, b, c, d] = [product(0), product(1), product(2), product(3)];
                lines[0][column] = simd.add_f32s(simd.add_f32s(a, b), c);
                lines[1][column] = simd.sub_f32s(simd.sub_f32s(b, c), d);
            }
            let mut four = [bias[register]; 4];
            for (row, [a, b, c, d]) in lines.into_iter().enumerate() {
                four[2 * row] = simd.add_f32s(simd.add_f32s(simd.add_f32s(a, b), c), four[2 * row]);
                four[2 * row + 1] = simd.add_f32s(simd.sub_f32s(simd.sub_f32s(b, c), d), four[2 * row + 1]);
            }
            let (value, index) = pool(simd, four);
            values[at] = value;
            if let Some(to) = argmax.get_mut(at) {
                *to = index;
            }
        }
    }
}
