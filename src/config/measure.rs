//! `train.best_by`: the measure on the validation split by which the best epoch is chosen.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, Experiment, Task};

/// A measure on the validation split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The lowest data loss, without class weights.
    #[default]
    DataLoss,
    /// The highest accuracy.
    Accuracy,
    /// The highest mean recall of the classes, in which each class counts the same.
    BalancedAccuracy,
    /// The highest mean F1 of the classes.
    MacroF1,
    /// The highest PSNR. For task `denoise`.
    Psnr,
    /// The highest SSIM. For task `denoise`.
    Ssim,
}

impl Measure {
    const OF_CLASSES: [Self; 4] = [Self::DataLoss, Self::Accuracy, Self::BalancedAccuracy, Self::MacroF1];
    const OF_PICTURES: [Self; 3] = [Self::DataLoss, Self::Psnr, Self::Ssim];

    /// The name in configs and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DataLoss => "data_loss",
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced_accuracy",
            Self::MacroF1 => "macro_f1",
            Self::Psnr => "psnr",
            Self::Ssim => "ssim",
        }
    }

    /// Its value, by name among `metrics` or the data loss. Returns `None` if it was not measured.
    #[must_use]
    pub fn value(self, data_loss: f64, metrics: &BTreeMap<String, f64>) -> Option<f64> {
        if self == Self::DataLoss { Some(data_loss) } else { metrics.get(self.name()).copied() }
    }

    /// [`Measure::cost`] of its value. Returns `None` if it was not measured.
    #[must_use]
    pub fn cost_of(self, data_loss: f64, metrics: &BTreeMap<String, f64>) -> Option<f64> {
        self.value(data_loss, metrics).map(|value| self.cost(value))
    }

    /// A value as a number of which less is better: a loss as it is, others times −1.
    #[must_use]
    pub fn cost(self, value: f64) -> f64 {
        if self == Self::DataLoss { value } else { -value }
    }
}

impl Experiment {
    /// Checks that the measure is one of the task.
    pub(super) fn check_measure(&self) -> Result<(), ConfigError> {
        let known: &[Measure] = if self.task == Task::Classify { &Measure::OF_CLASSES } else { &Measure::OF_PICTURES };
        let measure = self.train.best_by;
        if known.contains(&measure) {
            return Ok(());
        }
        let names: Vec<String> = known.iter().map(|measure| format!("\"{}\"", measure.name())).collect();
        let task = if self.task == Task::Classify { "classify" } else { "denoise" };
        let problem =
            format!("is \"{}\", which `task.kind` = \"{task}\" does not measure; expected {}", measure.name(), names.join(" or "));
        Err(ConfigError::value("train.best_by", problem))
    }

    /// A warning if there is nothing to choose by.
    pub(super) fn unused_measure(&self) -> Option<String> {
        let measure = self.train.best_by;
        (measure != Measure::DataLoss && self.data.has_validation() == Some(false))
            .then(|| format!("`train.best_by` is \"{}\", but has no effect without a validation split", measure.name()))
    }
}
