//! The product from outside: its numbers against PyTorch's, its commands, its files, its messages.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a test that can't run here says so")]

mod backends;
mod commands;
mod configs;
mod data;
mod determinism;
mod errors;
mod fetch;
mod gradients;
mod layering;
mod objective;
mod readme;
mod stopping;
mod support;
