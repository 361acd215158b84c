//! Convolutions.

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::prelude::*;
use regulus_model::graph;

use crate::backend::{Walk, fused};
use crate::config::Implementation;

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

/// A convolution that no pool follows.
pub(super) fn forward(conv: &Conv2d, op: &graph::Conv, x: Tensor<4>, implementation: Implementation) -> Tensor<4> {
    match implementation {
        Implementation::Stock => conv.forward(x),
        Implementation::Fused => {
            let walk = Walk { stride: op.stride, padding: op.padding, groups: op.groups };
            let out = fused::convolve(x, conv.weight.val(), walk);
            match &conv.bias {
                Some(bias) => out + bias.val().reshape([1, op.outputs, 1, 1]),
                None => out,
            }
        }
    }
}
