//! The arguments of the commands that look at runs and sweeps.

use std::path::PathBuf;

use clap::Args;

use super::args::TableFormatArg;

/// The files for people that a training leaves besides its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Args)]
pub(super) struct FileArgs {
    /// Write no `report.html` at the end
    #[arg(long)]
    pub no_report: bool,
    /// Open the report in the browser at the end
    #[arg(long, conflicts_with = "no_report")]
    pub open: bool,
    /// Write no event file for TensorBoard; a sweep has one of the chosen trial, when it is trained again
    #[arg(long)]
    pub no_tensorboard: bool,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// A run folder, or the folder of a sweep; also of one that has not ended
    #[arg(value_name = "RUN_OR_SWEEP")]
    pub folder: PathBuf,
    /// The file to write [default: `report.html` in the folder]; `-`: standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Open it in the browser
    #[arg(long)]
    pub open: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RunsArgs {
    /// The folder to look into, at any depth
    #[arg(default_value = "artifacts")]
    pub folder: PathBuf,
    /// Sort by a column (run, kind, name, status, dataset, penalty, λ or lambda, epochs, split, loss, age), a metric such as `accuracy`, or a key of the config such
    /// as `optimizer.learning_rate`, from the smallest value [default: run]
    #[arg(long, value_name = "COLUMN")]
    pub sort: Option<String>,
    /// Sort from the largest value
    #[arg(long)]
    pub reverse: bool,
    /// Keep the runs with this text in their path, name, status, dataset or penalties, or with this value of a column, a metric or a key of the config; if given several
    /// times, all must hold
    #[arg(long, value_name = "TEXT|KEY=VALUE")]
    pub filter: Vec<String>,
    /// Print JSON lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Two or more run folders; paired differences are to the settings of the first
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// The format of the tables
    #[arg(long, value_enum, default_value_t = TableFormatArg::Text, conflicts_with = "json")]
    pub format: TableFormatArg,
    /// Also write one HTML file, with the curves of all runs; `-`: to standard output, and the tables to standard error
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print JSON lines
    #[arg(long)]
    pub json: bool,
}
