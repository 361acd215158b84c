//! Networks, and their weights under PyTorch's names and layouts.

mod error;
mod init;
mod network;
mod weights;

pub use error::ModelError;
pub use network::{Architecture, Network};
pub use weights::{Parameter, Values, Weights, parameter_name};
