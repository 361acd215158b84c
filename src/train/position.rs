//! Where training stands: all that is not weights or optimizer state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::patience::Patience;
use crate::objective::Bound;

/// Where training stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Epochs completed.
    pub epoch: u64,
    /// Batches done in the epoch under way; all of them where it has not been measured yet.
    pub batch: u64,
    /// Steps done over all epochs.
    pub step: u64,
    /// Sums of the epoch under way.
    pub sums: EpochSums,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Training images per second of each completed epoch.
    pub speeds: Vec<f64>,
    /// The epoch with the lowest validation loss, counted from 1.
    pub best_epoch: Option<u64>,
    /// For the best checkpoint.
    pub best: Patience,
    /// For early stopping.
    pub stopping: Patience,
    /// For the plateau schedule.
    pub plateau: Patience,
    /// What the plateau schedule multiplies the rate by.
    pub plateau_factor: Option<f64>,
    /// The learning rate of the last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// ‖w‖² before the first step, over the penalized parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_weight_norm_squared: Option<f64>,
    /// The λ of each penalty in the last step, or found by evidence after it.
    #[serde(default)]
    pub lambdas: Vec<f64>,
    /// The constraint on each parameter under a penalty with `cpr`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bounds: BTreeMap<String, Bound>,
    /// How many weights the average is of.
    #[serde(default)]
    pub averaged: u64,
}

/// Sums over the steps of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochSums {
    /// Σ data loss · samples.
    pub data_loss: f64,
    /// Σ penalty · samples.
    pub penalty: f64,
    /// Samples classified rightly.
    pub correct: f64,
    /// Samples.
    pub samples: f64,
    /// Seconds.
    pub seconds: f64,
}
