//! What training tells whoever watches.

use serde::{Deserialize, Serialize};

use super::Snapshot;
use crate::error::Error;
use crate::objective::Update;

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// Some steps were done.
    Progress(Progress),
    /// An epoch ended; one row for each split.
    Epoch(&'a [Row]),
    /// The state is worth keeping. `best` says that it has the lowest validation loss so far.
    Checkpoint {
        /// The state.
        snapshot: &'a Snapshot,
        /// Whether it is the best so far.
        best: bool,
    },
    /// An epoch ended, and λ is about to be updated by the evidence of the training data.
    Learning,
    /// Training is over, and the network is about to be measured.
    Measuring,
    /// A part of one of the long phases besides the steps was done.
    Phase(Phase),
}

/// Where a phase besides the steps is: validation, an update of λ, the measurement at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// What it is, in words.
    pub phase: &'static str,
    /// How much is done, in units of its own.
    pub done: u64,
    /// How much there is.
    pub total: u64,
}

/// Where training is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Progress {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Epochs in all.
    pub epochs: u64,
    /// Steps done, over all epochs.
    pub step: u64,
    /// Steps in all.
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
    /// The part trained on: means over the epoch's steps, each with the weights before it.
    Train,
    /// The part held out: with the weights after the epoch.
    Validation,
}

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Steps done after it.
    pub step: u64,
    /// The part of the data.
    pub split: Split,
    /// Mean cross-entropy in nats.
    pub data_loss: f64,
    /// The regularization terms.
    pub penalty: f64,
    /// Their sum.
    pub objective: f64,
    /// Fraction of samples classified rightly.
    pub accuracy: f64,
    /// ‖w‖² after the epoch, over the penalized parameters (the kernels, where there is no penalty).
    pub weight_norm_squared: f64,
    /// The fraction of the kernels' weights that are exactly 0 after the epoch.
    #[serde(default)]
    pub zero_weights: Option<f64>,
    /// The fraction of their output channels and units into which every weight is 0.
    #[serde(default)]
    pub zero_channels: Option<f64>,
    /// λ of the last step, where there is one penalty; none where there are several, whose λ do not compare.
    pub lambda: Option<f64>,
    /// λ of each penalty in the last step, in the order of the config. Rows of version 0.1.0 have none.
    #[serde(default)]
    pub lambdas: Vec<f64>,
    /// What evidence found of each penalty at this epoch's end, null for those it did not update; absent where none was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Vec<Option<Update>>>,
    /// γ, the effective number of parameters, summed over the penalties whose λ this epoch's end has updated by evidence.
    #[serde(default)]
    pub gamma: Option<f64>,
    /// ln p(data | λ) in nats, there.
    #[serde(default)]
    pub log_evidence: Option<f64>,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Training images per second in this epoch.
    pub images_per_second: f64,
}

/// Watches training. An error ends it.
pub trait Observer: Send {
    /// Takes note of an event.
    ///
    /// # Errors
    ///
    /// When what must be kept can't be kept.
    fn on(&mut self, event: &Event) -> Result<(), Error>;
}
