//! The `[schedule]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::keys::keys;
use super::number::{Count, Fraction, NonNegative};

/// The learning-rate schedule: a warm-up and a decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// The rate rises from a fraction of itself to all of it, and then falls to a fraction of it at the last step (Smith and Topin 2018, arXiv 1708.07120),
    /// as PyTorch's `OneCycleLR`.
    OneCycle {
        /// The share of the steps in which the rate rises.
        warmup_fraction: Fraction,
        /// The first rate as a fraction of the largest.
        initial_fraction: Fraction,
        /// The final rate as a fraction of the largest.
        final_fraction: Fraction,
        /// The shape of the rise and of the fall.
        anneal: Anneal,
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

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// No decay.
    Constant,
    /// The rate is multiplied by `factor` every `every_epochs` epochs.
    Step,
    /// The rate follows half a cosine to `final_fraction` of itself at the last step.
    Cosine,
    /// The rate falls linearly to `final_fraction` of itself at the last step.
    Linear,
    /// The rate rises from `initial_fraction` of `learning_rate` to all of it, and then falls to `final_fraction` of it at the last step, as PyTorch's `OneCycleLR`. Momentum
    /// stays as it is.
    OneCycle,
    /// The rate is multiplied by `factor` when the validation loss has not improved for `patience` epochs. It needs a validation split.
    Plateau,
}

/// How the rate goes from one value to another in a `one_cycle` schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    /// Along half a cosine.
    Cosine,
    /// Linearly.
    Linear,
}

keys! {
    struct Keys in "schedule" {
        /// The kind of decay.
        kind: Kind = Kind::Constant;
        /// Steps of linear warm-up.
        warmup_steps: u64 = 0, for Constant | Step | Cosine | Linear | Plateau;
        /// Epochs between two decreases.
        every_epochs: Count = Count::literal(5), for Step;
        /// The factor of a decrease.
        factor: Fraction = Fraction::literal(0.1), for Step | Plateau;
        /// The final rate as a fraction of `learning_rate`.
        final_fraction: Fraction = Fraction::literal(0.0), for Cosine | Linear | OneCycle;
        /// The share of the steps in which the rate rises.
        warmup_fraction: Fraction = Fraction::literal(0.3), for OneCycle;
        /// The first rate as a fraction of `learning_rate`.
        initial_fraction: Fraction = Fraction::literal(0.04), for OneCycle;
        /// The shape of the rise and of the fall.
        anneal: Anneal = Anneal::Cosine, for OneCycle;
        /// Epochs without improvement before a decrease.
        patience: Count = Count::literal(3), for Plateau;
        /// The smallest decrease of the best validation loss that counts as improvement.
        min_delta: NonNegative = NonNegative::literal(0.0), for Plateau;
    }
}

impl TryFrom<Keys> for Schedule {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        let decay = match keys.checked_kind()? {
            Kind::Constant => Decay::Constant,
            Kind::Step => Decay::Step { every_epochs: keys.every_epochs(), factor: keys.factor() },
            Kind::Cosine => Decay::Cosine { final_fraction: keys.final_fraction() },
            Kind::Linear => Decay::Linear { final_fraction: keys.final_fraction() },
            Kind::OneCycle => Decay::OneCycle {
                warmup_fraction: keys.warmup_fraction(),
                initial_fraction: keys.initial_fraction(),
                final_fraction: keys.final_fraction(),
                anneal: keys.anneal(),
            },
            Kind::Plateau => Decay::Plateau { patience: keys.patience(), factor: keys.factor(), min_delta: keys.min_delta() },
        };
        Ok(Self { warmup_steps: keys.warmup_steps(), decay })
    }
}

impl From<Schedule> for Keys {
    fn from(schedule: Schedule) -> Self {
        let keys = match schedule.decay {
            Decay::Constant => Self::of(Kind::Constant),
            Decay::Step { every_epochs, factor } => Self { every_epochs: Some(every_epochs), factor: Some(factor), ..Self::of(Kind::Step) },
            Decay::Cosine { final_fraction } => Self { final_fraction: Some(final_fraction), ..Self::of(Kind::Cosine) },
            Decay::Linear { final_fraction } => Self { final_fraction: Some(final_fraction), ..Self::of(Kind::Linear) },
            Decay::OneCycle { warmup_fraction, initial_fraction, final_fraction, anneal } => {
                return Self {
                    warmup_fraction: Some(warmup_fraction),
                    initial_fraction: Some(initial_fraction),
                    final_fraction: Some(final_fraction),
                    anneal: Some(anneal),
                    ..Self::of(Kind::OneCycle)
                };
            }
            Decay::Plateau { patience, factor, min_delta } => {
                Self { patience: Some(patience), factor: Some(factor), min_delta: Some(min_delta), ..Self::of(Kind::Plateau) }
            }
        };
        Self { warmup_steps: Some(schedule.warmup_steps), ..keys }
    }
}
