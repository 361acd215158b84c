//! The objective that training minimizes.
//!
//! ```text
//! L(w) = 1/|B| Σ_{i∈B} CE_i(w)  +  Σ_penalties λ/m · R(w)
//! ```
//!
//! with R(w) = ½·Σ w² for L2, whose gradient is λ/m·w; see [`PenaltyKind`](crate::config::PenaltyKind) for the others. `m` is the number of
//! training samples, or the value of the penalty's `samples`. A penalty is a term of the loss that autodiff differentiates, not an option of the
//! optimizer. A `proximal` penalty is the same term, minimized by a proximal step after the optimizer step. [`Regularizer`] is for an R that is not built in.

mod cpr;
mod definition;
mod evidence;
mod evidence_update;
mod lambda;
mod norm;
mod origin;
mod own_penalty;
mod penalties;
mod proximal;
mod regularizer;
mod sparsity;
mod term;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::prelude::*;
use burn::tensor::activation::log_softmax;

pub use cpr::{Bound, SteppedParameter};
pub use evidence::Evidence;
pub use evidence_update::{EvidenceUpdate, LambdaUpdate};
pub use lambda::Observed;
pub use norm::norm_of;
pub use own_penalty::OwnPenalty;
pub use penalties::{NonGradientUpdate, Penalties};
pub use proximal::ProximalUpdate;
pub use regularizer::Regularizer;
pub use sparsity::Sparsity;

use crate::backend::fused;
use crate::config::Implementation;

/// The data loss of a batch: the mean cross-entropy in nats with label smoothing (Szegedy et al. 2016, arXiv 1512.00567, section 7). Also returns the
/// number of correctly classified samples.
///
/// # Shapes
///
/// - logits: `[batch, classes]`
/// - labels: `[batch]`
/// - outputs: `[1]`, `[1]`
#[must_use]
pub fn data_loss(implementation: Implementation, logits: Tensor<2>, labels: Tensor<1, Int>, smoothing: f64) -> (Tensor<1>, Tensor<1, Int>) {
    if implementation == Implementation::Fused {
        #[expect(clippy::cast_possible_truncation, reason = "a factor of a float32 loss")]
        return fused::cross_entropy(logits, labels, smoothing as f32);
    }
    let correct = logits.clone().inner().argmax(1).squeeze_dim::<1>(1).equal(labels.clone().inner()).int().sum();
    let device = logits.device();
    let even = (smoothing > 0.0).then(|| log_softmax(logits.clone(), 1).mean().mul_scalar(-smoothing));
    let loss = CrossEntropyLossConfig::new().init(&device).forward(logits, labels);
    let loss = match even {
        None => loss,
        Some(even) => loss.mul_scalar(1.0 - smoothing) + even,
    };
    (loss, correct)
}
