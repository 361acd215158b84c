//! Pools.

use burn::prelude::*;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use regulus_model::graph::{AveragePool, MaxPool};

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
