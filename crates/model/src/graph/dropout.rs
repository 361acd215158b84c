//! Dropout.

use serde::{Deserialize, Serialize};

use super::Features;
use super::op::Operation;
use super::words::Words;

/// In training each number becomes 0 with probability `rate`, and the others are divided by 1 − `rate` (Srivastava et al. 2014); otherwise nothing
/// happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// The probability, at least 0 and less than 1.
    pub rate: f64,
}

impl Dropout {
    pub(super) fn parse(words: &mut Words) -> Result<Self, String> {
        let rate = words.value("a rate", "dropout 0.5")?;
        words.options("nothing more", |_, _| Ok(false))?;
        Ok(Self { rate })
    }
}

impl Operation for Dropout {
    fn output(&self, inputs: &[Features]) -> Result<Features, String> {
        if !(0.0..1.0).contains(&self.rate) {
            return Err(format!("has a rate of {}; expected a number of at least 0 and less than 1", self.rate));
        }
        Ok(inputs[0])
    }
}
