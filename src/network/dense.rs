//! Dense layers.

use burn::nn::{Initializer, Linear, LinearConfig};
use burn::prelude::*;
use regulus_model::graph;

/// A dense layer whose weights are 0.
pub(super) fn blank(dense: &graph::Dense, inputs: usize, device: &Device) -> Linear {
    LinearConfig::new(inputs, dense.outputs).with_bias(dense.bias).with_initializer(Initializer::Zeros).init(device)
}
