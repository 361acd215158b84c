//! The `[schedule]` section.

use serde::{Deserialize, Serialize};

use super::number::{Count, Fraction, NonNegative};
use super::{ConfigError, load};

/// The learning-rate schedule: a warm-up and a decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct Schedule {
    /// The length of the warm-up, in which the rate rises linearly from rate/(steps + 1) to the full rate.
    pub warmup_steps: u64,
    /// The decay.
    pub decay: Decay,
}

/// The decay of the learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// No decay.
    Constant,
    /// The rate is multiplied by `factor` every `every_epochs` epochs.
    Step {
        /// Epochs between two decreases.
        every_epochs: Count,
        /// The factor of a decrease.
        factor: Fraction,
    },
    /// The rate follows half a cosine to `final_fraction` of itself at the last step (Loshchilov and Hutter 2017, arXiv 1608.03983).
    Cosine {
        /// The final rate as a fraction of the initial rate.
        final_fraction: Fraction,
    },
    /// The rate falls linearly to `final_fraction` of itself at the last step.
    Linear {
        /// The final rate as a fraction of the initial rate.
        final_fraction: Fraction,
    },
    /// The rate is multiplied by `factor` when the validation loss has not improved for `patience` epochs.
    Plateau {
        /// Epochs without improvement before a decrease.
        patience: Count,
        /// The factor of a decrease.
        factor: Fraction,
        /// The smallest decrease of the best loss that counts as improvement.
        min_delta: NonNegative,
    },
}

impl Default for Schedule {
    fn default() -> Self {
        Self { warmup_steps: 0, decay: Decay::Constant }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    #[default]
    Constant,
    Step,
    Cosine,
    Linear,
    Plateau,
}

/// The section as in the file.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Keys {
    pub(super) kind: Kind,
    pub(super) warmup_steps: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) every_epochs: Option<Count>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) factor: Option<Fraction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) final_fraction: Option<Fraction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) patience: Option<Count>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min_delta: Option<NonNegative>,
}

impl TryFrom<Keys> for Schedule {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        use Kind::{Constant, Cosine, Linear, Plateau, Step};
        let kind = keys.kind;
        let given = [
            ("every_epochs", keys.every_epochs.is_some(), kind == Step),
            ("factor", keys.factor.is_some(), matches!(kind, Step | Plateau)),
            ("final_fraction", keys.final_fraction.is_some(), matches!(kind, Cosine | Linear)),
            ("patience", keys.patience.is_some(), kind == Plateau),
            ("min_delta", keys.min_delta.is_some(), kind == Plateau),
        ];
        load::refuse_foreign_keys("schedule", &load::kind_in_words(&kind), &given)?;
        let factor = keys.factor.unwrap_or(Fraction::literal(0.1));
        let final_fraction = keys.final_fraction.unwrap_or(Fraction::literal(0.0));
        let decay = match kind {
            Constant => Decay::Constant,
            Step => Decay::Step { every_epochs: keys.every_epochs.unwrap_or(Count::literal(5)), factor },
            Cosine => Decay::Cosine { final_fraction },
            Linear => Decay::Linear { final_fraction },
            Plateau => Decay::Plateau {
                patience: keys.patience.unwrap_or(Count::literal(3)),
                factor,
                min_delta: keys.min_delta.unwrap_or(NonNegative::literal(0.0)),
            },
        };
        Ok(Self { warmup_steps: keys.warmup_steps, decay })
    }
}

impl From<Schedule> for Keys {
    fn from(schedule: Schedule) -> Self {
        let keys = Self { warmup_steps: schedule.warmup_steps, ..Self::default() };
        match schedule.decay {
            Decay::Constant => keys,
            Decay::Step { every_epochs, factor } => {
                Self { kind: Kind::Step, every_epochs: Some(every_epochs), factor: Some(factor), ..keys }
            }
            Decay::Cosine { final_fraction } => Self { kind: Kind::Cosine, final_fraction: Some(final_fraction), ..keys },
            Decay::Linear { final_fraction } => Self { kind: Kind::Linear, final_fraction: Some(final_fraction), ..keys },
            Decay::Plateau { patience, factor, min_delta } => {
                Self { kind: Kind::Plateau, patience: Some(patience), factor: Some(factor), min_delta: Some(min_delta), ..keys }
            }
        }
    }
}
