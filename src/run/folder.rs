//! Run folders: creation, opening, locking, reading and writing.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checkpoint::{self, LoadedCheckpoint};
use super::lock::LOCK;
use super::metrics_log::{self, MetricsPrefix};
use super::weights_log::{self, WeightsRow};
use super::{Manifest, RunError, lock};
use crate::atomic;
use crate::checksum::{compact_with_checksum, sha256, with_checksum, without_checksum};
use crate::clock;
use crate::config::{CheckpointKind, Experiment};
use crate::error::{Error, WriteError};
use crate::session::{Evaluation, Summary};
use crate::train::{Row, Snapshot};

const CONFIG: &str = "config.toml";
const MANIFEST: &str = "manifest.json";
const METRICS: &str = "metrics.jsonl";
const WEIGHTS: &str = "weights.jsonl";
const EVALUATION: &str = "evaluation.json";
const SUMMARY: &str = "summary.json";
const CHECKPOINTS: &str = "checkpoints";
/// The beginning of the name of an event file. TensorBoard finds it by that.
const EVENTS: &str = "events.out.tfevents.";
/// The plan of a sweep, whose folder is not one of a run.
pub(crate) const SWEEP: &str = "sweep.json";

/// A run folder.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The lock of the process that may write to the folder.
    lock: Option<File>,
}

impl RunFolder {
    /// Creates the folder of a new run: `dir`, or a folder named after the time in the folder of the experiment.
    ///
    /// # Errors
    ///
    /// When the folder has files or can't be written to.
    pub fn create(experiment: &Experiment, dir: Option<&Path>, manifest: &Manifest) -> Result<Self, Error> {
        let path = match dir {
            Some(dir) => dir.to_owned(),
            None => Self::create_named(&experiment.artifacts.join(&experiment.name))?,
        };
        std::fs::create_dir_all(&path).map_err(WriteError::at(&path))?;
        if !is_free(&path)? {
            return Err(RunError::Taken { path }.into());
        }
        let mut folder = Self { path, lock: None };
        folder.lock()?;
        // Another process may have created a run in it in the meantime.
        if folder.path.join(MANIFEST).exists() {
            return Err(RunError::Taken { path: folder.path }.into());
        }
        atomic::write(&folder.path.join(CONFIG), experiment.to_toml().as_bytes())?;
        folder.write_json(MANIFEST, manifest)?;
        Ok(folder)
    }

    /// Creates a new folder in `parent`, named after the time.
    fn create_named(parent: &Path) -> Result<PathBuf, WriteError> {
        std::fs::create_dir_all(parent).map_err(WriteError::at(parent))?;
        let id: String = clock::now().chars().filter(char::is_ascii_alphanumeric).collect();
        for number in 1_u32.. {
            let path = parent.join(if number == 1 { id.clone() } else { format!("{id}-{number}") });
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                created => return created.map(|()| path.clone()).map_err(WriteError::at(&path)),
            }
        }
        unreachable!("one of 2³² names is free")
    }

    /// Opens a run folder for reading.
    ///
    /// # Errors
    ///
    /// When it is missing or not a run folder.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        if path.join(SWEEP).is_file() {
            return Err(RunError::Sweep { path: path.to_owned() });
        }
        for missing in [CONFIG, MANIFEST] {
            if !path.join(missing).is_file() {
                return Err(RunError::NotARun { path: path.to_owned(), missing });
            }
        }
        Ok(Self { path: path.to_owned(), lock: None })
    }

    /// Locks the folder for writing, until this value is dropped or the process ends.
    ///
    /// # Errors
    ///
    /// When another process has the lock, or the folder can't be written to.
    pub fn lock(&mut self) -> Result<(), Error> {
        self.lock = Some(lock::lock(&self.path)?);
        Ok(())
    }

    /// Whether a training was stopped in the folder before it wrote what a run folder begins with.
    #[must_use]
    pub fn is_unbegun(path: &Path) -> bool {
        path.join(LOCK).is_file() && is_free(path).unwrap_or_default() && !lock::is_locked(path)
    }

    /// Whether a process has locked the folder, to train in it. Nothing is written.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        lock::is_locked(&self.path)
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that an output file is not a file of the run.
    ///
    /// # Errors
    ///
    /// When `path`, or the target of a link at `path`, is a file of the run.
    pub fn refuse_own(&self, path: &Path) -> Result<(), RunError> {
        let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
        let (run, target) = (real(&self.path), atomic::target(path).unwrap_or_else(|_| path.to_owned()));
        let folder = target.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or_else(|| real(Path::new(".")), real);
        let is_file = folder == run
            && target.file_name().is_some_and(|file| {
                let files = [CONFIG, MANIFEST, METRICS, WEIGHTS, EVALUATION, SUMMARY, LOCK];
                files.iter().any(|name| file == *name) || file.to_string_lossy().starts_with(EVENTS)
            });
        if is_file || folder.starts_with(run.join(CHECKPOINTS)) {
            return Err(RunError::Own { path: path.to_owned() });
        }
        Ok(())
    }

    /// The experiment. `data_dir`: the new folder of the data, if they were moved.
    ///
    /// # Errors
    ///
    /// When `config.toml` was changed since the run began, or the manifest is damaged.
    pub fn experiment(&self, data_dir: Option<&Path>) -> Result<Experiment, Error> {
        let path = self.path.join(CONFIG);
        let text = std::fs::read(&path).map_err(|source| RunError::Read { path: path.clone(), source })?;
        if !self.manifest()?.has_config(&sha256(&text)) {
            return Err(RunError::OtherConfig { path }.into());
        }
        let mut experiment = Experiment::load(&path, &[])?;
        if let Some(dir) = data_dir {
            experiment.data.dir = Some(dir.to_owned());
        }
        Ok(experiment)
    }

    /// The manifest.
    ///
    /// # Errors
    ///
    /// When `manifest.json` is damaged.
    pub fn manifest(&self) -> Result<Manifest, RunError> {
        self.read_json(MANIFEST)
    }

    /// The summary. Returns `None` if the run has not ended.
    ///
    /// # Errors
    ///
    /// When `summary.json` is damaged.
    pub fn summary(&self) -> Result<Option<Summary>, RunError> {
        if self.path.join(SUMMARY).exists() { self.read_json(SUMMARY).map(Some) } else { Ok(None) }
    }

    /// Writes the summary.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn write_summary(&self, summary: &Summary) -> Result<(), WriteError> {
        self.write_json(SUMMARY, summary)
    }

    /// The evaluation of the kept network. Returns `None` if the run has not ended, or was trained by an earlier version.
    ///
    /// # Errors
    ///
    /// When `evaluation.json` is damaged.
    pub fn evaluation(&self) -> Result<Option<Evaluation>, RunError> {
        if self.path.join(EVALUATION).exists() { self.read_json(EVALUATION).map(Some) } else { Ok(None) }
    }

    /// Writes the evaluation of the kept network.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn write_evaluation(&self, evaluation: &Evaluation) -> Result<(), WriteError> {
        atomic::write(&self.path.join(EVALUATION), compact_with_checksum(evaluation).as_bytes())
    }

    /// Writes config and manifest of an extended run. Each file is replaced in one step. A kill between two of them leaves a valid run that can be
    /// extended again.
    ///
    /// # Errors
    ///
    /// When a file can't be written.
    pub fn extend(&self, experiment: &Experiment, manifest: &Manifest) -> Result<(), WriteError> {
        for name in [SUMMARY, EVALUATION] {
            let path = self.path.join(name);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(WriteError { path, source: error }),
                _ => {}
            }
        }
        self.write_json(MANIFEST, manifest)?;
        atomic::write(&self.path.join(CONFIG), experiment.to_toml().as_bytes())
    }

    /// Appends rows to `metrics.jsonl`.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn append_metrics(&self, rows: &[Row]) -> Result<(), WriteError> {
        metrics_log::append(&self.path.join(METRICS), rows)
    }

    /// Removes the rows after a checkpoint: those after `prefix`, or, for a checkpoint of version 0.1.0, those after the first `epochs` epochs.
    ///
    /// # Errors
    ///
    /// When `metrics.jsonl` can't be read or written, or its rows before the checkpoint have changed.
    pub fn truncate_metrics(&self, prefix: Option<&MetricsPrefix>, epochs: u64) -> Result<(), Error> {
        let path = self.path.join(METRICS);
        match prefix {
            Some(prefix) => metrics_log::truncate(&path, prefix),
            None => metrics_log::truncate_to_epochs(&path, epochs),
        }
    }

    /// The rows of `metrics.jsonl`, until the first that is not whole.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn metrics(&self) -> Result<Vec<Row>, RunError> {
        metrics_log::read(&self.path.join(METRICS))
    }

    /// The rows of the last epoch in `metrics.jsonl`. Only the end of the file is read.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn last_metrics(&self) -> Result<Vec<Row>, RunError> {
        metrics_log::read_last(&self.path.join(METRICS))
    }

    /// Appends a row to `weights.jsonl`.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn append_weights(&self, row: &WeightsRow) -> Result<(), WriteError> {
        weights_log::append(&self.path.join(WEIGHTS), row)
    }

    /// The rows of `weights.jsonl`, until the first that is not whole. Empty in runs of earlier versions.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn weights(&self) -> Result<Vec<WeightsRow>, RunError> {
        weights_log::read(&self.path.join(WEIGHTS))
    }

    /// Removes the rows of `weights.jsonl` after `epoch`. Returns a warning if rows before are lost.
    ///
    /// # Errors
    ///
    /// When it can't be read or written.
    pub fn truncate_weights(&self, epoch: u64) -> Result<Option<String>, Error> {
        weights_log::truncate(&self.path.join(WEIGHTS), epoch)
    }

    /// The event file of a run that began, or was last extended, `seconds` after 1970.
    #[must_use]
    pub fn event_file(&self, seconds: f64) -> PathBuf {
        self.path.join(format!("{EVENTS}{seconds:010.0}.regulus"))
    }

    /// Removes the event files that are not `current`: those before an extension.
    ///
    /// # Errors
    ///
    /// When one can't be removed.
    pub fn remove_other_event_files(&self, current: &Path) -> Result<(), WriteError> {
        let is_other = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with(EVENTS) && name.ends_with(".regulus") && path != current
        };
        let entries = std::fs::read_dir(&self.path).map_err(WriteError::at(&self.path))?;
        let others = entries.flatten().map(|entry| entry.path()).filter(is_other);
        others.into_iter().try_for_each(|path| std::fs::remove_file(&path).map_err(WriteError::at(&path)))
    }

    /// Saves a checkpoint.
    ///
    /// # Errors
    ///
    /// When it can't be written. The previous one is unchanged.
    pub fn save(&self, kind: CheckpointKind, snapshot: &Snapshot) -> Result<(), WriteError> {
        let metrics = self.path.join(METRICS);
        let prefix = MetricsPrefix::of(&metrics).map_err(WriteError::at(&metrics))?;
        checkpoint::save(&self.path.join(CHECKPOINTS), kind, snapshot, &prefix)
    }

    /// Loads a checkpoint. `None`: the one that `train.keep` selects; the last if the run was interrupted before its first best checkpoint.
    ///
    /// # Errors
    ///
    /// When there is no such checkpoint, or it and the previous one are damaged.
    pub fn load(&self, kind: Option<CheckpointKind>) -> Result<LoadedCheckpoint, RunError> {
        let folder = self.path.join(CHECKPOINTS);
        let order = match kind {
            Some(kind) => vec![kind],
            None => match self.manifest()?.keep {
                Some(CheckpointKind::Last) => vec![CheckpointKind::Last],
                Some(CheckpointKind::Best) | None => vec![CheckpointKind::Best, CheckpointKind::Last],
            },
        };
        for kind in &order {
            if let Some(loaded) = checkpoint::load(&folder, *kind)? {
                return Ok(loaded);
            }
        }
        let (which, hint) = match kind {
            Some(CheckpointKind::Best) => {
                ("best", "; it has no validation split, or was cut off in its first epoch; there may be a `last`")
            }
            _ => ("last", "; it ended or was cut off before the first"),
        };
        Err(RunError::NoCheckpoint { path: self.path.clone(), which, hint })
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, RunError> {
        let path = self.path.join(name);
        let bytes = std::fs::read(&path).map_err(|source| RunError::Read { path: path.clone(), source })?;
        let checked = without_checksum(&bytes)
            .map_err(|problem| RunError::Damaged { path: path.clone(), problem: format!("{problem}; restore the file") })?;
        serde_json::from_value(checked).map_err(|error| RunError::Damaged { path, problem: error.to_string() })
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), WriteError> {
        atomic::write(&self.path.join(name), with_checksum(value).as_bytes())
    }
}

/// Whether a run can be created in the folder: it is empty, or has only the files of a run that was interrupted before its manifest was written. The
/// lock is the first file of a run, so a config without a lock is a file of the user.
fn is_free(path: &Path) -> Result<bool, WriteError> {
    let entries = std::fs::read_dir(path).map_err(WriteError::at(path))?;
    let names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let has_lock = names.iter().any(|name| name == LOCK);
    let temporary = [CONFIG, MANIFEST].map(|name| format!(".{name}."));
    let is_leftover = |name: &String| name == LOCK || name == CONFIG || temporary.iter().any(|prefix| name.starts_with(prefix));
    Ok(names.is_empty() || has_lock && names.iter().all(is_leftover))
}
