//! The library's error type and the exit codes it maps to.

use std::path::{Path, PathBuf};

use regulus_model::ModelError;

use crate::backend::BackendError;
use crate::config::ConfigError;
use crate::data::DataError;
use crate::run::RunError;
use crate::train::Diverged;

/// The exit codes of the command line. They do not change between versions.
pub mod exit_code {
    /// Done.
    pub const DONE: u8 = 0;
    /// Unexpected failure, such as a full disk; trainings of a sweep that are missing.
    pub const FAILURE: u8 = 1;
    /// Bad command line or config.
    pub const USAGE: u8 = 2;
    /// Bad or missing data, image or model file.
    pub const DATA: u8 = 3;
    /// Training diverged: a loss or weight is not finite.
    pub const DIVERGED: u8 = 4;
    /// Interrupted after saving; `regulus resume` continues.
    pub const INTERRUPTED: u8 = 75;
}

/// Any failure of a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A config that can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A backend or device that can't be used.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Data that can't be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Weights that can't be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Weights to start from that can't be used.
    #[error(
        "`model.init` can't be used; expected \"imagenet\" for `efficientnet_lite0`, a run folder, or a safetensors file with the weights of this network"
    )]
    InitialWeights(#[source] Box<Self>),
    /// A run folder that can't be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Training diverged: a loss or weight is not finite.
    #[error(transparent)]
    Diverged(#[from] Diverged),
    /// A file that can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A snapshot that can't be continued from, as text.
    #[error("the snapshot does not fit: {0}")]
    Snapshot(String),
    /// The run was interrupted by a signal, after saving.
    #[error("interrupted after saving; go on with `regulus resume {}`", .0.display())]
    Interrupted(PathBuf),
    /// A training of a sweep was interrupted by a signal, after saving.
    #[error("interrupted after saving; go on with `regulus sweep run {} --index {index}`", path.display())]
    InterruptedTraining {
        /// The folder of the sweep.
        path: PathBuf,
        /// The index of the training.
        index: usize,
    },
    /// A sweep of which some trainings have not ended.
    #[error("{missing} of {total} trainings have not ended: {indexes}; train each with `regulus sweep run {} --index I`, or all of them here with `regulus resume {}`", path.display(), path.display())]
    MissingTrainings {
        /// The folder of the sweep.
        path: PathBuf,
        /// The number of missing trainings.
        missing: usize,
        /// The number of all trainings.
        total: usize,
        /// The indexes of the missing ones, such as `3,7-9`.
        indexes: String,
    },
    /// Another program that failed.
    #[error("`{program}` has failed: {problem}")]
    Program {
        /// The program.
        program: &'static str,
        /// The problem, and what to do.
        problem: String,
    },
    /// A server that can't be reached, or refuses a request.
    #[error("the MLflow server `{uri}` {problem}")]
    Server {
        /// The address of the server.
        uri: String,
        /// The problem, as the end of a sentence, and what to do.
        problem: String,
    },
    /// A sweep in which no trial can be ranked: none was completed, or the criterion is not defined or unreliable for all.
    #[error("no trial was completed with a loss that ranks it; `{}` says why{}", path.display(), if *is_unreliable { ". Try larger values of λ, or `--criterion evidence`" } else { "" })]
    NoTrial {
        /// The file with the message of each training.
        path: PathBuf,
        /// Whether a training diverged.
        has_diverged: bool,
        /// Whether a leave-one-out loss is unreliable, as it is where λ is small.
        is_unreliable: bool,
    },
    /// Another mistake in the command line, as text.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// The exit code of a command that fails with this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Backend(_) | Self::Usage(_) | Self::NoTrial { has_diverged: false, .. } => exit_code::USAGE,
            Self::Data(_) | Self::Model(_) | Self::Snapshot(_) => exit_code::DATA,
            Self::Run(error) => error.exit_code(),
            Self::InitialWeights(error) => error.exit_code(),
            Self::Diverged(_) | Self::NoTrial { has_diverged: true, .. } => exit_code::DIVERGED,
            Self::Write(_) | Self::MissingTrainings { .. } | Self::Program { .. } | Self::Server { .. } => exit_code::FAILURE,
            Self::Interrupted(_) | Self::InterruptedTraining { .. } => exit_code::INTERRUPTED,
        }
    }
}

/// A file that can't be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`", path.display())]
pub struct WriteError {
    /// The file or folder.
    pub path: PathBuf,
    /// The I/O error.
    pub source: std::io::Error,
}

impl WriteError {
    /// A function that adds `path` to an I/O error.
    pub fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { path, source }
    }
}
