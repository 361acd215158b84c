//! Convolution, bias, ReLU and 2×2 max-pool as one operation.
//!
//! The forward pass computes only the positions that are pooled, and stores of the four values of a pool the largest and its index. The backward
//! pass visits only that one position, and only where its value is positive: at most a quarter of what a convolution's own backward pass computes.
//! With 8 input channels or more, a position that gets no gradient adds nothing, even where its input is not finite.

mod backward;
mod forward;
mod patch_gradient;
mod sparse;
mod weights;
mod winograd;

pub use backward::{Gradients, Saved, backward};
pub use forward::{Pooled, forward, forward_with_argmax};
pub use weights::ConvWeights;

/// The argmax of a pool: 0 to 3 is the index of the largest value (row-major), 4 says that ReLU made it 0.
pub type ArgMax = u8;

/// The argmax of a pool whose output ReLU made 0.
const NONE: ArgMax = 4;
