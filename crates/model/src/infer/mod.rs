//! Inference on the CPU.
