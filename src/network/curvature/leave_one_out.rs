//! The loss of each sample under the network trained without it, by one step of Newton's method.
//!
//! With V = J·Σ·Jᵀ the covariance of the sample's logits, Λ = diag(p) − p·pᵀ, f* the logits at the [minimum](super::minimum) of the linearized network, and
//! e = p* − y there,
//!
//! ```text
//! f₋ᵢ ≈ f* + (I − V·Λ)⁻¹·V·e
//! ```
//!
//! (approximate leave-one-out, Wang et al. 2018, arXiv 1807.02694 and Rad and Maleki 2018, arXiv 1801.10243; the infinitesimal jackknife, Giordano et al. 2019,
//! arXiv 1806.00550; memory perturbation, Nickl et al. 2023, arXiv 2310.19273). V is computed between contrasts of the logits: their mean changes no loss.

use rayon::prelude::*;
use regulus_linalg::eigen::Eigen;
use regulus_linalg::product::{Matrix, multiply};

use super::pass::{contrasts, log_softmax};
use super::posterior::{Linearized, Posterior, root};

/// A sample counts as unreliable from this largest eigenvalue of V·Λ on: I − V·Λ is nearly singular there.
const UNRELIABLE: f64 = 0.9;
/// The smallest eigenvalue of I − V·Λ that is divided by.
const SMALLEST: f64 = 1e-2;

/// The leave-one-out loss.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaveOneOut {
    /// Its mean, in nats.
    pub loss: f64,
    /// That of each sample.
    pub losses: Vec<f64>,
    /// The samples, by their index in the subset.
    pub indices: Vec<u32>,
    /// How many of them are unreliable: the sample alone determines what the network gives for it, and one step from the trained network says little of one
    /// trained without it.
    pub unreliable: usize,
}

impl Posterior {
    /// The leave-one-out loss of the samples.
    #[must_use]
    pub fn leave_one_out(&self) -> LeaveOneOut {
        let at_minimum: Vec<_> = self.at_minimum().collect();
        let found: Vec<Vec<(f64, bool)>> =
            self.samples.par_iter().zip(&at_minimum).map(|(samples, at_minimum)| self.losses(samples, at_minimum)).collect();
        let found: Vec<(f64, bool)> = found.into_iter().flatten().collect();
        let losses: Vec<f64> = found.iter().map(|(loss, _)| *loss).collect();
        LeaveOneOut {
            loss: losses.iter().sum::<f64>() / losses.len() as f64,
            losses,
            indices: self.samples.iter().flat_map(|samples| samples.outputs.indices.iter().copied()).collect(),
            unreliable: found.iter().filter(|(_, is_unreliable)| *is_unreliable).count(),
        }
    }

    /// The loss of each sample, and whether it is unreliable, with ln p* and the labels.
    fn losses(&self, samples: &Linearized, at_minimum: &[(Vec<f64>, usize)]) -> Vec<(f64, bool)> {
        let Linearized { outputs, features, products } = samples;
        let count = outputs.labels.len();
        let size = products.len().checked_div(count).unwrap_or(0).isqrt();
        let mut solved: Vec<f64> = features.iter().map(|number| f64::from(*number)).collect();
        self.inverse.block.solve_lower(&mut solved);
        let of_sample = |(sample, ((trained, _), (logarithms, label))): (usize, ((Vec<f64>, usize), &(Vec<f64>, usize)))| {
            let mut covariance = vec![0.0; size * size];
            let rows = Matrix::new(&solved[sample * size * self.selection.count..][..size * self.selection.count], size);
            multiply(&mut covariance, rows, rows.transpose());
            left_out(&root(&trained), (logarithms, *label), &covariance, &products[sample * size * size..][..size * size])
        };
        outputs.log_probabilities().zip(at_minimum).enumerate().map(of_sample).collect()
    }
}

/// The loss without the sample, for the root of Λ, ln p* and the label, and the covariance of the contrasts; and whether it is unreliable.
fn left_out(root: &[f64], (logarithms, label): (&[f64], usize), covariance: &[f64], others: &[f64]) -> (f64, bool) {
    let classes = logarithms.len();
    let size = classes - 1;
    let q: Vec<f64> = contrasts(classes).into_iter().map(f64::from).collect();
    let mut error: Vec<f64> = logarithms.iter().map(|logarithm| logarithm.exp()).collect();
    error[label] -= 1.0;
    let times = |matrix: &[f64], vector: &[f64]| -> Vec<f64> {
        matrix.chunks_exact(vector.len()).map(|row| row.iter().zip(vector).map(|(number, with)| number * with).sum()).collect()
    };
    let first = times(covariance, &times(&q, &error));
    // (I − V·Λ)⁻¹·V·e = V·e + V·S·(I − S·V·S)⁻¹·S·V·e with S² = Λ.
    let [mut product, mut symmetric] = [vec![0.0; size * size], vec![0.0; size * size]];
    multiply(&mut product, Matrix::new(root, size), Matrix::new(covariance, size));
    multiply(&mut symmetric, Matrix::new(&product, size), Matrix::new(root, size));
    let Eigen { values, vectors } = Eigen::of(&symmetric);
    let mut coefficients = times(&vectors, &times(root, &first));
    coefficients.iter_mut().zip(&values).for_each(|(number, value)| *number /= (1.0 - value).max(SMALLEST));
    let inner: Vec<f64> = (0..size)
        .map(|place| coefficients.iter().zip(vectors.chunks_exact(size)).map(|(number, vector)| number * vector[place]).sum())
        .collect();
    let second = times(covariance, &times(root, &inner));
    let third = times(others, &times(&q, &error));
    let change: Vec<f64> = first.iter().zip(second).zip(third).map(|((first, second), third)| first + second + third).collect();
    let logits = logarithms.iter().enumerate().map(|(class, logarithm)| {
        logarithm + change.iter().zip(q.chunks_exact(classes)).map(|(number, row)| number * row[class]).sum::<f64>()
    });
    let largest = values.last().copied().unwrap_or(0.0);
    (-log_softmax(logits)[label], largest.is_nan() || largest > UNRELIABLE)
}
