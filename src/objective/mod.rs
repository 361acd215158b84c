//! The objective: what training makes small.
//!
//! ```text
//! L(w) = 1/|B| Σ_{i∈B} CE_i(w)  +  Σ_penalties λ/(2m) Σ_{p∈scope} ‖w_p‖²
//! ∂L/∂w = (gradient of the data loss) + λ/m · w
//! ```
//!
//! `m` is the number of training samples, unless the penalty's `samples` says otherwise. The penalty is a term of the loss that
//! autodiff differentiates, not an option of the optimizer: what is reported is what is descended.

mod penalty;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::prelude::*;

pub use penalty::{L2, Penalties};

use crate::backend::fused;
use crate::config::Kernels;

/// The data loss of a batch, mean cross-entropy in nats; and how many samples are classified rightly.
///
/// # Shapes
///
/// - logits: `[batch, classes]`
/// - labels: `[batch]`
/// - outputs: `[1]`, `[1]`
#[must_use]
pub fn data_loss(kernels: Kernels, logits: Tensor<2>, labels: Tensor<1, Int>) -> (Tensor<1>, Tensor<1, Int>) {
    if kernels == Kernels::Fused {
        return fused::cross_entropy(logits, labels);
    }
    let correct = logits.clone().inner().argmax(1).squeeze_dim::<1>(1).equal(labels.clone().inner()).int().sum();
    let device = logits.device();
    (CrossEntropyLossConfig::new().init(&device).forward(logits, labels), correct)
}
