//! Inference on the CPU.
mod error;
mod layer;
mod model;
mod predictor;

pub use error::InferError;
pub use model::Model;
pub use predictor::{Predictor, probabilities};
