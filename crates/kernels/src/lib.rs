//! Fast paths for CPUs, on slices: what the training step spends its time in, each with its gradient; and elementwise operations for
//! inference ([`pointwise`]).
//!
//! They know nothing of tensors; `regulus` makes Burn operations of them, and `regulus-model` runs a trained network on them. The same source is compiled
//! for each set of vector instructions, and [`simd`] picks one when the program runs. Work is split the same way on any number of threads, so
//! that sums are the same bits. Where a function takes a number of threads, 1 keeps it on the caller's thread; with more it uses those of rayon's current
//! pool.

#![expect(clippy::inline_always, reason = "what is not built into a function with vector instructions is compiled without them")]
#![expect(clippy::needless_range_loop, reason = "counted loops over registers are unrolled")]
#![expect(clippy::many_single_char_names, reason = "the letters of the papers")]

pub mod algorithm;
pub mod bf16;
mod blocks;
pub mod buffers;
pub mod conv;
pub mod conv2d;
pub mod convolve;
pub mod cross_entropy;
pub mod dense;
pub mod epilogue;
mod fill;
pub mod gelu;
pub mod groups;
pub mod image;
pub mod moments;
pub mod norms;
mod panels;
pub mod pointwise;
pub mod pool;
pub mod proximal;
mod registers;
mod row;
mod scratch;
pub mod simd;
mod split;
pub mod squares;
mod strided;
pub mod update;
pub mod winograd;
