//! The patience of early stopping and of the plateau schedule.

use serde::{Deserialize, Serialize};

/// The best cost so far and the number of epochs since then. Of a cost less is better: a loss, or another measure times −1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Patience {
    best: Option<f64>,
    waited: u64,
}

impl Patience {
    /// Updates with the cost of an epoch. Returns whether it is more than `min_delta` below the best.
    pub(super) fn update(&mut self, cost: f64, min_delta: f64) -> bool {
        let improves = self.best.is_none_or(|best| cost < best - min_delta);
        if improves {
            self.best = Some(cost);
            self.waited = 0;
        } else {
            self.waited += 1;
        }
        improves
    }

    /// Whether the best cost so far is this one.
    pub(super) fn has_best(&self, cost: f64) -> bool {
        self.best == Some(cost)
    }

    /// Epochs since the last improvement.
    pub(crate) fn waited(&self) -> u64 {
        self.waited
    }

    /// Resets the number of epochs. The best cost stays.
    pub(crate) fn reset(&mut self) {
        self.waited = 0;
    }
}
