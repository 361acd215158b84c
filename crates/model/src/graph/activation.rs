//! Activation functions.

use serde::{Deserialize, Serialize};

use super::Features;
use super::op::Operation;

/// max(x, 0).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relu {}

/// min(max(x, 0), 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relu6 {}

/// x·Φ(x), with Φ the distribution function of the standard normal distribution (Hendrycks and Gimpel 2016, arXiv 1606.08415).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gelu {}

impl Operation for Relu {
    fn output(&self, inputs: &[Features]) -> Result<Features, String> {
        Ok(inputs[0])
    }
}

impl Operation for Relu6 {
    fn output(&self, inputs: &[Features]) -> Result<Features, String> {
        Ok(inputs[0])
    }
}

impl Operation for Gelu {
    fn output(&self, inputs: &[Features]) -> Result<Features, String> {
        Ok(inputs[0])
    }
}
