//! The arguments of `regulus export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::ModelArgs;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The format [default: by the extension of the output file, or safetensors]
    #[arg(long)]
    pub format: Option<FormatArg>,
    /// Export what a run measured for other programs, in place of its network
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["format", "checkpoint", "backend"])]
    pub to: Option<TrackerArg>,
    /// The file to write, with the extension of the format, .safetensors or .bpk [default: `model` in the run folder]; with `--to csv`, any file [default: `metrics.csv` in the run folder]; `-`: standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The address of the MLflow server, such as `http://localhost:5000` [default: `$MLFLOW_TRACKING_URI`]
    #[arg(long, value_name = "URI", requires = "to")]
    pub uri: Option<String>,
    /// The experiment on the MLflow server, which is created if it is missing [default: `$MLFLOW_EXPERIMENT_NAME`, or the name in the config]
    #[arg(long, value_name = "NAME", requires = "to")]
    pub experiment: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FormatArg {
    /// PyTorch's names and layouts
    Safetensors,
    /// Burn's format
    Burnpack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TrackerArg {
    /// A table with a line for each epoch and split
    Csv,
    /// A run on an MLflow server: settings, metrics, files and the network
    Mlflow,
    /// The event file of the run, if it was left out or removed
    Tensorboard,
}
