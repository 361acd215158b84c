//! The kernels against loops that say what they compute.

mod batch_norm;
mod conv;
mod convolve;
mod dense;
mod numbers;
mod pointwise;
mod pool;
mod update;
mod winograd;
