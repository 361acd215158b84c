//! What can be wrong with inference.

use regulus_kernels::simd::NoSuchPath;

use crate::graph::Features;

/// A model that can't be made, or images it can't take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// Weights of another network.
    #[error("the weights do not fit the network: {problem}")]
    Fit {
        /// The first tensor that is missing, extra or of another shape.
        problem: String,
    },
    /// Vector instructions that were asked for and that this processor does not have.
    #[error(transparent)]
    Path(#[from] NoSuchPath),
    /// Classes were asked of a network that gives images, or images of one that gives something else.
    #[error("the network gives {found}; expected {expected}")]
    Output {
        /// What it gives.
        found: Features,
        /// What was asked for.
        expected: &'static str,
    },
    /// An image of another size.
    #[error("image {number} has {found} bytes; expected {expected}, one for each pixel and channel, channel by channel")]
    Image {
        /// Which, from 0 on.
        number: usize,
        /// Its bytes.
        found: usize,
        /// Those of an image of the network's shape.
        expected: usize,
    },
}
