//! Matrix products.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::traits::ComplexField;
use faer::{Accum, MatMut, MatRef, Par};

/// A matrix: numbers row by row, or their transpose.
#[derive(Debug)]
pub struct Matrix<'a, T> {
    numbers: &'a [T],
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<T> Clone for Matrix<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Matrix<'_, T> {}

impl<'a, T> Matrix<'a, T> {
    /// The matrix of `rows` rows, stored one after another.
    ///
    /// # Panics
    ///
    /// When the numbers can't be split so.
    #[must_use]
    pub fn new(numbers: &'a [T], rows: usize) -> Self {
        let columns = numbers.len().checked_div(rows).unwrap_or(0);
        assert_eq!(rows * columns, numbers.len(), "a matrix has rows of one length");
        Self { numbers, rows, columns, transposed: false }
    }

    /// The transpose.
    #[must_use]
    pub fn transpose(self) -> Self {
        Self { rows: self.columns, columns: self.rows, transposed: !self.transposed, ..self }
    }

    fn view(self) -> MatRef<'a, T> {
        if self.transposed {
            MatRef::from_column_major_slice(self.numbers, self.rows, self.columns)
        } else {
            MatRef::from_row_major_slice(self.numbers, self.rows, self.columns)
        }
    }
}

/// Replaces `to` by the product `left`·`right`, row by row.
///
/// # Panics
///
/// When the sizes do not fit.
pub fn multiply<T: ComplexField>(to: &mut [T], left: Matrix<T>, right: Matrix<T>) {
    let to = MatMut::from_row_major_slice_mut(to, left.rows, right.columns);
    matmul(to, Accum::Replace, left.view(), right.view(), faer::traits::math_utils::one(), Par::Seq);
}

/// Adds the product `left`·`right` to `to`, row by row.
///
/// # Panics
///
/// When the sizes do not fit.
pub fn multiply_add<T: ComplexField>(to: &mut [T], left: Matrix<T>, right: Matrix<T>) {
    let to = MatMut::from_row_major_slice_mut(to, left.rows, right.columns);
    matmul(to, Accum::Add, left.view(), right.view(), faer::traits::math_utils::one(), Par::Seq);
}

/// Adds the lower triangle of `left`·`leftᵀ` to `to`, row by row.
///
/// # Panics
///
/// When the sizes do not fit.
pub fn add_lower_square<T: ComplexField>(to: &mut [T], left: Matrix<T>) {
    let to = MatMut::from_row_major_slice_mut(to, left.rows, left.rows);
    let (whole, one) = (BlockStructure::Rectangular, faer::traits::math_utils::one());
    let right = left.transpose().view();
    triangular::matmul(to, BlockStructure::TriangularLower, Accum::Add, left.view(), whole, right, whole, one, Par::Seq);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "small whole numbers")]
    fn products_by_hand() {
        let left = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut to = [0.0; 4];
        multiply(&mut to, Matrix::new(&left, 2), Matrix::new(&left, 2).transpose());
        assert_eq!(to, [14.0, 32.0, 32.0, 77.0]);
        multiply_add(&mut to, Matrix::new(&left[..2], 2), Matrix::new(&left[..2], 1));
        assert_eq!(to, [15.0, 34.0, 34.0, 81.0]);
        let mut to = [1.0, 7.0, 1.0, 1.0];
        add_lower_square(&mut to, Matrix::new(&left, 2));
        assert_eq!(to, [15.0, 7.0, 33.0, 78.0]);
    }
}
