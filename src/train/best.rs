//! The best network on the validation split.

use std::collections::BTreeMap;

use regulus_model::Weights;

use super::{Snapshot, TrainingState};
use crate::objective::Bound;

/// The best network so far by `train.best_by` on the validation split.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// Its epoch, from 1.
    pub epoch: u64,
    /// Its weights.
    pub weights: Weights,
    /// λ of each penalty at that time.
    pub lambdas: Vec<f64>,
    /// The constraints of `cpr`, by parameter name.
    pub bounds: BTreeMap<String, Bound>,
}

impl From<&Snapshot> for Best {
    fn from(snapshot: &Snapshot) -> Self {
        let TrainingState { epoch, lambdas, bounds, .. } = snapshot.state.clone();
        Self { epoch, weights: snapshot.measured().clone(), lambdas, bounds }
    }
}
