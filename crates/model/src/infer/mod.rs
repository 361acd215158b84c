//! Inference on the CPU: a [`Model`] takes numbers, a [`Predictor`] takes the bytes of images. Both compute the stages of [`fusion`](crate::fusion) on the
//! kernels of `regulus-kernels`, with the fastest vector instructions of the processor or those that the environment variable `REGULUS_SIMD` names.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use regulus_model::Artifact;
//! use regulus_model::infer::Predictor;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Written by `regulus export RUN --format safetensors`.
//! let predictor = Predictor::new(&Artifact::open(Path::new("digits.safetensors"))?)?;
//! // A grey image: one byte for each pixel, row by row. Of a colour image all red bytes come first, then green, then blue.
//! let image = vec![0_u8; predictor.input().size()];
//! let probabilities = &predictor.probabilities(&[&image])?[0];
//! for (class, probability) in predictor.classes().iter().zip(probabilities) {
//!     println!("{class}: {probability:.3}");
//! }
//! # Ok(())
//! # }
//! ```

mod error;
mod layer;
mod model;
mod predictor;
mod views;

pub use error::InferError;
pub use model::Model;
pub use predictor::{Predictor, probabilities};
pub use regulus_kernels::algorithm::Algorithm;
pub use views::Views;
