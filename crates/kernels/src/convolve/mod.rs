//! Convolution by itself, of any kernel, stride, padding and groups.
//!
//! Images are `[image, channel, row, column]`. An image is computed by products of matrices whose sizes follow from the convolution alone, so that its
//! numbers are the same bits in every batch and on any number of threads.

mod backward;
mod blocks;
mod convolution;
mod depthwise;
mod planes;

pub use backward::{image_gradient, weight_gradient};
pub use convolution::{Convolution, Weights, forward};
