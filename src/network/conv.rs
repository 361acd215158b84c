//! Convolutions.

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::prelude::*;
use regulus_kernels::algorithm::Algorithm;
use regulus_model::graph;

use crate::backend::{Walk, fused};

/// A convolution whose weights are 0.
pub(super) fn blank(conv: &graph::Conv, inputs: usize, device: &Device) -> Conv2d {
    let ([rows, columns], [below, right]) = (conv.padding, conv.extra_padding);
    Conv2dConfig::new([inputs, conv.outputs], conv.kernel)
        .with_stride(conv.stride)
        .with_padding(PaddingConfig2d::Explicit(rows, columns, rows + below, columns + right))
        .with_groups(conv.groups)
        .with_bias(conv.bias)
        .with_initializer(Initializer::Zeros)
        .init(device)
}

/// The convolution of images `[batch, height, width, channels]`, without its bias, by the kernels; and the moments of its channels, where they are asked for.
pub(super) fn forward_channels_last(
    conv: &Conv2d,
    op: &graph::Conv,
    images: Tensor<4>,
    algorithm: Algorithm,
    has_moments: bool,
) -> (Tensor<4>, Tensor<2>) {
    let graph::Conv { stride, padding, extra_padding, groups, .. } = *op;
    let walk = Walk { stride, padding, extra_padding, groups, has_moments, algorithm };
    fused::convolve(images, conv.weight.val(), walk)
}
