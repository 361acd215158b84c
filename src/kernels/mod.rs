//! Fast paths for CPUs, on slices: what the training step spends its time in, each with its gradient.
//!
//! They know nothing of tensors; the `backend` module makes Burn operations of them, for both CPU backends. The same source is compiled
//! for each set of vector instructions, and [`simd`] picks one when the program runs. Work is split the same way on any number of threads, so
//! that sums are the same bits.

pub mod conv;
pub mod cross_entropy;
pub mod dense;
pub mod image;
mod scratch;
pub mod simd;
pub mod squares;
pub mod update;
