//! A dense layer: product, bias and optional ReLU as one operation. The products are the `gemm` crate's, but for that of a single row with
//! weights: for it gemm uses one thread and holds no sum in a register.

use gemm::Parallelism;

use super::buffers;
use super::row;
use super::simd::Path;

/// A matrix in a slice: element `[row, column]` is at `row·strides[0] + column·strides[1]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// The numbers, from element `[0, 0]` on.
    pub numbers: &'a [f32],
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Steps from one row and one column to the next.
    pub strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows lie one after the other.
    #[must_use]
    pub const fn rows(numbers: &'a [f32], shape: [usize; 2]) -> Self {
        Self { numbers, shape, strides: [shape[1], 1] }
    }

    /// Its transpose, the same numbers.
    #[must_use]
    pub const fn transposed(self) -> Self {
        let ([rows, columns], [down, right]) = (self.shape, self.strides);
        Self { numbers: self.numbers, shape: [columns, rows], strides: [right, down] }
    }

    /// Whether every element is within the slice.
    fn fits(&self) -> bool {
        let last = self.shape[0].saturating_sub(1) * self.strides[0] + self.shape[1].saturating_sub(1) * self.strides[1];
        self.shape.contains(&0) || last < self.numbers.len()
    }
}

/// The product of two matrices, row by row, by at most `threads` threads: the same bits for any number of them.
///
/// # Panics
///
/// When the inner sizes differ or a matrix reaches beyond its slice.
#[must_use]
pub fn product(left: Matrix, right: Matrix, threads: usize) -> Vec<f32> {
    let ([rows, inner], [also_inner, columns]) = (left.shape, right.shape);
    assert!(inner == also_inner && left.fits() && right.fits(), "{left:?} and {right:?} have no product");
    let mut out = buffers::any(rows * columns);
    // gemm splits rows and columns among threads, never a sum.
    let parallelism = if threads == 1 { Parallelism::None } else { Parallelism::Rayon(threads) };
    let [left_down, left_right] = left.strides.map(usize::cast_signed);
    let [right_down, right_right] = right.strides.map(usize::cast_signed);
    #[expect(unsafe_code, reason = "gemm takes pointers")]
    // SAFETY: `fits` holds for both inputs, so every element read is within its slice; `out` has rows·columns numbers and is borrowed by nobody
    // else. gemm 0.19 writes all of them (zeros, where `inner` is 0) and, with `read_dst` false, reads none before.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            columns.cast_signed(),
            false,
            left.numbers.as_ptr(),
            left_right,
            left_down,
            right.numbers.as_ptr(),
            right_right,
            right_down,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
    out
}

/// A dense layer.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// `[inputs, outputs]`.
    pub weights: Matrix<'a>,
    /// `[outputs]`.
    pub bias: &'a [f32],
    /// Whether ReLU is applied to its output.
    pub relu: bool,
}

/// `x·w + b`, then ReLU if the layer has it, by at most `threads` threads: the same bits for any number of them.
///
/// # Shapes
///
/// - x: `[batch, inputs]`
/// - output: `[batch, outputs]`
#[must_use]
pub fn forward(path: Path, x: Matrix, layer: Layer, threads: usize) -> Vec<f32> {
    let Layer { weights, bias, relu } = layer;
    let mut out = if x.shape[0] == 1 && x.strides[1] == 1 && weights.strides == [bias.len(), 1] {
        single(path, x, weights, threads)
    } else {
        product(x, weights, threads)
    };
    for row in out.chunks_exact_mut(bias.len()) {
        for (number, bias) in row.iter_mut().zip(bias) {
            *number += bias;
            if relu && *number <= 0.0 {
                *number = 0.0;
            }
        }
    }
    out
}

/// The product where x is a single row: whole registers of columns, then what is left of them.
fn single(path: Path, x: Matrix, weights: Matrix, threads: usize) -> Vec<f32> {
    let [inputs, outputs] = weights.shape;
    let whole = outputs - outputs % path.lanes;
    let mut out = vec![0.0; whole];
    row::product(path, &x.numbers[..inputs], weights, &mut out, threads);
    if whole < outputs {
        let left = Matrix { numbers: &weights.numbers[whole..], shape: [inputs, outputs - whole], ..weights };
        out.extend(product(x, left, threads));
    }
    out
}

/// The gradients of a dense layer.
#[derive(Debug)]
pub struct Gradients {
    /// `[batch, inputs]`, if it is requested.
    pub x: Option<Vec<f32>>,
    /// `[inputs, outputs]`.
    pub weights: Vec<f32>,
    /// `[outputs]`.
    pub bias: Vec<f32>,
}

/// The backward pass, where `gradient` is that of the output; `activated` is the output itself, where ReLU was applied.
#[must_use]
pub fn backward(x: Matrix, weights: Matrix, activated: Option<&[f32]>, gradient: Matrix, wants_x: bool) -> Gradients {
    let [batch, outputs] = gradient.shape;
    let [down, right] = gradient.strides;
    let mut before_relu = buffers::any(batch * outputs);
    for (row, to) in before_relu.chunks_exact_mut(outputs).enumerate() {
        to.iter_mut().enumerate().for_each(|(column, to)| *to = gradient.numbers[row * down + column * right]);
    }
    if let Some(activated) = activated {
        before_relu.iter_mut().zip(activated).for_each(|(gradient, output)| *gradient = if *output <= 0.0 { 0.0 } else { *gradient });
    }
    let mut bias = vec![0.0; outputs];
    for row in before_relu.chunks_exact(outputs) {
        bias.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
    }
    let threads = rayon::current_num_threads();
    let gradient = Matrix::rows(&before_relu, [batch, outputs]);
    let x_gradient = wants_x.then(|| product(gradient, weights.transposed(), threads));
    let weights = product(x.transposed(), gradient, threads);
    buffers::recycle(before_relu);
    Gradients { x: x_gradient, weights, bias }
}
