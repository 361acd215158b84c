//! How a run ended.

use serde::{Deserialize, Serialize};

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

/// `summary.json`, written last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How it ended.
    pub status: Status,
    /// Epochs completed.
    pub epochs: u64,
    /// Steps done.
    pub steps: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Training images per second: the median over the epochs after the first, or the only one.
    pub images_per_second: Option<f64>,
    /// The network on the part trained on.
    pub train: Option<SplitSummary>,
    /// The network on the part held out.
    pub validation: Option<SplitSummary>,
    /// The network on the test set.
    pub test: Option<SplitSummary>,
    /// The penalty of the network.
    pub penalty: Option<f64>,
    /// The λ when the network was as it is, summed over the penalties; where evidence has found one after the last step, that.
    #[serde(default)]
    pub lambda: Option<f64>,
    /// ‖w‖² of the network.
    pub weight_norm_squared: Option<f64>,
    /// The fraction of the kernels' weights that are exactly 0.
    #[serde(default)]
    pub zero_weights: Option<f64>,
    /// The fraction of their output channels and units into which every weight is 0.
    #[serde(default)]
    pub zero_channels: Option<f64>,
    /// The epoch the network is from, where there was a validation part.
    pub best_epoch: Option<u64>,
    /// Numbers the network learns.
    pub parameters: usize,
    /// The backend.
    pub backend: String,
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
