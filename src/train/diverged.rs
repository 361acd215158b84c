//! The error of a diverged training.

use crate::config::notation::exact;

/// Training diverged: a loss or weight is not finite.
#[derive(Debug, thiserror::Error)]
#[error(
    "training diverged: {what} is not finite at step {step} (epoch {epoch}, learning rate {}, lambda {lambda}); try a smaller learning rate, `optimizer.clip_norm`, or a smaller lambda",
    exact(*.learning_rate)
)]
pub struct Diverged {
    /// The quantity that is not finite.
    pub what: &'static str,
    /// The step, counted from 1.
    pub step: u64,
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// λ, or the λ of each penalty with its name.
    pub lambda: String,
}
