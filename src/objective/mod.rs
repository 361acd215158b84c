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

/// The data loss of a batch: mean cross-entropy, in nats.
///
/// # Shapes
///
/// - logits: `[batch, classes]`
/// - labels: `[batch]`
/// - output: `[1]`
#[must_use]
pub fn data_loss(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let device = logits.device();
    CrossEntropyLossConfig::new().init(&device).forward(logits, labels)
}
