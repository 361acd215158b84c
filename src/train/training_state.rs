//! The training state: everything in a checkpoint other than weights and optimizer state.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::patience::Patience;
use crate::objective::Bound;

/// The training state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingState {
    /// Completed epochs.
    pub epoch: u64,
    /// Completed batches of the current epoch. All batches are complete if the end of the epoch was interrupted.
    pub batch: u64,
    /// Completed steps of all epochs.
    pub step: u64,
    /// Sums over the current epoch.
    pub sums: EpochSums,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Training images per second of each completed epoch.
    pub speeds: Vec<f64>,
    /// The best epoch by `train.best_by`, counted from 1.
    pub best_epoch: Option<u64>,
    /// Its validation loss, by which it is compared with epochs of the same value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_loss: Option<f64>,
    /// The state of the best checkpoint.
    pub best: Patience,
    /// The state of early stopping.
    pub stopping: Patience,
    /// The state of the plateau schedule.
    pub plateau: Patience,
    /// The factor of the plateau schedule.
    pub plateau_factor: Option<f64>,
    /// The learning rate of the last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// ‖w‖² before the first step, over the penalized parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_weight_norm_squared: Option<f64>,
    /// λ of each penalty in the last step, or after a later update by evidence.
    #[serde(default)]
    pub lambdas: Vec<f64>,
    /// The constraints of `cpr`, by parameter name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bounds: BTreeMap<String, Bound>,
    /// The number of averaged networks.
    #[serde(default)]
    pub averaged: u64,
}

/// Sums over the steps of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochSums {
    /// Σ data loss · samples.
    pub data_loss: f64,
    /// Σ penalty · samples.
    pub penalty: f64,
    /// The sum of each metric of a step over the samples. Versions before had one number, of correctly classified samples.
    #[serde(alias = "correct", deserialize_with = "one_or_several")]
    pub metrics: Vec<f64>,
    /// Samples.
    pub samples: f64,
    /// Seconds.
    pub seconds: f64,
}

fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Sums {
        One(f64),
        Several(Vec<f64>),
    }
    Ok(match Sums::deserialize(deserializer)? {
        Sums::One(sum) => vec![sum],
        Sums::Several(sums) => sums,
    })
}
