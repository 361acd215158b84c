//! The arguments of `regulus sweep` and its subcommands.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::{SweepArgs, TableFormatArg};
use super::report_args::FileArgs;
use crate::search::{Volume, container_image, cpus, memory, variable};

/// `regulus sweep CONFIG`, or one of the subcommands.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct SweepCommandArgs {
    #[command(subcommand)]
    pub command: Option<SweepCommand>,
    #[command(flatten)]
    pub sweep: SweepArgs,
}

/// The options of a sweep that `sweep plan` does not take.
const OF_ONE_PROCESS: [&str; 8] = ["tpe", "path", "pruner", "jobs", "format", "open", "no_report", "no_tensorboard"];

#[derive(Debug, Subcommand)]
pub(super) enum SweepCommand {
    /// Write the plan of a sweep and a config for each training, for several machines
    // What is hidden is for a sweep in one process, and refused.
    #[command(mut_args(|arg| if OF_ONE_PROCESS.contains(&arg.get_id().as_str()) { arg.hide(true) } else { arg }))]
    Plan(SweepArgs),
    /// Train one training of a sweep; several can run on the same folder
    Run(RunArgs),
    /// Compare the results of a sweep whose trainings have all ended, and train the chosen trial again
    Collect(CollectArgs),
    /// Write batch scripts for Slurm: an array job that trains what is missing, and a job that collects
    Slurm(SlurmArgs),
    /// Write the manifest of an indexed Job for Kubernetes
    Kubernetes(KubernetesArgs),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The folder of the sweep
    pub sweep: PathBuf,
    /// The training, from 0 [default: `$SLURM_ARRAY_TASK_ID`, or else `$JOB_COMPLETION_INDEX`]
    #[arg(long, value_name = "I")]
    pub index: Option<usize>,
    /// Print JSON lines to standard output, and no progress
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CollectArgs {
    /// The folder of the sweep
    pub sweep: PathBuf,
    /// The format of the table of trials
    #[arg(long, value_enum, default_value_t = TableFormatArg::Text, conflicts_with = "json")]
    pub format: TableFormatArg,
    #[command(flatten)]
    pub files: FileArgs,
    /// Print JSON lines to standard output, and no progress
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct SlurmArgs {
    /// The folder of the sweep, which all nodes must have at the same path
    pub sweep: PathBuf,
    /// Submit the array with `sbatch`, and the collecting job to run after it
    #[arg(long)]
    pub submit: bool,
    /// The largest number of trainings at once [default: as many as Slurm allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrency: Option<u32>,
    /// The partition
    #[arg(long, value_name = "NAME")]
    pub partition: Option<String>,
    /// The time limit of each job, such as `2:00:00` or `1-12`, at least 3 minutes. 90 seconds before its end a training saves its state and is queued again
    #[arg(long, value_name = "TIME")]
    pub time: Option<String>,
    /// The CPUs of each training
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub cpus_per_task: u32,
    /// Another option of sbatch, such as `--sbatch-option=--gres=gpu:1`; can be given several times
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub sbatch_option: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct KubernetesArgs {
    /// The folder of the sweep
    pub sweep: PathBuf,
    /// The container image, which has the program `regulus`
    #[arg(long, value_parser = container_image)]
    pub image: String,
    /// A persistent volume claim and where to mount it, such as `results=/work`; can be given several times. One must have the folder of the sweep
    #[arg(long, value_name = "CLAIM=PATH", required = true, value_parser = Volume::parse)]
    pub volume_claim: Vec<Volume>,
    /// The folder of the sweep in the container [default: its path here]
    #[arg(long, value_name = "DIR")]
    pub container_dir: Option<PathBuf>,
    /// The largest number of trainings at once
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrency: u32,
    /// The CPUs of each training, such as `2` or `500m`
    #[arg(long, value_name = "CPUS", value_parser = cpus)]
    pub cpus: Option<String>,
    /// The memory of each training, such as `2Gi`
    #[arg(long, value_name = "MEMORY", value_parser = memory)]
    pub memory: Option<String>,
    /// An environment variable, such as `REGULUS_DATA=/data`; can be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// The file to write [default: `kubernetes.json` in the folder of the sweep]; `-`: standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
