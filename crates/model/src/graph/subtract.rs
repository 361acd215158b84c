//! The difference of two branches.

use serde::{Deserialize, Serialize};

use super::op::Operation;
use super::{Features, listed};

/// The elementwise difference of two inputs of the same shape, the first minus the second: the last node of residual learning, where the network finds the noise
/// that is subtracted from the image (Zhang et al. 2017, arXiv 1608.03981).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subtract {}

impl Operation for Subtract {
    fn input_count(&self) -> usize {
        2
    }

    fn output(&self, inputs: &[Features]) -> Result<Features, String> {
        match inputs {
            [left, right] if left == right => Ok(*left),
            _ => Err(format!("gets {}; expected two inputs of the same shape", listed(inputs))),
        }
    }
}
