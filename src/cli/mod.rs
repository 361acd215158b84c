//! The command line. Only this module prints.

mod args;
mod backends;
mod bar;
mod check;
mod compare;
mod completions;
mod confusion;
mod data;
mod evaluate;
mod experiment_text;
mod export;
mod export_args;
mod export_run;
mod init;
mod man;
mod own_images;
mod predict;
mod print;
mod progress;
mod report;
mod report_args;
mod runs;
mod runs_table;
mod search_args;
mod study;
mod summary;
mod sweep;
mod sweep_args;
mod sweep_cluster;
mod table;
mod table_format;
mod train;
mod tui;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

use crate::error::Error;

/// Parses the command line and runs the command. Prints an error and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Init(args) => init::init(&args),
        Command::Train(args) => train::train(&args),
        Command::Resume(args) => train::resume(&args),
        Command::Sweep(args) => sweep::sweep_or(&args),
        Command::Evaluate(args) => evaluate::evaluate(&args),
        Command::Report(args) => report::report(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::Runs(args) => runs::runs(&args),
        Command::Predict(args) => predict::predict(&args),
        Command::Export(args) => export::export(&args),
        Command::Check(args) => check::check(&args),
        Command::Data { command } => data::data(command),
        Command::Backends { json } => backends::backends(json),
        Command::Completions { shell } => completions::completions(shell),
        Command::Man { dir } => man::man(dir.as_deref()),
    }
}
