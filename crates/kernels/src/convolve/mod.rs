//! Convolution by itself, of any kernel, stride, padding and groups, with its gradients.
//!
//! Images are channels-last, `[image, row, column, channel]`. An output is a sum in an order that follows from the convolution alone, so that it is the same bits in
//! every batch and on any number of threads. [`winograd`](crate::winograd) computes 3×3 kernels of many channels faster.

mod convolution;
mod depthwise;
mod forward;
mod image_gradient;
mod patches;
mod weight_gradient;

pub use convolution::Convolution;
pub use forward::{PackedWeights, forward};
pub use image_gradient::image_gradient;
pub use weight_gradient::weight_gradient;
