//! Eigendecompositions that can be watched and stopped, and the bases that are made of them.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use regulus_linalg::eigen::Eigen;
use regulus_linalg::product::{Matrix, multiply};

use super::progress::{Done, Stopped};

/// From this size on the caller is asked whether to go on while a matrix is decomposed: 256 rows take a hundredth of a second.
const WATCHED: usize = 256;
/// The time between two questions.
const PAUSE: Duration = Duration::from_millis(50);
/// Eigenvalues below this part of the largest one count as 0.
const NEGLIGIBLE: f64 = 1e-9;

/// What a decomposition of `size` rows does, in units of its own.
pub(super) fn work(size: usize) -> u64 {
    (size as u64).pow(3)
}

/// Decomposes a symmetric matrix. When it is stopped, the thread that works on a large matrix is left to finish by itself.
pub(super) fn decomposed(matrix: Vec<f64>, with_vectors: bool, done: &Done) -> Result<Eigen, Stopped> {
    let size = matrix.len().isqrt();
    let decompose = move || if with_vectors { Eigen::of(&matrix) } else { Eigen::values_of(&matrix) };
    if size < WATCHED {
        let found = decompose();
        done.add(work(size))?;
        return Ok(found);
    }
    let (sender, receiver) = channel();
    // A thread that was stopped has nobody to send to.
    let thread = std::thread::spawn(move || sender.send(decompose()).unwrap_or(()));
    loop {
        match receiver.recv_timeout(PAUSE) {
            Ok(found) => {
                done.add(work(size))?;
                return Ok(found);
            }
            Err(RecvTimeoutError::Timeout) => done.add(0)?,
            Err(RecvTimeoutError::Disconnected) => {
                let panic = thread.join().err().unwrap_or_else(|| unreachable!("it has sent nothing"));
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// What a basis is made of: a sum of outer products of rows, or the rows.
#[derive(Clone, Debug)]
pub(super) enum Factor {
    /// Σ row·rowᵀ, `[width, width]`.
    Sum(Vec<f64>),
    /// `[row, width]`, for more columns than rows.
    Rows(Vec<f32>),
}

/// Orthonormal directions in the inputs or outputs of a layer.
#[derive(Clone, Debug)]
pub(super) struct Basis {
    /// The numbers of a direction.
    pub(super) width: usize,
    /// `[direction, width]`.
    pub(super) directions: Vec<f32>,
}

impl Basis {
    /// The eigenvectors of a factor, those of rows by the Gram matrix of the rows.
    pub(super) fn of(factor: Factor, width: usize, done: &Done) -> Result<Self, Stopped> {
        let directions = match factor {
            Factor::Sum(sum) => decomposed(sum, true, done)?.vectors,
            Factor::Rows(rows) => {
                let rows: Vec<f64> = rows.into_iter().map(f64::from).collect();
                let count = rows.len() / width;
                let of_rows = Matrix::new(&rows, count);
                let mut gram = vec![0.0; count * count];
                multiply(&mut gram, of_rows, of_rows.transpose());
                let Eigen { values, vectors } = decomposed(gram, true, done)?;
                let largest = values.last().copied().unwrap_or(0.0);
                let first = values.iter().take_while(|value| **value <= NEGLIGIBLE * largest).count();
                let mut kept = vectors[first * count..].to_vec();
                for (vector, value) in kept.chunks_exact_mut(count.max(1)).zip(&values[first..]) {
                    vector.iter_mut().for_each(|number| *number /= value.sqrt());
                }
                let mut directions = vec![0.0; (count - first) * width];
                multiply(&mut directions, Matrix::new(&kept, count - first), of_rows);
                directions
            }
        };
        #[expect(clippy::cast_possible_truncation, reason = "directions of float32 numbers")]
        let mut directions: Vec<f32> = directions.into_iter().map(|number| number as f32).collect();
        if directions.is_empty() {
            // All rows are 0, and any direction will do.
            directions = vec![0.0; width];
            directions[0] = 1.0;
        }
        Ok(Self { width, directions })
    }

    /// The number of directions.
    pub(super) fn rank(&self) -> usize {
        self.directions.len() / self.width
    }

    /// Whether there is no direction outside.
    pub(super) fn is_complete(&self) -> bool {
        self.rank() == self.width
    }

    /// `[direction, width]`.
    pub(super) fn matrix(&self) -> Matrix<'_, f32> {
        Matrix::new(&self.directions, self.rank())
    }
}
