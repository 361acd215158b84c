//! The kernels against loops that say what they compute.

mod bf16;
mod conv;
mod conv2d;
mod convolve;
mod dense;
mod epilogue;
mod numbers;
mod pool;
mod update;
mod winograd;
