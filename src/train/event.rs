//! Events of training, and the observer that receives them.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::Snapshot;
use crate::error::Error;
use crate::metrics::{Metrics, numbers};
use crate::objective::LambdaUpdate;

/// An event of training.
#[derive(Debug)]
pub enum Event<'a> {
    /// Progress of the steps of an epoch.
    Progress(Progress),
    /// The end of an epoch, with one row for each split.
    Epoch(&'a [Row]),
    /// A checkpoint to save.
    Checkpoint {
        /// The state.
        snapshot: &'a Snapshot,
        /// Whether it is the best so far by `train.best_by`.
        best: bool,
    },
    /// An update of λ by evidence begins.
    UpdatingLambda,
    /// The measurement after training begins.
    Measuring,
    /// Progress of a long phase between training steps.
    Phase(Phase),
}

/// Progress of a long phase: validation, an update of λ, or the measurement after training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// The name of the phase, for people.
    pub phase: &'static str,
    /// The completed units.
    pub done: u64,
    /// The total number of units.
    pub total: u64,
}

/// Progress of training.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Progress {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// The total number of epochs.
    pub epochs: u64,
    /// The completed steps of all epochs.
    pub step: u64,
    /// The total number of steps.
    pub steps: u64,
    /// Mean data loss of the epoch so far.
    pub data_loss: f64,
    /// Mean penalty of the epoch so far.
    pub penalty: f64,
    /// Training images per second in this epoch.
    pub images_per_second: f64,
}

/// The split of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The training split. Values are means over the steps of the epoch, each with the weights before the step.
    Train,
    /// The validation split. Values use the weights at the end of the epoch.
    Validation,
}

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// The completed steps at the end of the epoch.
    pub step: u64,
    /// The split.
    pub split: Split,
    /// The mean data loss: for a classifier the cross-entropy in nats. On the training split with `train.class_weights`.
    pub data_loss: f64,
    /// The sum of the penalties.
    pub penalty: f64,
    /// `data_loss + penalty`.
    pub objective: f64,
    /// The metrics of the task by name: for a classifier `accuracy`, the fraction of correctly classified samples, and on the validation split `balanced_accuracy` and
    /// `macro_f1`.
    #[serde(flatten, deserialize_with = "numbers")]
    pub metrics: Metrics,
    /// ‖w‖² at the end of the epoch over the penalized parameters, or over the kernels without a penalty.
    pub weight_norm_squared: f64,
    /// The fraction of kernel weights that are exactly 0 at the end of the epoch.
    #[serde(default)]
    pub zero_weights: Option<f64>,
    /// The fraction of output channels and units whose incoming weights are all 0.
    #[serde(default)]
    pub zero_channels: Option<f64>,
    /// λ of the last step. `None` with no or several penalties.
    pub lambda: Option<f64>,
    /// λ of each penalty in the last step, in the order of the config. Empty in rows of version 0.1.0.
    #[serde(default)]
    pub lambdas: Vec<f64>,
    /// The update of each penalty by evidence; `null` for a penalty that was not updated. Absent if no update was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Vec<Option<LambdaUpdate>>>,
    /// γ, the effective number of parameters, summed over the penalties that were updated by evidence.
    #[serde(default)]
    pub gamma: Option<f64>,
    /// ln p(data | λ) in nats, for the λ before the update.
    #[serde(default)]
    pub log_evidence: Option<f64>,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Training images per second in this epoch.
    pub images_per_second: f64,
}

/// Receives the events of training.
pub trait Observer: Send {
    /// Handles an event. `Break` stops training as the stop flag does: a checkpoint is saved, and training can be resumed.
    ///
    /// # Errors
    ///
    /// When something can't be saved. The error ends training.
    fn on(&mut self, event: &Event) -> Result<ControlFlow<()>, Error>;
}
