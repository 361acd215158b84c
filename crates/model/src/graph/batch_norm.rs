//! Batch normalization.

use serde::{Deserialize, Serialize};

use super::op::Operation;
use super::words::Words;
use super::{Features, Parameter, Role};

/// Batch normalization as PyTorch's `BatchNorm2d` and `BatchNorm1d`: y = (x − mean)/√(variance + epsilon)·γ + β for each channel
/// (Ioffe and Szegedy 2015, arXiv 1502.03167).
///
/// In training mean and biased variance are the batch's, and running ← (1 − momentum)·running + momentum·(the batch's mean and unbiased variance); afterwards
/// they are the running ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// The share of the newest batch in the running statistics, from 0 to 1.
    pub momentum: f64,
    /// Added to the variance; greater than 0.
    pub epsilon: f64,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self { momentum: 0.1, epsilon: 1e-5 }
    }
}

impl BatchNorm {
    pub(super) fn parse(words: &mut Words) -> Result<Self, String> {
        let mut norm = Self::default();
        words.options("`momentum 0.1` or `epsilon 1e-5`", |key, words| {
            match key {
                "momentum" => norm.momentum = words.value("a momentum", "momentum 0.1")?,
                "epsilon" => norm.epsilon = words.value("an epsilon", "epsilon 1e-5")?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(norm)
    }
}

impl Operation for BatchNorm {
    fn output(&self, inputs: &[Features]) -> Result<Features, String> {
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(format!("has a momentum of {}; expected a number from 0 to 1", self.momentum));
        }
        // Below that, float32 variances do not change by it.
        if !(self.epsilon.is_finite() && self.epsilon >= 1e-30) {
            return Err(format!("has an epsilon of {}; expected a finite number of at least 1e-30", self.epsilon));
        }
        Ok(inputs[0])
    }

    fn parameters(&self, input: Features) -> Vec<Parameter> {
        let channels = [input.channels()];
        vec![
            Parameter::new("weight", &channels, Role::Scale),
            Parameter::new("bias", &channels, Role::Bias),
            Parameter::new("running_mean", &channels, Role::RunningMean),
            Parameter::new("running_var", &channels, Role::RunningVariance),
        ]
    }

    fn multiplications(&self, input: Features, _output: Features) -> u64 {
        input.size() as u64
    }
}
