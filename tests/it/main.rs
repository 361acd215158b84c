//! The product from outside: its numbers against PyTorch's, its commands, its files, its messages.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// Says why a test can't run here, past the harness, which keeps what a passing test prints to itself.
macro_rules! say {
    ($($told:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($told)*);
    }};
}

mod backends;
mod commands;
mod configs;
mod data;
mod determinism;
mod errors;
mod extending;
mod fetch;
mod folders;
mod gradients;
mod init;
mod interruption;
mod keeping;
mod kernels;
mod layering;
mod layers;
mod norms_and_steps;
mod objective;
mod older;
mod penalties;
mod readme;
mod reference;
mod stopping;
mod support;
mod terminal;
mod using;
mod warnings;
