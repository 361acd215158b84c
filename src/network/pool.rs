//! Pools.

use burn::prelude::*;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use regulus_kernels::pool::{Kind, Pool};
use regulus_model::graph::{AveragePool, MaxPool, Op};

use super::Output;
use crate::backend::fused;

/// A pool of images `[batch, height, width, channels]` by the kernels.
pub(super) fn channels_last(op: &Op, images: Tensor<4>) -> Output {
    let [batch, height, width, channels] = images.dims();
    let windows = |kind, kernel, stride, padding| Pool { kind, channels, height, width, kernel, stride, padding };
    let pool = match op {
        Op::MaxPool(op) => windows(Kind::Max, op.kernel, op.stride, op.padding),
        Op::AveragePool(op) => windows(Kind::Average, op.kernel, op.stride, op.padding),
        Op::GlobalAveragePool(_) => Pool::global(Kind::Average, channels, height, width),
        _ => Pool::global(Kind::Max, channels, height, width),
    };
    let out = fused::pool(images, pool);
    match op {
        Op::MaxPool(_) | Op::AveragePool(_) => Output::ChannelsLast(out),
        _ => Output::Vector(out.reshape([batch, channels])),
    }
}

/// The largest number of each window.
pub(super) fn max(pool: &MaxPool, x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, max_options(pool))
}

/// The max-pool in Burn's terms.
pub(super) fn max_options(pool: &MaxPool) -> MaxPoolOptions<2> {
    MaxPoolOptions::new(pool.kernel).with_stride(pool.stride).with_padding(pool.padding)
}

/// The mean of each window.
pub(super) fn average(pool: &AveragePool, x: Tensor<4>) -> Tensor<4> {
    avg_pool2d(x, AvgPoolOptions::new(pool.kernel).with_stride(pool.stride).with_padding(pool.padding).with_count_include_pad(true))
}

/// The mean of each channel.
pub(super) fn global_average(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    avg_pool2d(x, AvgPoolOptions::new([height, width])).reshape([batch, channels])
}

/// The largest number of each channel.
pub(super) fn global_max(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    max_pool2d(x, MaxPoolOptions::new([height, width])).reshape([batch, channels])
}
