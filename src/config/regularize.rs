//! The `[augment]` and `[averaging]` sections.

use serde::{Deserialize, Serialize};

use super::number::{Count, Fraction, NonNegative};
use super::{ConfigError, load};

/// How training images are changed, each time anew.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Whole pixels an image is shifted by at most, in each direction; 0: none.
    pub shift: u32,
    /// Degrees an image is turned by at most, to either side; 0: none.
    pub rotation: NonNegative,
    /// α of the Beta distribution two images are mixed by (Zhang et al. 2018, arXiv 1710.09412); 0: none.
    pub mixup: NonNegative,
}

impl Augment {
    /// Refuses a shift that leaves nothing of an image of `height` rows of `width` pixels.
    ///
    /// # Errors
    ///
    /// When it does.
    pub fn check(&self, height: usize, width: usize) -> Result<(), ConfigError> {
        if self.shift as usize >= height.min(width) {
            let problem = format!("is {}, but images are {height}×{width}; expected less than either side", self.shift);
            return Err(ConfigError::value("augment.shift", problem));
        }
        Ok(())
    }
}

impl Default for Augment {
    fn default() -> Self {
        Self { shift: 0, rotation: NonNegative::literal(0.0), mixup: NonNegative::literal(0.0) }
    }
}

/// What is measured, kept and exported in place of the last weights.
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
