//! What can be wrong with a run folder.

use std::path::PathBuf;

use crate::error::exit_code;

/// A run folder that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It is not there, or is no run folder.
    #[error("`{}` is not a run folder: it has no `{missing}`", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// The file it lacks.
        missing: &'static str,
    },
    /// It holds a run already.
    #[error("`{}` already holds files; choose an empty or new folder, or go on with the run in it: `regulus resume {}`", path.display(), path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// Another process is training in it.
    #[error("run `{}` is in use by another process; wait for it or stop it", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file of it can't be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of it does not hold what it should.
    #[error("`{}` is damaged: {problem}", path.display())]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// There is no such checkpoint.
    #[error("run `{}` has no checkpoint `{which}`{hint}", path.display())]
    NoCheckpoint {
        /// The run.
        path: PathBuf,
        /// `last` or `best`.
        which: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// The data are not those the run was begun with.
    #[error("the data have changed since run `{}` began: their SHA-256 was {expected} and is {found}; put the old data back, or start a new run", path.display())]
    OtherData {
        /// The run.
        path: PathBuf,
        /// Then.
        expected: String,
        /// Now.
        found: String,
    },
    /// Its config is not the one it was begun with.
    #[error("`{}` was changed since the run began; put it back, or train a new run with it: `regulus train {}`", path.display(), path.display())]
    OtherConfig {
        /// The file.
        path: PathBuf,
    },
    /// It can't be trained on to so many epochs.
    #[error("run `{}` can't be trained on to {epochs} epochs: {problem}", path.display())]
    Extension {
        /// The run.
        path: PathBuf,
        /// Epochs in all.
        epochs: u64,
        /// Why not, and what to do.
        problem: String,
    },
    /// It ended, and there is nothing to go on with.
    #[error("run `{}` diverged and would diverge again; start a new run with a smaller learning rate or lambda", path.display())]
    Ended {
        /// The run.
        path: PathBuf,
    },
}

impl RunError {
    /// The exit code of the command it ends.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::OtherConfig { .. }
            | Self::NotARun { .. }
            | Self::Taken { .. }
            | Self::InUse { .. }
            | Self::NoCheckpoint { .. }
            | Self::Extension { .. }
            | Self::Ended { .. } => exit_code::USAGE,
            Self::Read { .. } | Self::Damaged { .. } | Self::OtherData { .. } => exit_code::DATA,
        }
    }
}
