//! The product from outside: its numbers against PyTorch's, its commands, its files, its messages.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

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
