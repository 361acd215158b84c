//! Networks, and their weights under PyTorch's names and layouts.

mod cnn;
mod error;
mod init;
mod weights;

pub use cnn::{Architecture, Cnn};
pub use error::ModelError;
pub use weights::{Values, Weights, parameter_name};
