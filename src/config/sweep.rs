//! The `[sweep]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::number::Count;
use super::{ConfigError, Dimension};

/// What `regulus sweep` tries, and how it chooses. Each key is also an option of the command. Other commands do not use it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sweep {
    /// The values of keys, such as `["penalty.0.lambda=0,log:0.01:100:9", "model.hidden=64,128"]`. Without any: 13 values of λ of the first penalty, in a range that
    /// is found from the data.
    pub grid: Vec<String>,
    /// The number of random trials, instead of every combination of the values.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Count")]
    pub random: Option<Count>,
    /// The number of trials of a tree-structured Parzen estimator, instead of every combination of the values.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Count")]
    pub tpe: Option<Count>,
    /// Trainings of each trial with different seeds, counted from that of the config. They share the splits.
    pub seeds: Count,
    /// Folds of cross-validation, at least 2, instead of the validation split of the config.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Count")]
    pub folds: Option<Count>,
    /// The number of random splits into folds, or into training and validation split.
    pub repeats: Count,
    /// Whether each trial has splits of its own.
    pub reshuffle: bool,
    /// What ranks the trials.
    pub criterion: Criterion,
    /// Whether the evidence, γ and the leave-one-out loss of each training are computed beside its validation loss.
    pub curvature: bool,
    /// The rule of the choice.
    pub rule: Rule,
    /// Whether λ goes from small to large, each training starting from the weights of the one before.
    pub path: bool,
    /// Epochs of each training of the path but the first, which has `train.epochs`.
    pub path_epochs: Count,
    /// The trials of a path that are compared by their losses from initial weights, before the choice, beside the first. They are trained again for that.
    pub path_finalists: Count,
    /// Which trials end early.
    pub pruner: Pruner,
    /// Epochs before the first decision of the pruner. Early losses favor small λ, whichever is best in the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Count", extend("x-default" = "half of `train.epochs`"))]
    pub pruner_epochs: Option<Count>,
    /// `halving`: the inverse of the fraction of trials that go on at each decision, and the factor between the epochs of decisions; at least 2.
    pub pruner_factor: Count,
    /// `top_k`: the number of trials that are trained to the end.
    pub pruner_keep: Count,
}

/// What ranks the trials of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// The data loss on the validation split, or on the folds.
    ValidationLoss,
    /// The leave-one-out loss, estimated from the training images. It needs no validation split.
    Loo,
    /// The negative log evidence of the training images. It needs no validation split.
    Evidence,
}

/// The rule by which a sweep chooses a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The lowest mean.
    Minimum,
    /// The largest λ whose mean is within one standard error of the lowest.
    OneStandardError,
}

/// Which trials of a sweep end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pruner {
    /// None.
    None,
    /// Successive halving: the best 1/`pruner_factor` of the trials go on after `pruner_epochs` epochs, the best of those after `pruner_factor` times as many, and so on.
    Halving,
    /// All but the best `pruner_keep` trials end after `pruner_epochs` epochs.
    TopK,
}

impl Default for Sweep {
    fn default() -> Self {
        Self {
            grid: Vec::new(),
            random: None,
            tpe: None,
            seeds: Count::literal(1),
            folds: None,
            repeats: Count::literal(1),
            reshuffle: false,
            criterion: Criterion::ValidationLoss,
            curvature: false,
            rule: Rule::Minimum,
            path: false,
            path_epochs: Count::literal(2),
            path_finalists: Count::literal(5),
            pruner: Pruner::None,
            pruner_epochs: None,
            pruner_factor: Count::literal(3),
            pruner_keep: Count::literal(3),
        }
    }
}

impl Sweep {
    /// The values of each key.
    ///
    /// # Errors
    ///
    /// When a text has another form.
    pub fn space(&self) -> Result<Vec<Dimension>, ConfigError> {
        self.grid.iter().map(|text| Dimension::parse(text)).collect()
    }

    /// Whether trainings compute what the curvature says.
    #[must_use]
    pub fn needs_curvature(&self) -> bool {
        self.curvature || self.criterion != Criterion::ValidationLoss
    }

    /// The epoch after which the pruner decides first, of `epochs`.
    #[must_use]
    pub fn first_decision(&self, epochs: u64) -> u64 {
        self.pruner_epochs.map_or(epochs.div_ceil(2), |epochs| epochs.get() as u64)
    }

    /// Checks conditions on several keys.
    ///
    /// # Errors
    ///
    /// When keys do not fit together.
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse = |key: &str, problem: &str| Err(ConfigError::value(format!("sweep.{key}"), problem));
        let space = self.space()?;
        if self.random.is_some() && self.tpe.is_some() {
            return refuse("tpe", "is given beside `random`; leave one out");
        }
        if space.is_empty() && (self.random.is_some() || self.tpe.is_some()) {
            return refuse(
                "grid",
                "is missing; random search and `tpe` need ranges or lists of values, such as `penalty.0.lambda=log:0.01:100`",
            );
        }
        if self.folds.is_some_and(|folds| folds.get() < 2) {
            return refuse("folds", "is 1; expected a whole number >= 2");
        }
        if self.pruner_factor.get() < 2 {
            return refuse("pruner_factor", "is 1; expected a whole number >= 2");
        }
        if self.path && (self.random.is_some() || self.tpe.is_some() || self.pruner != Pruner::None || self.reshuffle) {
            return refuse("path", "goes through a grid of λ; leave it out, or `random`, `tpe`, `pruner` and `reshuffle`");
        }
        if self.pruner != Pruner::None && self.tpe.is_some() {
            return refuse("pruner", "compares all trials with each other, but `tpe` chooses them one after another; leave one out");
        }
        if self.criterion != Criterion::ValidationLoss {
            let with_validation = [
                ("folds", self.folds.is_some()),
                ("repeats", self.repeats.get() > 1),
                ("reshuffle", self.reshuffle),
                ("pruner", self.pruner != Pruner::None),
            ];
            if let Some((key, _)) = with_validation.iter().find(|(_, is_given)| *is_given) {
                return refuse(key, "needs validation losses, but `sweep.criterion` uses the training images alone; leave one out");
            }
        }
        Ok(())
    }
}
