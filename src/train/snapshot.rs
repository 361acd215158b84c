//! The complete state of a training run on the host.

use regulus_model::Weights;

use super::TrainingState;

/// The content of a checkpoint. Training resumes from it bit for bit.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The trained weights.
    pub weights: Weights,
    /// The average of the weights. `None` without `[averaging]`, or before its first update.
    pub averaged: Option<Weights>,
    /// The optimizer state, as [`ParameterOptimizer::to_bytes`](super::ParameterOptimizer::to_bytes) writes it.
    pub optimizer: Vec<u8>,
    /// The training state.
    pub state: TrainingState,
    /// The starting point w₀ of `l2_sp` penalties. `None` without them.
    pub origin: Option<Weights>,
}

impl Snapshot {
    /// The weights for evaluation and export: the average, or the trained weights if there is none.
    #[must_use]
    pub fn measured(&self) -> &Weights {
        self.averaged.as_ref().unwrap_or(&self.weights)
    }

    /// As [`Snapshot::measured`], by value.
    #[must_use]
    pub fn into_measured(self) -> Weights {
        self.averaged.unwrap_or(self.weights)
    }
}
