//! The patience of early stopping and of the plateau schedule.

use serde::{Deserialize, Serialize};

/// The best loss so far and the number of epochs since then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Patience {
    best: Option<f64>,
    waited: u64,
}

impl Patience {
    /// Updates with the loss of an epoch. Returns whether it is more than `min_delta` below the best.
    pub(super) fn update(&mut self, loss: f64, min_delta: f64) -> bool {
        let improves = self.best.is_none_or(|best| loss < best - min_delta);
        if improves {
            self.best = Some(loss);
            self.waited = 0;
        } else {
            self.waited += 1;
        }
        improves
    }

    /// Epochs since the last improvement.
    pub(crate) fn waited(&self) -> u64 {
        self.waited
    }

    /// Resets the number of epochs. The best loss stays.
    pub(crate) fn reset(&mut self) {
        self.waited = 0;
    }
}
