//! The objective that training minimizes.
//!
//! ```text
//! L(w) = 1/|B| Σ_{i∈B} v_i·CE_i(w)  +  Σ_penalties λ/m · R(w)
//! ```
//!
//! with v = 1 unless `train.class_weights` are set (see [`data_loss`]), and R(w) = ½·Σ w² for L2, whose gradient is λ/m·w; see [`PenaltyKind`](crate::config::PenaltyKind) for the others. `m` is the number of
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
/// With `weights`, one for each class, it is 1/|B| Σ v(y)·CE, each sample times the weight of its label. [`ClassWeights`](crate::config::ClassWeights) have the
/// mean 1 over the training samples. PyTorch divides by the sum of the weights in the batch instead: on the whole training split this is the same, but there the weight of
/// a sample depends on the others of its batch, and means over parts of a batch do not add up to that of the batch.
///
/// # Shapes
///
/// - logits: `[batch, classes]`
/// - labels: `[batch]`
/// - outputs: `[1]`, `[1]`
#[must_use]
pub fn data_loss(
    implementation: Implementation,
    logits: Tensor<2>,
    labels: Tensor<1, Int>,
    smoothing: f64,
    weights: Option<&[f32]>,
) -> (Tensor<1>, Tensor<1, Int>) {
    if implementation.is_fused() {
        #[expect(clippy::cast_possible_truncation, reason = "a factor of a float32 loss")]
        return fused::cross_entropy(logits, labels, smoothing as f32, weights);
    }
    let correct = logits.clone().inner().argmax(1).squeeze_dim::<1>(1).equal(labels.clone().inner()).int().sum();
    if let Some(weights) = weights {
        return (weighted(logits, labels, smoothing, weights), correct);
    }
    let device = logits.device();
    let even = (smoothing > 0.0).then(|| log_softmax(logits.clone(), 1).mean().mul_scalar(-smoothing));
    let loss = CrossEntropyLossConfig::new().init(&device).forward(logits, labels);
    let loss = match even {
        None => loss,
        Some(even) => loss.mul_scalar(1.0 - smoothing) + even,
    };
    (loss, correct)
}

/// The weighted loss with Burn's operations.
fn weighted(logits: Tensor<2>, labels: Tensor<1, Int>, smoothing: f64, weights: &[f32]) -> Tensor<1> {
    let weights = Tensor::<1>::from_floats(weights, &logits.device()).select(0, labels.clone());
    let logarithms = log_softmax(logits, 1);
    let own = logarithms.clone().gather(1, labels.unsqueeze_dim::<2>(1)).squeeze_dim::<1>(1);
    let targets = own.mul_scalar(1.0 - smoothing) + logarithms.mean_dim(1).squeeze_dim::<1>(1).mul_scalar(smoothing);
    (targets * weights).mean().neg()
}
