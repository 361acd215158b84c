//! The whole state of a training, on the host.

use regulus_model::Weights;

use super::Position;

/// What a checkpoint holds: enough to go on as if nothing had happened.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The weights that are trained.
    pub weights: Weights,
    /// Their average so far, where `[averaging]` asks for one and it has begun.
    pub averaged: Option<Weights>,
    /// The optimizer's state, as [`ParameterOptimizer::to_bytes`](super::ParameterOptimizer::to_bytes) gives it.
    pub optimizer: Vec<u8>,
    /// Where training stands.
    pub position: Position,
}

impl Snapshot {
    /// The weights that are measured and exported: the average, or, without one, those that are trained.
    #[must_use]
    pub fn measured(&self) -> &Weights {
        self.averaged.as_ref().unwrap_or(&self.weights)
    }

    /// The weights that are measured and exported.
    #[must_use]
    pub fn into_measured(self) -> Weights {
        self.averaged.unwrap_or(self.weights)
    }
}
