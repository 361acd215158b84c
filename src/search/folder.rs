//! The folder of a sweep.
//!
//! ```text
//! sweep.json       the plan
//! trainings.json   of a planned sweep: the trainings by index, and in `configs/` the config of each
//! fits/            the result of each training, written when it has ended, and checkpoints of those that have not
//! locks/           while it runs: a lock for each training, so that several processes can share the folder
//! journal.log      the trials that have ended, for Optuna
//! trials.csv       one line for each training
//! study.json       the comparison of the trials, the choice, and the result of the chosen one
//! refit/           the run of the chosen trial on all images but the test split
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fit_checkpoint::FitCheckpoint;
use super::training_lock::LEFT_BEHIND;
use super::{Fit, FitResult, FitState, Plan, Study};
use crate::atomic;
use crate::checksum::{with_checksum, without_checksum};
use crate::error::{Error, WriteError};
use crate::run::{LOCK, RunError, SWEEP, is_locked, lock};

const PLAN: &str = SWEEP;
const FITS: &str = "fits";
const LOCKS: &str = "locks";
const JOURNAL: &str = "journal.log";
const TRIALS: &str = "trials.csv";
const STUDY: &str = "study.json";
const REFIT: &str = "refit";

/// The folder of a sweep.
#[derive(Debug)]
pub struct SweepFolder {
    path: PathBuf,
    /// The lock of the process that may write what belongs to the whole sweep. `None`: it only trains, as others may.
    _lock: Option<File>,
}

impl SweepFolder {
    /// Creates the folder of a new sweep.
    ///
    /// # Errors
    ///
    /// When the folder has files or can't be written to.
    pub fn create(path: &Path, plan: &Plan) -> Result<Self, Error> {
        let fits = path.join(FITS);
        std::fs::create_dir_all(path).map_err(WriteError::at(path))?;
        if !is_free(path).map_err(WriteError::at(path))? {
            return Err(RunError::Taken { path: path.to_owned() }.into());
        }
        let lock = lock(path)?;
        // Another process may have made a sweep in it in the meantime.
        if Self::is_sweep(path) {
            return Err(RunError::Taken { path: path.to_owned() }.into());
        }
        std::fs::create_dir_all(&fits).map_err(WriteError::at(&fits))?;
        atomic::write(&path.join(PLAN), with_checksum(plan).as_bytes())?;
        Ok(Self { path: path.to_owned(), _lock: Some(lock) })
    }

    /// As [`SweepFolder::create`], with a new folder in `parent` named after the time.
    ///
    /// # Errors
    ///
    /// When it can't be written to.
    pub(super) fn create_named(parent: &Path, time: &str, plan: &Plan) -> Result<Self, Error> {
        let time: String = time.chars().filter(char::is_ascii_alphanumeric).collect();
        std::fs::create_dir_all(parent).map_err(WriteError::at(parent))?;
        for number in 1_u32.. {
            let path = parent.join(if number == 1 { format!("sweep-{time}") } else { format!("sweep-{time}-{number}") });
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(WriteError { path, source }.into()),
                Ok(()) => return Self::create(&path, plan),
            }
        }
        unreachable!("one of 2³² names is free")
    }

    /// Whether `path` is the folder of a sweep.
    #[must_use]
    pub fn is_sweep(path: &Path) -> bool {
        path.join(PLAN).is_file()
    }

    /// Whether a process trains in the folder of a sweep. Nothing is written.
    #[must_use]
    pub fn is_in_use(path: &Path) -> bool {
        // Its owner writes the lock of a training every few seconds.
        let is_fresh = |entry: std::fs::DirEntry| {
            let age = entry.metadata().ok()?.modified().ok()?.elapsed().unwrap_or(Duration::ZERO);
            Some(age < LEFT_BEHIND)
        };
        let locks = || std::fs::read_dir(path.join(LOCKS)).into_iter().flatten().flatten();
        is_locked(path) || locks().any(|entry| is_fresh(entry).unwrap_or(false))
    }

    /// Whether a training has ended or left a checkpoint.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        std::fs::read_dir(self.path.join(FITS)).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Opens the folder of a sweep to go on with it.
    ///
    /// # Errors
    ///
    /// When another process has it, or its plan is damaged.
    pub fn open(path: &Path) -> Result<(Self, Plan), Error> {
        let lock = lock(path)?;
        Ok((Self { path: path.to_owned(), _lock: Some(lock) }, read_plan(path)?))
    }

    /// Opens the folder of a sweep to train single trainings of it, beside other processes.
    ///
    /// # Errors
    ///
    /// When its plan is missing or damaged.
    pub fn open_shared(path: &Path) -> Result<(Self, Plan), Error> {
        Ok((Self { path: path.to_owned(), _lock: None }, read_plan(path)?))
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The journal.
    pub(super) fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    /// The folder of the run of the chosen trial.
    #[must_use]
    pub fn refit(&self) -> PathBuf {
        self.path.join(REFIT)
    }

    /// The results of the fits that have ended or are paused. A checkpoint that a kill left of one that has ended is removed.
    ///
    /// # Errors
    ///
    /// When a file is damaged.
    pub fn results(&self, plan: &Plan) -> Result<BTreeMap<Fit, FitResult>, Error> {
        let mut results = BTreeMap::new();
        for fit in plan.fits() {
            let Some(result) = self.result(&fit)? else { continue };
            if result.state != FitState::Paused {
                self.remove_checkpoint(&fit)?;
            }
            results.insert(fit, result);
        }
        Ok(results)
    }

    /// The result of a fit. Returns `None` if it has not ended and is not paused.
    ///
    /// # Errors
    ///
    /// When its file is damaged.
    pub fn result(&self, fit: &Fit) -> Result<Option<FitResult>, Error> {
        const REMEDY: &str = "remove it to repeat this training";
        let path = self.path.join(FITS).join(fit.file_name());
        if !path.is_file() {
            return Ok(None);
        }
        let result: FitResult = read(&path, REMEDY)?;
        if result.fit != *fit {
            let other = Path::new(&result.fit.file_name()).with_extension("");
            let problem = format!("it is the result of another training, `{}`; {REMEDY}", other.display());
            return Err(RunError::Damaged { path, problem }.into());
        }
        Ok(Some(result))
    }

    /// Creates the folder of the results, if it is missing.
    ///
    /// # Errors
    ///
    /// When it can't be made.
    pub(super) fn create_fits(&self) -> Result<(), WriteError> {
        let fits = self.path.join(FITS);
        std::fs::create_dir_all(&fits).map_err(WriteError::at(&fits))
    }

    /// Writes the result of a fit, and removes its checkpoint unless it is paused.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn write_result(&self, result: &FitResult) -> Result<(), WriteError> {
        self.write_json(&Path::new(FITS).join(result.fit.file_name()), result)?;
        if result.state == FitState::Paused { Ok(()) } else { self.remove_checkpoint(&result.fit) }
    }

    /// Writes the plan with further trials.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub(super) fn write_plan(&self, plan: &Plan) -> Result<(), WriteError> {
        self.write_json(Path::new(PLAN), plan)
    }

    /// Removes the checkpoint of a fit that has ended.
    ///
    /// # Errors
    ///
    /// When it can't be removed.
    pub(super) fn remove_checkpoint(&self, fit: &Fit) -> Result<(), WriteError> {
        FitCheckpoint::remove(&self.checkpoint(fit))
    }

    /// The file with the last weights of a fit of a path.
    pub(super) fn weights(&self, fit: &Fit) -> PathBuf {
        self.path.join(FITS).join(fit.file_name()).with_extension("safetensors")
    }

    /// Removes the weights of all fits.
    ///
    /// # Errors
    ///
    /// When one can't be removed.
    pub(super) fn remove_weights(&self, plan: &Plan) -> Result<(), WriteError> {
        plan.fits().iter().try_for_each(|fit| {
            let path = self.weights(fit);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(WriteError { path, source: error }),
                _ => Ok(()),
            }
        })
    }

    /// The lock of a training.
    pub(super) fn training_lock(&self, fit: &Fit) -> PathBuf {
        self.path.join(LOCKS).join(fit.file_name()).with_extension("lock")
    }

    /// The folder of the checkpoint of a fit that has not ended.
    pub(super) fn checkpoint(&self, fit: &Fit) -> PathBuf {
        self.path.join(FITS).join(fit.file_name()).with_extension("checkpoint")
    }

    /// The comparison of all trials. Returns `None` if trainings are missing.
    ///
    /// # Errors
    ///
    /// When `study.json` is damaged.
    pub fn study(&self) -> Result<Option<Study>, Error> {
        let path = self.path.join(STUDY);
        if path.is_file() { read(&path, "`regulus resume` writes it again").map(Some) } else { Ok(None) }
    }

    /// Checks that an output file is not a file of the sweep.
    ///
    /// # Errors
    ///
    /// When `path` is one.
    pub fn refuse_own(&self, path: &Path) -> Result<(), RunError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let is_here = folder.canonicalize().ok() == self.path.canonicalize().ok();
        let own = [PLAN, JOURNAL, TRIALS, STUDY, LOCK, "trainings.json"];
        let is_own = is_here && own.iter().any(|name| path.file_name() == Some(name.as_ref()));
        if is_own { Err(RunError::OfSweep { path: path.to_owned() }) } else { Ok(()) }
    }

    /// Writes `trials.csv` and `study.json`.
    ///
    /// # Errors
    ///
    /// When they can't be written.
    pub fn write_study(&self, study: &Study, trials: &str) -> Result<(), WriteError> {
        self.write_trials(trials)?;
        self.write_study_json(study)
    }

    /// Writes `study.json`.
    pub(super) fn write_study_json(&self, study: &Study) -> Result<(), WriteError> {
        self.write_json(Path::new(STUDY), study)
    }

    /// Writes `trials.csv`.
    pub(super) fn write_trials(&self, trials: &str) -> Result<(), WriteError> {
        atomic::write(&self.path.join(TRIALS), trials.as_bytes())
    }

    fn write_json(&self, name: &Path, value: &impl Serialize) -> Result<(), WriteError> {
        atomic::write(&self.path.join(name), with_checksum(value).as_bytes())
    }
}

/// Whether a sweep can be created in the folder: it is empty, or has only what a kill before the plan was written left.
fn is_free(path: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_left =
            name == LOCK || name.starts_with(&format!(".{PLAN}.")) || (name == FITS && std::fs::read_dir(entry.path())?.next().is_none());
        if !is_left {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read_plan(path: &Path) -> Result<Plan, Error> {
    read(&path.join(PLAN), "restore the file, or begin a new sweep")
}

/// Reads a file. `remedy` says what to do if it is damaged.
pub(super) fn read<T: DeserializeOwned>(path: &Path, remedy: &str) -> Result<T, Error> {
    let bytes = std::fs::read(path).map_err(|source| RunError::Read { path: path.to_owned(), source })?;
    let damaged = |problem: String| RunError::Damaged { path: path.to_owned(), problem: format!("{problem}; {remedy}") };
    let content = without_checksum(&bytes).map_err(damaged)?;
    serde_json::from_value(content).map_err(|error| damaged(error.to_string()).into())
}
