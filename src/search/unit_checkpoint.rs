//! The checkpoint of a unit that has not ended.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::atomic;
use crate::config::CheckpointKind;
use crate::error::{Error, WriteError};
use crate::run::{RunError, load_checkpoint, save_checkpoint};
use crate::train::{Best, Row, Snapshot};

/// The time between two checkpoints.
const EVERY: Duration = Duration::from_secs(30);

/// The rows of the last epoch.
const ROWS: &str = "rows.json";

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

    /// The last saved state, the best network until then, and the rows of the last epoch. Returns `None` without a checkpoint, and for a damaged one, which is
    /// removed: the unit begins anew.
    ///
    /// # Errors
    ///
    /// When it can't be read or removed.
    #[expect(clippy::type_complexity, reason = "what a session is resumed from")]
    pub(super) fn load(&mut self) -> Result<Option<(Snapshot, Option<Best>, Vec<Row>)>, Error> {
        match self.try_load() {
            Err(RunError::Damaged { .. }) => {
                Self::remove(&self.folder)?;
                Ok(None)
            }
            loaded => Ok(loaded?),
        }
    }

    #[expect(clippy::type_complexity, reason = "what a session is resumed from")]
    fn try_load(&mut self) -> Result<Option<(Snapshot, Option<Best>, Vec<Row>)>, RunError> {
        let load = |kind| load_checkpoint(&self.folder, kind);
        let Some(last) = load(CheckpointKind::Last)? else { return Ok(None) };
        let best = if last.state.best_epoch.is_some() { load(CheckpointKind::Best)? } else { None };
        let path = self.folder.join(ROWS);
        let bytes = std::fs::read(&path).map_err(|source| RunError::Read { path: path.clone(), source })?;
        let rows: Vec<Row> = serde_json::from_slice(&bytes).map_err(|error| RunError::Damaged { path, problem: error.to_string() })?;
        // A kill between two files may leave rows of a later epoch, which is trained again.
        let rows = rows.into_iter().filter(|row| row.epoch <= last.state.epoch).collect();
        let of_best = best.as_ref().map(Best::from);
        self.best = best;
        Ok(Some((last, of_best, rows)))
    }

    /// Takes a state. Saves it if `is_last`, or if the last save is a while ago.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub(super) fn take(&mut self, snapshot: &Snapshot, is_best: bool, rows: &[Row], is_last: bool) -> Result<(), WriteError> {
        if is_best {
            self.best = Some(snapshot.clone());
        }
        if is_last || self.saved.elapsed() >= EVERY {
            // The last state needs the others, so that it is written last. If they are newer than it, they are found again.
            if let Some(best) = &self.best {
                save_checkpoint(&self.folder, CheckpointKind::Best, best)?;
            }
            std::fs::create_dir_all(&self.folder).map_err(WriteError::at(&self.folder))?;
            let rows = serde_json::to_vec(rows).unwrap_or_else(|error| unreachable!("numbers and words serialize: {error}"));
            atomic::write(&self.folder.join(ROWS), &rows)?;
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
