//! Trained networks without Burn: what they are made of, their weights, and inference on the CPU.
//!
//! [`graph`] describes a network as data, [`networks`] builds the ones that have names, [`weights`] are its numbers under PyTorch's names and layouts,
//! [`preprocess`] says how an image becomes its input, [`infer`] computes, and [`artifact`] is all of it in one file.

pub mod artifact;
mod error;
pub mod fusion;
pub mod graph;
pub mod infer;
pub mod networks;
pub mod preprocess;
mod shape;
pub mod spelling;
pub mod weights;

pub use artifact::{Artifact, Description, Task};
pub use error::ModelError;
pub use graph::Graph;
pub use shape::{Features, Shape};
pub use weights::{Values, Weights};
