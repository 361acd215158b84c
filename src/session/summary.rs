//! The summary of a run.

use serde::{Deserialize, Serialize};

use crate::config::{CheckpointKind, Measure};
use crate::metrics::{Measures, Metrics, numbers};

/// The status at the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All epochs, or `max_steps` steps, are complete.
    Completed,
    /// Early stopping: the measure `train.best_by` on the validation split had stopped improving.
    EarlyStopped,
    /// It was interrupted by a signal and can be resumed.
    Interrupted,
    /// A loss or weight is not finite.
    Diverged,
}

/// The limit that ended a completed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// `train.epochs`.
    Epochs,
    /// `train.max_steps`.
    MaxSteps,
}

/// `summary.json`, written last. The measures at the top level are those of the checkpoint that `train.keep` selects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The status.
    pub status: Status,
    /// The limit that ended the run, if it is completed.
    #[serde(default)]
    pub ended_by: Option<EndedBy>,
    /// Completed epochs.
    pub epochs: u64,
    /// Completed steps.
    pub steps: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Training images per second: the median over the epochs, without the first unless it is the only one.
    pub images_per_second: Option<f64>,
    /// The checkpoint that `train.keep` selects.
    #[serde(default)]
    pub kept: Option<CheckpointKind>,
    /// On the training split.
    pub train: Option<SplitSummary>,
    /// On the validation split.
    pub validation: Option<SplitSummary>,
    /// On the test split.
    pub test: Option<SplitSummary>,
    /// The penalty of its network.
    pub penalty: Option<f64>,
    /// λ, if there is one penalty. `None` with no or several penalties.
    #[serde(default)]
    pub lambda: Option<f64>,
    /// λ of each penalty at the checkpoint, after an update by evidence if there was one.
    #[serde(default)]
    pub lambdas: Vec<f64>,
    /// ‖w‖² over the penalized parameters, or over the kernels without a penalty.
    pub weight_norm_squared: Option<f64>,
    /// The fraction of kernel weights that are exactly 0.
    #[serde(default)]
    pub zero_weights: Option<f64>,
    /// The fraction of output channels and units whose incoming weights are all 0.
    #[serde(default)]
    pub zero_channels: Option<f64>,
    /// The best epoch by `best_by`, if there is a validation split.
    pub best_epoch: Option<u64>,
    /// The measure on the validation split by which the best epoch is chosen. Earlier versions only had the data loss.
    #[serde(default)]
    pub best_by: Measure,
    /// The best checkpoint, if there is a validation split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Measured>,
    /// The last checkpoint, if there is a best one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Measured>,
    /// Warnings about the trained network.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The number of trained parameters.
    pub parameters: usize,
    /// The backend.
    pub backend: String,
}

/// The measures of one checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The epoch, from 1.
    pub epoch: u64,
    /// On the training split.
    pub train: Option<SplitSummary>,
    /// On the validation split.
    pub validation: Option<SplitSummary>,
    /// On the test split.
    pub test: Option<SplitSummary>,
    /// The penalty.
    pub penalty: f64,
    /// λ of each penalty.
    pub lambdas: Vec<f64>,
    /// ‖w‖².
    pub weight_norm_squared: f64,
    /// The fraction of kernel weights that are exactly 0.
    pub zero_weights: f64,
    /// The fraction of output channels and units whose incoming weights are all 0.
    pub zero_channels: f64,
}

/// The measures of a network on one split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// The number of samples.
    pub count: u64,
    /// The mean data loss: for a classifier the cross-entropy in nats.
    pub data_loss: f64,
    /// The metrics of the task by name: for a classifier `accuracy`, `balanced_accuracy` and `macro_f1`.
    #[serde(flatten, deserialize_with = "numbers")]
    pub metrics: Metrics,
}

impl SplitSummary {
    /// A metric by its name. Returns `None` if the task does not have it.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).copied()
    }
}

impl From<&Measures> for SplitSummary {
    fn from(measures: &Measures) -> Self {
        Self { count: measures.count(), data_loss: measures.data_loss(), metrics: measures.metrics() }
    }
}

impl Summary {
    /// Sets the measures at the top level to those of the selected checkpoint.
    #[must_use]
    pub fn with_selected(self, kind: CheckpointKind, measured: &Measured) -> Self {
        let Measured { train, validation, test, penalty, lambdas, weight_norm_squared, zero_weights, zero_channels, .. } = measured.clone();
        Self {
            kept: Some(kind),
            train,
            validation,
            test,
            penalty: Some(penalty),
            lambda: if let [lambda] = lambdas.as_slice() { Some(*lambda) } else { None },
            lambdas,
            weight_norm_squared: Some(weight_norm_squared),
            zero_weights: Some(zero_weights),
            zero_channels: Some(zero_channels),
            ..self
        }
    }

    /// Whether all losses are finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        let selected = [&self.train, &self.validation, &self.test];
        let both = [&self.best, &self.last].into_iter().flatten().flat_map(|one| [&one.train, &one.validation, &one.test]);
        selected.into_iter().chain(both).flatten().all(|split| split.data_loss.is_finite())
    }

    /// The median speed over the epochs, without the first unless it is the only one. Returns `None` without epochs.
    #[must_use]
    pub fn median_speed(speeds: &[f64]) -> Option<f64> {
        let mut speeds = if speeds.len() > 1 { speeds[1..].to_vec() } else { speeds.to_vec() };
        speeds.sort_by(f64::total_cmp);
        let middle = speeds.len() / 2;
        match speeds.len() {
            0 => None,
            count if count % 2 == 1 => Some(speeds[middle]),
            _ => Some(f64::midpoint(speeds[middle - 1], speeds[middle])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn the_first_epoch_counts_only_if_it_is_the_only_one() {
        assert_eq!(Summary::median_speed(&[]), None);
        assert_eq!(Summary::median_speed(&[5.0]), Some(5.0));
        assert_eq!(Summary::median_speed(&[1.0, 4.0, 8.0]), Some(6.0));
        assert_eq!(Summary::median_speed(&[1.0, 9.0, 4.0, 8.0]), Some(8.0));
    }
}
