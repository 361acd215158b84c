//! Inference against the kernels called one by one, and against loops that say what each operation computes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod by_definition;
mod networks;
mod predictor;
mod reference_cnn;
mod weights;
