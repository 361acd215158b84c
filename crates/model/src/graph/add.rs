//! The sum of two branches.

use serde::{Deserialize, Serialize};

use super::op::Operation;
use super::{Features, listed};

/// The elementwise sum of two inputs of the same shape: what a residual block ends in (He et al. 2015, arXiv 1512.03385).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {}

impl Operation for Add {
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
