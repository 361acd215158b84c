//! The whole state of a training, on the host.

use super::Position;
use crate::model::Weights;

/// What a checkpoint holds: enough to go on as if nothing had happened.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The weights.
    pub weights: Weights,
    /// The optimizer's state, as [`ParameterOptimizer::to_bytes`](super::ParameterOptimizer::to_bytes) gives it.
    pub optimizer: Vec<u8>,
    /// Where training stands.
    pub position: Position,
}
