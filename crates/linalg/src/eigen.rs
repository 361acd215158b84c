//! Eigenvalues and eigenvectors of symmetric matrices.

use faer::diag::DiagMut;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{MatMut, MatRef, Par};

/// The eigendecomposition of a symmetric matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Eigen {
    /// The eigenvalues, ascending.
    pub values: Vec<f64>,
    /// The eigenvectors of length 1, one after another. Empty if they were not asked for.
    pub vectors: Vec<f64>,
}

impl Eigen {
    /// The eigenvalues of a symmetric matrix. Only the lower triangle is read. Numbers that are not finite make all of them NaN.
    ///
    /// # Panics
    ///
    /// When the matrix is not square.
    #[must_use]
    pub fn values_of(matrix: &[f64]) -> Self {
        Self::compute(matrix, false)
    }

    /// The eigenvalues and eigenvectors of a symmetric matrix. Only the lower triangle is read. Numbers that are not finite make all of them NaN.
    ///
    /// # Panics
    ///
    /// When the matrix is not square.
    #[must_use]
    pub fn of(matrix: &[f64]) -> Self {
        Self::compute(matrix, true)
    }

    fn compute(matrix: &[f64], with_vectors: bool) -> Self {
        let size = matrix.len().isqrt();
        assert_eq!(size * size, matrix.len(), "a symmetric matrix is square");
        let mut values = vec![f64::NAN; size];
        let mut vectors = vec![f64::NAN; if with_vectors { matrix.len() } else { 0 }];
        if size == 0 || matrix.iter().any(|number| !number.is_finite()) {
            return Self { values, vectors };
        }
        let compute = if with_vectors { ComputeEigenvectors::Yes } else { ComputeEigenvectors::No };
        let needed = self_adjoint_evd_scratch::<f64>(size, compute, Par::Seq, faer::Spec::default());
        let to = with_vectors.then(|| MatMut::from_column_major_slice_mut(&mut vectors, size, size));
        let found = self_adjoint_evd(
            MatRef::from_row_major_slice(matrix, size, size),
            DiagMut::from_slice_mut(&mut values),
            to,
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(needed)),
            faer::Spec::default(),
        );
        if found.is_err() {
            values.fill(f64::NAN);
            vectors.fill(f64::NAN);
        }
        Self { values, vectors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvalues_by_hand() {
        let all = |matrix: &[f64]| Eigen::values_of(matrix).values;
        assert_eq!(all(&[]), [0.0; 0]);
        assert_eq!(all(&[0.0; 9]), [0.0; 3]);
        for (found, expected) in all(&[2.0, 1.0, 1.0, 2.0]).iter().zip([1.0, 3.0]) {
            assert!((found - expected).abs() < 1e-15);
        }
        assert!(all(&[1.0, f64::NAN, 1.0, 1.0]).iter().all(|number| number.is_nan()));
    }

    #[test]
    fn eigenvalues_and_vectors_of_second_differences() {
        // 2 on the diagonal and −1 beside it: 2 − 2·cos(k·π/(n + 1)), with the vectors sin(k·π·j/(n + 1)).
        let size = 150;
        let beside = |row: usize, column: usize| if row.abs_diff(column) == 1 { -1.0 } else { 0.0 };
        let matrix: Vec<f64> =
            (0..size * size).map(|index| if index / size == index % size { 2.0 } else { beside(index / size, index % size) }).collect();
        let Eigen { values, vectors } = Eigen::of(&matrix);
        assert_eq!(values, Eigen::of(&matrix).values, "the same bits again");
        for (k, found) in (1..).zip(Eigen::values_of(&matrix).values) {
            let angle = f64::from(k) * std::f64::consts::PI / (size + 1) as f64;
            let expected = 2.0 - 2.0 * angle.cos();
            let index = usize::try_from(k).unwrap() - 1;
            assert!((found - expected).abs() < 1e-13 && (values[index] - expected).abs() < 1e-13, "{found} against {expected}");
            let vector = &vectors[index * size..][..size];
            let expected: Vec<f64> = (1..=size).map(|at| (angle * at as f64).sin()).collect();
            let length = expected.iter().map(|number| number * number).sum::<f64>().sqrt();
            let along: f64 = vector.iter().zip(&expected).map(|(found, expected)| found * expected / length).sum();
            assert!((along.abs() - 1.0).abs() < 1e-12, "eigenvector {k}");
        }
    }
}
