//! Tests from outside: numbers against PyTorch, commands, files and messages.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// Prints why a test is skipped, directly to standard error: the harness hides the output of passing tests.
macro_rules! say {
    ($($message:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($message)*);
    }};
}

mod augmentation;
mod backends;
mod buffers;
mod commands;
mod comparisons;
mod configs;
mod criteria;
mod data;
mod denoise;
mod determinism;
mod earlier_version;
mod efficientnet;
mod errors;
mod examples;
mod export_run;
mod extension;
mod fetch;
mod fine_tuning;
mod folders;
mod gradient_descent;
mod init;
mod interruption;
mod kept_checkpoint;
mod kernels;
mod layering;
mod layers;
mod manual_commands;
mod networks;
mod norms_and_steps;
mod objective;
mod objective_fixture;
mod own_penalties;
mod own_penalty_training;
mod penalties;
mod posterior;
mod precision;
mod readme;
mod reference;
mod refused_penalties;
mod report;
mod runs;
mod sessions;
mod shards;
mod stopping;
mod support;
mod sweep_cluster;
mod sweep_folder;
mod sweep_path;
mod sweep_search;
mod sweeps;
mod tensorboard;
mod terminal;
mod trained_network;
mod warnings;
