//! Convolution, bias, ReLU and 2×2 max-pool as one operation.
//!
//! The forward pass computes only the positions that pooling looks at, and keeps of the four values of a pool only the largest and which
//! of them it was. The backward pass visits only that one position, and only where ReLU let it through: at most a quarter of what a
//! convolution's own backward pass computes. Over 8 input channels or more, a position that gets no gradient adds nothing, even where its
//! input is not finite.

mod backward;
mod forward;
mod patch_gradient;
mod sparse;
mod weights;
mod winograd;

pub use backward::{Gradients, backward};
pub use forward::forward;
pub use weights::ConvWeights;

/// The argmax of a pool: 0 to 3 is the position of the largest value (row-major), 4 says that ReLU let none through.
pub type ArgMax = u8;

/// The value of a pool where ReLU let nothing through.
const NONE: ArgMax = 4;
