//! From feature maps to vectors.

use serde::{Deserialize, Serialize};

use super::Features;
use super::op::Operation;

/// A feature map as a vector, channel by channel and row by row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flatten {}

impl Operation for Flatten {
    fn output(&self, inputs: &[Features]) -> Result<Features, String> {
        Ok(Features::Vector(inputs[0].size()))
    }
}
