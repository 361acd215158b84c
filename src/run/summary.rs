//! How a run ended.

use serde::{Deserialize, Serialize};

use crate::config::CheckpointKind;
use crate::metrics::Measures;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every epoch, or `max_steps`, was done.
    Completed,
    /// The validation loss had not improved for long enough.
    EarlyStopped,
    /// It was asked to stop; it can be resumed.
    Interrupted,
    /// A loss or weight was not finite.
    Diverged,
}

/// What ended a run that was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// `train.epochs`.
    Epochs,
    /// `train.max_steps`.
    MaxSteps,
}

/// `summary.json`, written last. The measures at the top are those of the checkpoint that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How it ended.
    pub status: Status,
    /// By what, where it was completed.
    #[serde(default)]
    pub ended_by: Option<EndedBy>,
    /// Epochs completed.
    pub epochs: u64,
    /// Steps done.
    pub steps: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Training images per second: the median over the epochs after the first, or the only one.
    pub images_per_second: Option<f64>,
    /// The checkpoint that is kept.
    #[serde(default)]
    pub kept: Option<CheckpointKind>,
    /// The network on the part trained on.
    pub train: Option<SplitSummary>,
    /// The network on the part held out.
    pub validation: Option<SplitSummary>,
    /// The network on the test set.
    pub test: Option<SplitSummary>,
    /// The penalty of the network.
    pub penalty: Option<f64>,
    /// The λ of the only penalty; none where there are several, whose λ do not compare.
    #[serde(default)]
    pub lambda: Option<f64>,
    /// The λ of each penalty when the network was as it is; where evidence has found one after the last step, that.
    #[serde(default)]
    pub lambdas: Vec<f64>,
    /// ‖w‖² of the network.
    pub weight_norm_squared: Option<f64>,
    /// The fraction of the kernels' weights that are exactly 0.
    #[serde(default)]
    pub zero_weights: Option<f64>,
    /// The fraction of their output channels and units into which every weight is 0.
    #[serde(default)]
    pub zero_channels: Option<f64>,
    /// The epoch with the lowest validation loss, where there was a validation part.
    pub best_epoch: Option<u64>,
    /// The best checkpoint, where there was a validation part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Measured>,
    /// The last checkpoint, where there is a best one beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Measured>,
    /// What the user should know about the network that is kept.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Numbers the network learns.
    pub parameters: usize,
    /// The backend.
    pub backend: String,
}

/// The measures of one checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The epoch it is from, counted from 1.
    pub epoch: u64,
    /// The network on the part trained on.
    pub train: Option<SplitSummary>,
    /// The network on the part held out.
    pub validation: Option<SplitSummary>,
    /// The network on the test set.
    pub test: Option<SplitSummary>,
    /// The penalty.
    pub penalty: f64,
    /// The λ of each penalty.
    pub lambdas: Vec<f64>,
    /// ‖w‖².
    pub weight_norm_squared: f64,
    /// The fraction of the kernels' weights that are exactly 0.
    pub zero_weights: f64,
    /// The fraction of their output channels and units into which every weight is 0.
    pub zero_channels: f64,
}

/// A network on one part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// Samples.
    pub count: u64,
    /// Mean cross-entropy in nats.
    pub data_loss: f64,
    /// Fraction classified rightly.
    pub accuracy: f64,
}

impl From<&Measures> for SplitSummary {
    fn from(measures: &Measures) -> Self {
        Self { count: measures.count, data_loss: measures.data_loss, accuracy: measures.accuracy }
    }
}

impl Summary {
    /// The same run, with the measures of the checkpoint that is kept.
    #[must_use]
    pub fn with_kept(self, which: CheckpointKind, measured: &Measured) -> Self {
        let Measured { train, validation, test, penalty, lambdas, weight_norm_squared, zero_weights, zero_channels, .. } = measured.clone();
        Self {
            kept: Some(which),
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

    /// Whether every loss of it is a number.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        let kept = [self.train, self.validation, self.test];
        let both = [&self.best, &self.last].into_iter().flatten().flat_map(|one| [one.train, one.validation, one.test]);
        kept.into_iter().chain(both).flatten().all(|part| part.data_loss.is_finite())
    }

    /// The median speed over the epochs after the first, or the only one.
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
    fn the_first_epoch_counts_only_where_it_is_alone() {
        assert_eq!(Summary::median_speed(&[]), None);
        assert_eq!(Summary::median_speed(&[5.0]), Some(5.0));
        assert_eq!(Summary::median_speed(&[1.0, 4.0, 8.0]), Some(6.0));
        assert_eq!(Summary::median_speed(&[1.0, 9.0, 4.0, 8.0]), Some(8.0));
    }
}
