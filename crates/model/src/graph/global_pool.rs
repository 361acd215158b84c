//! Pools over a whole feature map, which give a vector.

use serde::{Deserialize, Serialize};

use super::op::Operation;
use super::{Features, map};

/// The mean of each channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAveragePool {}

/// The largest number of each channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalMaxPool {}

impl Operation for GlobalAveragePool {
    fn output(&self, inputs: &[Features]) -> Result<Features, String> {
        map(inputs).map(|shape| Features::Vector(shape.channels))
    }
}

impl Operation for GlobalMaxPool {
    fn output(&self, inputs: &[Features]) -> Result<Features, String> {
        map(inputs).map(|shape| Features::Vector(shape.channels))
    }
}
