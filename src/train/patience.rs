//! Waiting for a loss to improve.

use serde::{Deserialize, Serialize};

/// The best loss so far, and how long ago it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Patience {
    best: Option<f64>,
    waited: u64,
}

impl Patience {
    /// Takes note of an epoch's loss: whether it is more than `min_delta` below the best.
    pub(super) fn improves(&mut self, loss: f64, min_delta: f64) -> bool {
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

    /// Starts waiting anew, from the same best loss.
    pub(crate) fn rest(&mut self) {
        self.waited = 0;
    }
}
