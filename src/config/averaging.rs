//! The `[averaging]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::keys::keys;
use super::number::{Count, Fraction};

/// Weight averaging. Evaluation, checkpoints and exports use the average instead of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct Averaging(pub Average);

/// The kinds of weight averaging.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Average {
    /// No averaging.
    #[default]
    None,
    /// Exponential moving average (EMA) over steps: a ← d·a + (1 − d)·w. It starts with a = w after the first step.
    Ema {
        /// d.
        decay: Fraction,
    },
    /// Stochastic weight averaging (SWA): the mean over epochs (Izmailov et al. 2018, arXiv 1803.05407).
    Swa {
        /// The first epoch that is averaged, from 1.
        from_epoch: Count,
    },
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// No averaging.
    None,
    /// The moving average over all steps.
    Ema,
    /// Stochastic weight averaging: the mean of the weights at the end of each epoch, from epoch `from_epoch` on.
    Swa,
}

keys! {
    struct Keys in "averaging" {
        /// The kind of average.
        kind: Kind = Kind::None;
        /// The decay of the average.
        decay: Fraction = Fraction::literal(0.999), for Ema;
        /// The first epoch that is averaged, at most `train.epochs`.
        from_epoch: Count, default "required for `swa`", for Swa;
    }
}

impl TryFrom<Keys> for Averaging {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        Ok(Self(match keys.checked_kind()? {
            Kind::None => Average::None,
            Kind::Ema => Average::Ema { decay: keys.decay() },
            Kind::Swa => {
                let problem = "is missing; set the first epoch to average, such as the one after three quarters of the epochs";
                Average::Swa { from_epoch: keys.from_epoch.ok_or_else(|| ConfigError::value("averaging.from_epoch", problem))? }
            }
        }))
    }
}

impl From<Averaging> for Keys {
    fn from(Averaging(average): Averaging) -> Self {
        match average {
            Average::None => Self::of(Kind::None),
            Average::Ema { decay } => Self { decay: Some(decay), ..Self::of(Kind::Ema) },
            Average::Swa { from_epoch } => Self { from_epoch: Some(from_epoch), ..Self::of(Kind::Swa) },
        }
    }
}
