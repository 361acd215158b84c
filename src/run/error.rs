//! Errors of run folders.

use std::path::{Path, PathBuf};

use crate::error::exit_code;

/// A run folder that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder is missing or not a run folder.
    #[error("`{}` is not a run folder: it has no `{missing}`", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// The missing file.
        missing: &'static str,
    },
    /// A training was stopped before it wrote what a run folder begins with.
    #[error("`{}` holds no run yet: its training was stopped before it began; give its `regulus train` command again", path.display())]
    Unbegun {
        /// The folder.
        path: PathBuf,
    },
    /// Neither a run folder nor the folder of a sweep.
    #[error("`{}` is neither a run folder nor the folder of a sweep: it has no `{missing}`", path.display())]
    Neither {
        /// The folder.
        path: PathBuf,
        /// The missing file.
        missing: &'static str,
    },
    /// The folder of a new run has files.
    #[error("`{}` already holds files; choose an empty or new folder, or go on with the run in it: `regulus resume {}`", path.display(), path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of the last training of a sweep has other files.
    #[error("`{}` holds files that are not of this sweep; move them away, then go on with `regulus resume {}`", path.display(), sweep.display())]
    TakenRefit {
        /// The folder.
        path: PathBuf,
        /// The sweep.
        sweep: PathBuf,
    },
    /// Another process is training in it.
    #[error("`{}` is in use by another process; wait for it or stop it", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Another process has this training of a sweep.
    #[error("{training} of `{}` is being trained by {owner}; wait for it or stop it", sweep.display())]
    TrainingInUse {
        /// The training in words.
        training: String,
        /// The folder of the sweep.
        sweep: PathBuf,
        /// The process.
        owner: String,
    },
    /// An output file is a file of the run.
    #[error("`{}` belongs to the run; write to another file", path.display())]
    Own {
        /// The file.
        path: PathBuf,
    },
    /// An output file is a file of the sweep.
    #[error("`{}` belongs to the sweep; write to another file", path.display())]
    OfSweep {
        /// The file.
        path: PathBuf,
    },
    /// A file of the run can't be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: std::io::Error,
    },
    /// A file of the run is damaged.
    #[error("`{}` is damaged: {problem}", path.display())]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The run has no such checkpoint.
    #[error("run `{}` has no checkpoint `{which}`{hint}", path.display())]
    NoCheckpoint {
        /// The run.
        path: PathBuf,
        /// `last` or `best`.
        which: &'static str,
        /// An explanation.
        hint: &'static str,
    },
    /// The data have changed since the run began.
    #[error("the data have changed since run `{}` began: their SHA-256 was {expected} and is {found}; put the old data back, or start a new run", path.display())]
    OtherData {
        /// The run.
        path: PathBuf,
        /// The SHA-256 at the beginning.
        expected: String,
        /// The SHA-256 now.
        found: String,
    },
    /// The penalties are not those of the run.
    #[error("run `{}` has the penalties {expected}, not {found}; resume it with a program that adds the same penalties that are not built in", path.display())]
    OtherPenalties {
        /// The run.
        path: PathBuf,
        /// The penalties of the run.
        expected: String,
        /// The penalties now.
        found: String,
    },
    /// The folder of a sweep.
    #[error("`{}` is the folder of a sweep; {}", path.display(), way_to_refit(path))]
    Sweep {
        /// The folder.
        path: PathBuf,
    },
    /// A penalty has another λ than in the run.
    #[error("run `{}` can't be resumed with another λ: {problem}", path.display())]
    OtherLambda {
        /// The run.
        path: PathBuf,
        /// The penalty and both λ.
        problem: String,
    },
    /// Runs that are compared have other tasks.
    #[error("`{}` is a run of {}, `{}` one of {}; compare runs of the same task", paths[0].display(), tasks[0], paths[1].display(), tasks[1])]
    OtherTask {
        /// Both runs.
        paths: [PathBuf; 2],
        /// The task of each.
        tasks: [&'static str; 2],
    },
    /// The config has changed since the run began.
    #[error("`{}` was changed since the run began; put it back, or train a new run with it: `regulus train {}`", path.display(), path.display())]
    OtherConfig {
        /// The file.
        path: PathBuf,
    },
    /// The run can't be extended to this number of epochs.
    #[error("run `{}` can't be trained on to {epochs} epochs: {problem}", path.display())]
    Extension {
        /// The run.
        path: PathBuf,
        /// The total number of epochs.
        epochs: u64,
        /// The reason and a remedy.
        problem: String,
    },
    /// The run diverged.
    #[error("run `{}` diverged and would diverge again; start a new run with a smaller learning rate or lambda", path.display())]
    Diverged {
        /// The run.
        path: PathBuf,
    },
}

impl RunError {
    /// The exit code of a command that fails with this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::OtherConfig { .. }
            | Self::OtherPenalties { .. }
            | Self::OtherLambda { .. }
            | Self::OtherTask { .. }
            | Self::Sweep { .. }
            | Self::NotARun { .. }
            | Self::Neither { .. }
            | Self::Taken { .. }
            | Self::TakenRefit { .. }
            | Self::Own { .. }
            | Self::OfSweep { .. }
            | Self::InUse { .. }
            | Self::Unbegun { .. }
            | Self::NoCheckpoint { .. }
            | Self::Extension { .. }
            | Self::Diverged { .. } => exit_code::USAGE,
            // The other process may end, and then it works.
            Self::TrainingInUse { .. } => exit_code::INTERRUPTED,
            Self::Read { .. } | Self::Damaged { .. } | Self::OtherData { .. } => exit_code::DATA,
        }
    }
}

/// Where the run of a sweep is.
fn way_to_refit(sweep: &Path) -> String {
    let refit = sweep.join("refit");
    if refit.exists() {
        return format!("use the run of the chosen trial, `{}`", refit.display());
    }
    format!("it has no chosen trial yet; `regulus resume {}` goes on with it", sweep.display())
}
