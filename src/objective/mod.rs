//! The objective: what training makes small.
//!
//! ```text
//! L(w) = 1/|B| Σ_{i∈B} CE_i(w)  +  Σ_penalties λ/m · R(w)
//! ```
//!
//! with R(w) = ½·Σ w² for L2, whose gradient is λ/m·w; see [`PenaltyKind`](crate::config::PenaltyKind) for the others. `m` is the number of
//! training samples, unless the penalty's `samples` says otherwise. A penalty is a term of the loss that autodiff differentiates, not an option
//! of the optimizer: what is reported is what is descended. One that is `proximal` is the same term, descended by a step of its own.

mod cpr;
mod evidence;
mod learned;
mod norm;
mod penalty;
mod sparsity;
mod term;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::prelude::*;
use burn::tensor::activation::log_softmax;

pub use cpr::{Bound, Rule};
pub use evidence::Evidence;
pub use learned::{Learned, Update};
pub use norm::norm_of;
pub use penalty::{Around, Penalties};
pub use sparsity::Sparsity;

use crate::backend::fused;
use crate::config::Implementation;

/// The data loss of a batch, mean cross-entropy in nats against targets of which the part `smoothing` is spread evenly over the classes (Szegedy et al.
/// 2016, arXiv 1512.00567, section 7); and how many samples are classified rightly.
///
/// # Shapes
///
/// - logits: `[batch, classes]`
/// - labels: `[batch]`
/// - outputs: `[1]`, `[1]`
#[must_use]
pub fn data_loss(implementation: Implementation, logits: Tensor<2>, labels: Tensor<1, Int>, smoothing: f64) -> (Tensor<1>, Tensor<1, Int>) {
    if implementation == Implementation::Fused {
        #[expect(clippy::cast_possible_truncation, reason = "a part of a float32 loss")]
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
