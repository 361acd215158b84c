//! The checkpoint of a unit that has not ended.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::CheckpointKind;
use crate::error::{Error, WriteError};
use crate::run::{load_checkpoint, save_checkpoint};
use crate::train::{Best, Snapshot};

/// The time between two checkpoints.
const EVERY: Duration = Duration::from_secs(30);

/// Where a unit saves its state: rarely, as most units are short.
#[derive(Debug)]
pub(super) struct UnitCheckpoint {
    folder: PathBuf,
    saved: Instant,
    best: Option<Snapshot>,
}

impl UnitCheckpoint {
    /// A checkpoint in `folder`, which need not exist.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, saved: Instant::now(), best: None }
    }

    /// The last saved state and the best network until then. Returns `None` without one.
    ///
    /// # Errors
    ///
    /// When it is damaged.
    pub(super) fn load(&mut self) -> Result<Option<(Snapshot, Option<Best>)>, Error> {
        let load = |kind| load_checkpoint(&self.folder, kind);
        let Some(last) = load(CheckpointKind::Last)? else { return Ok(None) };
        self.best = if last.state.best_epoch.is_some() { load(CheckpointKind::Best)? } else { None };
        let best = self.best.as_ref().map(Best::from);
        Ok(Some((last, best)))
    }

    /// Takes a state. Saves it if `is_last`, or if the last save is a while ago.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub(super) fn take(&mut self, snapshot: &Snapshot, is_best: bool, is_last: bool) -> Result<(), WriteError> {
        if is_best {
            self.best = Some(snapshot.clone());
        }
        if is_last || self.saved.elapsed() >= EVERY {
            // The last state needs the best one, so that is written first. One that is newer than the last state does no harm: it is found again.
            if let Some(best) = &self.best {
                save_checkpoint(&self.folder, CheckpointKind::Best, best)?;
            }
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
