//! The checkpoint of a training that has not ended.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::config::CheckpointKind;
use crate::error::{Error, WriteError};
use crate::run::{RunError, load_checkpoint, save_checkpoint};
use crate::train::{Best, Row, Snapshot, Split};

/// The time between two checkpoints.
const EVERY: Duration = Duration::from_secs(30);

/// The record.
const RECORD: &str = "record.json";

/// The rows of the last epoch, and the validation loss after each.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) rows: Vec<Row>,
    pub(super) curve: Vec<f64>,
}

impl Record {
    /// Adds an epoch.
    pub(super) fn add(&mut self, rows: &[Row]) {
        self.rows = rows.to_vec();
        self.curve.extend(rows.iter().find(|row| row.split == Split::Validation).map(|row| row.data_loss));
    }

    /// The record until the end of `epoch`.
    fn until(mut self, epoch: u64) -> Self {
        self.rows.retain(|row| row.epoch <= epoch);
        self.curve.truncate(usize::try_from(epoch).unwrap_or(usize::MAX));
        self
    }
}

/// Where a training saves its state: rarely, as most trainings are short.
#[derive(Debug)]
pub(super) struct FitCheckpoint {
    folder: PathBuf,
    saved: Instant,
    best: Option<Snapshot>,
}

impl FitCheckpoint {
    /// A checkpoint in `folder`, which need not exist.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, saved: Instant::now(), best: None }
    }

    /// The last saved state, the best network until then, and the record. Returns `None` without a checkpoint, and for a damaged one, which is
    /// removed: the training begins anew.
    ///
    /// # Errors
    ///
    /// When it can't be read or removed.
    pub(super) fn load(&mut self) -> Result<Option<(Snapshot, Option<Best>, Record)>, Error> {
        match self.try_load() {
            Err(RunError::Damaged { .. }) => {
                Self::remove(&self.folder)?;
                Ok(None)
            }
            loaded => Ok(loaded?),
        }
    }

    fn try_load(&mut self) -> Result<Option<(Snapshot, Option<Best>, Record)>, RunError> {
        let load = |kind| load_checkpoint(&self.folder, kind);
        let Some(last) = load(CheckpointKind::Last)? else { return Ok(None) };
        let best = if last.state.best_epoch.is_some() { load(CheckpointKind::Best)? } else { None };
        let path = self.folder.join(RECORD);
        let bytes = std::fs::read(&path).map_err(|source| RunError::Read { path: path.clone(), source })?;
        let record: Record = serde_json::from_slice(&bytes).map_err(|error| RunError::Damaged { path, problem: error.to_string() })?;
        // A kill between two files may leave the record of a later epoch, which is trained again.
        let record = record.until(last.state.epoch);
        let of_best = best.as_ref().map(Best::from);
        self.best = best;
        Ok(Some((last, of_best, record)))
    }

    /// Takes a state. Saves it if `is_last`, or if the last save is a while ago.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub(super) fn take(&mut self, snapshot: &Snapshot, is_best: bool, record: &Record, is_last: bool) -> Result<(), WriteError> {
        if is_best {
            self.best = Some(snapshot.clone());
        }
        if is_last || self.saved.elapsed() >= EVERY {
            // The last state needs the others, so that it is written last. If they are newer than it, they are found again.
            if let Some(best) = &self.best {
                save_checkpoint(&self.folder, CheckpointKind::Best, best)?;
            }
            std::fs::create_dir_all(&self.folder).map_err(WriteError::at(&self.folder))?;
            let record = serde_json::to_vec(record).unwrap_or_else(|error| unreachable!("numbers and words serialize: {error}"));
            atomic::write(&self.folder.join(RECORD), &record)?;
            save_checkpoint(&self.folder, CheckpointKind::Last, snapshot)?;
            self.saved = Instant::now();
        }
        Ok(())
    }

    /// Removes a checkpoint.
    ///
    /// # Errors
    ///
    /// When it can't be removed.
    pub(super) fn remove(folder: &Path) -> Result<(), WriteError> {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(WriteError { path: folder.to_owned(), source: error }),
            _ => Ok(()),
        }
    }
}
