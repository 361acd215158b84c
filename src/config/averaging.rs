//! The `[averaging]` section.

use serde::{Deserialize, Serialize};

use super::number::{Count, Fraction};
use super::{ConfigError, load};

/// Weight averaging. Evaluation, checkpoints and exports use the average instead of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    None,
    Ema,
    Swa,
}

/// The section as in the file.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    decay: Option<Fraction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_epoch: Option<Count>,
}

impl TryFrom<Keys> for Averaging {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        let given =
            [("decay", keys.decay.is_some(), keys.kind == Kind::Ema), ("from_epoch", keys.from_epoch.is_some(), keys.kind == Kind::Swa)];
        load::refuse_foreign_keys("averaging", &load::kind_in_words(&keys.kind), &given)?;
        Ok(Self(match keys.kind {
            Kind::None => Average::None,
            Kind::Ema => Average::Ema { decay: keys.decay.unwrap_or(Fraction::literal(0.999)) },
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
            Average::None => Self::default(),
            Average::Ema { decay } => Self { kind: Kind::Ema, decay: Some(decay), ..Self::default() },
            Average::Swa { from_epoch } => Self { kind: Kind::Swa, from_epoch: Some(from_epoch), ..Self::default() },
        }
    }
}
