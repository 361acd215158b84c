//! Cholesky factors.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{MatMut, MatRef, Par};

/// The factor L of a positive definite matrix L·Lᵀ.
#[derive(Clone, Debug, PartialEq)]
pub struct Cholesky {
    lower: Vec<f64>,
    size: usize,
}

impl Cholesky {
    /// The factor of a symmetric matrix, of which only the lower triangle is read. Returns `None` if it is not positive definite, up to rounding.
    ///
    /// # Panics
    ///
    /// When the matrix is not square.
    #[must_use]
    pub fn of(mut matrix: Vec<f64>) -> Option<Self> {
        let size = matrix.len().isqrt();
        assert_eq!(size * size, matrix.len(), "a symmetric matrix is square");
        if matrix.iter().any(|number| !number.is_finite()) {
            return None;
        }
        let needed = cholesky_in_place_scratch::<f64>(size, Par::Seq, faer::Spec::default());
        cholesky_in_place(
            MatMut::from_row_major_slice_mut(&mut matrix, size, size),
            faer::linalg::cholesky::llt::factor::LltRegularization::default(),
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(needed)),
            faer::Spec::default(),
        )
        .ok()?;
        Some(Self { lower: matrix, size })
    }

    /// The rows of the matrix.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The logarithm of the determinant.
    #[must_use]
    pub fn log_determinant(&self) -> f64 {
        2.0 * (0..self.size).map(|index| self.lower[index * self.size + index].ln()).sum::<f64>()
    }

    /// Replaces each of `vectors`, stored one after another, by L⁻¹ times it.
    pub fn solve_lower(&self, vectors: &mut [f64]) {
        let Some(count) = vectors.len().checked_div(self.size) else { return };
        let lower = MatRef::from_row_major_slice(&self.lower, self.size, self.size);
        solve_lower_triangular_in_place(lower, MatMut::from_column_major_slice_mut(vectors, self.size, count), Par::Seq);
    }

    /// Replaces each of `vectors`, stored one after another, by (L·Lᵀ)⁻¹ times it.
    pub fn solve(&self, vectors: &mut [f64]) {
        self.solve_lower(vectors);
        let Some(count) = vectors.len().checked_div(self.size) else { return };
        let upper = MatRef::from_column_major_slice(&self.lower, self.size, self.size);
        solve_upper_triangular_in_place(upper, MatMut::from_column_major_slice_mut(vectors, self.size, count), Par::Seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_by_hand() {
        // [4 2; 2 5] = L·Lᵀ with L = [2 0; 1 2]; its inverse is [5 −2; −2 4]/16.
        let factor = Cholesky::of(vec![4.0, 0.0, 2.0, 5.0]).unwrap();
        assert!((factor.log_determinant() - 16.0_f64.ln()).abs() < 1e-14);
        let mut vectors = [2.0, 5.0, 16.0, 0.0];
        factor.solve_lower(&mut vectors[..2]);
        assert_eq!(vectors[..2], [1.0, 2.0]);
        factor.solve(&mut vectors[2..]);
        assert!((vectors[2] - 5.0).abs() < 1e-14 && (vectors[3] + 2.0).abs() < 1e-14);
        assert_eq!(Cholesky::of(vec![1.0, 2.0, 2.0, 1.0]), None);
        assert_eq!(Cholesky::of(vec![f64::NAN]), None);
        assert_eq!(Cholesky::of(Vec::new()).unwrap().size(), 0);
    }
}
