//! Convolutions.

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::prelude::*;
use regulus_model::graph;

/// A convolution whose weights are 0.
pub(super) fn blank(conv: &graph::Conv, inputs: usize, device: &Device) -> Conv2d {
    let [rows, columns] = conv.padding;
    Conv2dConfig::new([inputs, conv.outputs], conv.kernel)
        .with_stride(conv.stride)
        .with_padding(PaddingConfig2d::Explicit(rows, columns, rows, columns))
        .with_groups(conv.groups)
        .with_bias(conv.bias)
        .with_initializer(Initializer::Zeros)
        .init(device)
}
