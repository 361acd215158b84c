//! The `[averaging]` section.

use serde::{Deserialize, Serialize};

use super::number::{Count, Fraction};
use super::{ConfigError, load};

/// An average of the weights, which is measured, saved and exported in their place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct Averaging(pub Average);

/// The averages of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Average {
    /// The weights themselves.
    #[default]
    None,
    /// Their exponential moving average after each step: a ← d·a + (1 − d)·w, from a = w after the first.
    Ema {
        /// d.
        decay: Fraction,
    },
    /// Their mean over epochs, stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407).
    Swa {
        /// The first epoch whose weights count, from 1.
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

/// The section as it is written.
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
                let problem = "is missing; set the first epoch whose weights count, such as the one after three quarters of the epochs";
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
