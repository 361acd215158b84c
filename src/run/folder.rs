//! Making, opening and locking a run folder.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checkpoint::{self, Loaded};
use super::metrics_log::{self, Mark};
use super::{Manifest, RunError, Summary};
use crate::atomic;
use crate::checksum::{sha256, with_checksum, without_checksum};
use crate::clock;
use crate::config::{CheckpointKind, Experiment};
use crate::error::{Error, WriteError};
use crate::train::{Row, Snapshot};

const CONFIG: &str = "config.toml";
const MANIFEST: &str = "manifest.json";
const METRICS: &str = "metrics.jsonl";
const SUMMARY: &str = "summary.json";
const CHECKPOINTS: &str = "checkpoints";
const LOCK: &str = "lock";

/// A run folder.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held for as long as this process may write to it.
    lock: Option<File>,
}

impl RunFolder {
    /// Makes the folder of a new run: `dir`, or one named after the time under the experiment's name.
    ///
    /// # Errors
    ///
    /// When it holds files already, or can't be written to.
    pub fn create(experiment: &Experiment, dir: Option<&Path>, manifest: &Manifest) -> Result<Self, Error> {
        let path = match dir {
            Some(dir) => dir.to_owned(),
            None => Self::fresh(&experiment.artifacts.join(&experiment.name))?,
        };
        std::fs::create_dir_all(&path).map_err(WriteError::at(&path))?;
        if !is_free(&path)? {
            return Err(RunError::Taken { path }.into());
        }
        let mut folder = Self { path, lock: None };
        folder.lock()?;
        // Another process may have made a run in it, and ended, since.
        if folder.path.join(MANIFEST).exists() {
            return Err(RunError::Taken { path: folder.path }.into());
        }
        atomic::write(&folder.path.join(CONFIG), experiment.to_toml().as_bytes())?;
        folder.write_json(MANIFEST, manifest)?;
        Ok(folder)
    }

    /// A folder under `parent` that no other process has taken.
    fn fresh(parent: &Path) -> Result<PathBuf, WriteError> {
        std::fs::create_dir_all(parent).map_err(WriteError::at(parent))?;
        let id: String = clock::now().chars().filter(char::is_ascii_alphanumeric).collect();
        for number in 1_u32.. {
            let path = parent.join(if number == 1 { id.clone() } else { format!("{id}-{number}") });
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                created => return created.map(|()| path.clone()).map_err(WriteError::at(&path)),
            }
        }
        unreachable!("a name is free among 2³²")
    }

    /// Opens the folder of a run, to read.
    ///
    /// # Errors
    ///
    /// When it is not there or is no run folder.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        for missing in [CONFIG, MANIFEST] {
            if !path.join(missing).is_file() {
                return Err(RunError::NotARun { path: path.to_owned(), missing });
            }
        }
        Ok(Self { path: path.to_owned(), lock: None })
    }

    /// Takes the folder for writing, until this value is dropped or the process ends.
    ///
    /// # Errors
    ///
    /// When another process has it, or it can't be written to.
    pub fn lock(&mut self) -> Result<(), Error> {
        let path = self.path.join(LOCK);
        let file = File::create(&path).map_err(WriteError::at(&path))?;
        match file.try_lock() {
            Ok(()) => {
                self.lock = Some(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => Err(RunError::InUse { path: self.path.clone() }.into()),
            Err(TryLockError::Error(source)) => Err(WriteError { path, source }.into()),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses to write over a file that the run lives by.
    ///
    /// # Errors
    ///
    /// When `path`, or what it links to, is one of them.
    pub fn refuse_own(&self, path: &Path) -> Result<(), RunError> {
        let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
        let (run, target) = (real(&self.path), atomic::target(path).unwrap_or_else(|_| path.to_owned()));
        let folder = target.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or_else(|| real(Path::new(".")), real);
        let is_file =
            folder == run && [CONFIG, MANIFEST, METRICS, SUMMARY, LOCK].iter().any(|own| target.file_name() == Some(own.as_ref()));
        if is_file || folder.starts_with(run.join(CHECKPOINTS)) {
            return Err(RunError::Own { path: path.to_owned() });
        }
        Ok(())
    }

    /// The experiment, with its data in `data_dir` if they have moved there.
    ///
    /// # Errors
    ///
    /// When `config.toml` is not what the run began with, or the manifest is damaged.
    pub fn experiment(&self, data_dir: Option<&Path>) -> Result<Experiment, Error> {
        let path = self.path.join(CONFIG);
        let text = std::fs::read(&path).map_err(|source| RunError::Read { path: path.clone(), source })?;
        if !self.manifest()?.knows_config(&sha256(&text)) {
            return Err(RunError::OtherConfig { path }.into());
        }
        let mut experiment = Experiment::load(&path, &[])?;
        if let Some(dir) = data_dir {
            experiment.data.dir = Some(dir.to_owned());
        }
        Ok(experiment)
    }

    /// What the run is.
    ///
    /// # Errors
    ///
    /// When `manifest.json` is damaged.
    pub fn manifest(&self) -> Result<Manifest, RunError> {
        self.read_json(MANIFEST)
    }

    /// How the run ended, if it did.
    ///
    /// # Errors
    ///
    /// When `summary.json` is damaged.
    pub fn summary(&self) -> Result<Option<Summary>, RunError> {
        if self.path.join(SUMMARY).exists() { self.read_json(SUMMARY).map(Some) } else { Ok(None) }
    }

    /// Writes how the run ended.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn write_summary(&self, summary: &Summary) -> Result<(), WriteError> {
        self.write_json(SUMMARY, summary)
    }

    /// Records that the run is trained on as `experiment` says. Each file is replaced in one step, in an order in which a kill between two of them leaves
    /// a run that can be used and extended again.
    ///
    /// # Errors
    ///
    /// When one can't be written.
    pub fn extend(&self, experiment: &Experiment, manifest: &Manifest) -> Result<(), WriteError> {
        let summary = self.path.join(SUMMARY);
        match std::fs::remove_file(&summary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(WriteError { path: summary, source: error }),
            _ => {}
        }
        self.write_json(MANIFEST, manifest)?;
        atomic::write(&self.path.join(CONFIG), experiment.to_toml().as_bytes())
    }

    /// Adds rows to `metrics.jsonl`.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn append_metrics(&self, rows: &[Row]) -> Result<(), WriteError> {
        metrics_log::append(&self.path.join(METRICS), rows)
    }

    /// Drops the rows that are not of a checkpoint, given as `mark`; of a run of before there were marks, those after the first `epochs` epochs.
    ///
    /// # Errors
    ///
    /// When `metrics.jsonl` can't be read or written, or its rows of before the checkpoint are not those it was saved with.
    pub fn keep_metrics(&self, mark: Option<&Mark>, epochs: u64) -> Result<(), Error> {
        let path = self.path.join(METRICS);
        match mark {
            Some(mark) => metrics_log::keep_marked(&path, mark),
            None => metrics_log::keep(&path, epochs),
        }
    }

    /// Commits a checkpoint.
    ///
    /// # Errors
    ///
    /// When it can't be written; the one before it is untouched.
    pub fn save(&self, which: CheckpointKind, snapshot: &Snapshot) -> Result<(), WriteError> {
        let metrics = self.path.join(METRICS);
        let mark = Mark::of(&metrics).map_err(WriteError::at(&metrics))?;
        checkpoint::save(&self.path.join(CHECKPOINTS), which, snapshot, &mark)
    }

    /// Reads a checkpoint: the one asked for, or the one the run keeps. Where the run keeps the best and was cut off before it had one, the last.
    ///
    /// # Errors
    ///
    /// When there is none, or both it and the one before it are damaged.
    pub fn load(&self, which: Option<CheckpointKind>) -> Result<Loaded, RunError> {
        let folder = self.path.join(CHECKPOINTS);
        let order = match which {
            Some(which) => vec![which],
            None => match self.manifest()?.keep {
                Some(CheckpointKind::Last) => vec![CheckpointKind::Last],
                Some(CheckpointKind::Best) | None => vec![CheckpointKind::Best, CheckpointKind::Last],
            },
        };
        for which in &order {
            if let Some(loaded) = checkpoint::load(&folder, *which)? {
                return Ok(loaded);
            }
        }
        let (which, hint) = match which {
            Some(CheckpointKind::Best) => ("best", "; it has no validation part, or was cut off in its first epoch; there may be a `last`"),
            _ => ("last", "; it ended or was cut off before the first"),
        };
        Err(RunError::NoCheckpoint { path: self.path.clone(), which, hint })
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, RunError> {
        let path = self.path.join(name);
        let bytes = std::fs::read(&path).map_err(|source| RunError::Read { path: path.clone(), source })?;
        let checked = without_checksum(&bytes).map_err(|problem| RunError::Damaged { path: path.clone(), problem })?;
        serde_json::from_value(checked).map_err(|error| RunError::Damaged { path, problem: error.to_string() })
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), WriteError> {
        atomic::write(&self.path.join(name), with_checksum(value).as_bytes())
    }
}

/// Whether a run can begin in the folder: it is empty, or has only what a start that was cut off before its manifest leaves. The lock is the first
/// file of a run, so that a config of one's own is no such thing.
fn is_free(path: &Path) -> Result<bool, WriteError> {
    let entries = std::fs::read_dir(path).map_err(WriteError::at(path))?;
    let names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let has_lock = names.iter().any(|name| name == LOCK);
    let aside = [CONFIG, MANIFEST].map(|name| format!(".{name}."));
    let is_left = |name: &String| name == LOCK || name == CONFIG || aside.iter().any(|aside| name.starts_with(aside));
    Ok(names.is_empty() || has_lock && names.iter().all(is_left))
}
