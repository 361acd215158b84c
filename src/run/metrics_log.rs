//! `metrics.jsonl`, with one line for each epoch and split.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::RunError;
use crate::atomic;
use crate::checksum::sha256;
use crate::error::{Error, WriteError};
use crate::train::Row;

/// Length and checksum of `metrics.jsonl` when a checkpoint was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct MetricsPrefix {
    /// The length in bytes.
    bytes: u64,
    /// The SHA-256.
    sha256: String,
}

impl MetricsPrefix {
    /// Length and checksum of the file now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            text => text?,
        };
        Ok(Self { bytes: text.len() as u64, sha256: sha256(&text) })
    }
}

/// Removes the rows after `prefix`, which the resumed run writes again.
pub(super) fn truncate(path: &Path, prefix: &MetricsPrefix) -> Result<(), Error> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(RunError::Read { path: path.to_owned(), source }.into()),
        Ok(text) => text,
    };
    match usize::try_from(prefix.bytes).ok().and_then(|bytes| text.get(..bytes)) {
        Some(rows) if sha256(rows) == prefix.sha256 => Ok(if rows.len() == text.len() { Ok(()) } else { atomic::write(path, rows) }?),
        _ => {
            let problem = "its rows before the last checkpoint have changed; restore the file".to_owned();
            Err(RunError::Damaged { path: path.to_owned(), problem }.into())
        }
    }
}

/// The rows before the first that is not whole. Empty without a file.
pub(super) fn read(path: &Path) -> Result<Vec<Row>, RunError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map_while(|line| serde_json::from_str(line).ok()).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(RunError::Read { path: path.to_owned(), source }),
    }
}

/// The length of the end of the file that has the rows of the last epoch.
const END: u64 = 1 << 16;

/// The rows of the last epoch. Only the end of the file is read. Empty without a file.
pub(super) fn read_last(path: &Path) -> Result<Vec<Row>, RunError> {
    let read = || {
        let mut file = File::open(path)?;
        let begin = file.metadata()?.len().saturating_sub(END);
        file.seek(SeekFrom::Start(begin))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        Ok(end)
    };
    match read() {
        Ok(end) => {
            // The first line may begin before.
            let rows = end.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Row>(line).ok());
            let rows: Vec<Row> = rows.collect();
            let last = rows.last().map(|row| row.epoch);
            Ok(rows.into_iter().filter(|row| Some(row.epoch) == last).collect())
        }
        Err(error) if io::Error::kind(&error) == ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(RunError::Read { path: path.to_owned(), source }),
    }
}

/// Appends rows.
pub(super) fn append(path: &Path, rows: &[Row]) -> Result<(), WriteError> {
    let write = || {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(lines(rows).as_bytes())?;
        file.sync_data()
    };
    write().map_err(WriteError::at(path))
}

/// For checkpoints of version 0.1.0, which have no [`MetricsPrefix`]: removes the rows after the first `epochs` epochs, and incomplete lines.
pub(super) fn truncate_to_epochs(path: &Path, epochs: u64) -> Result<(), Error> {
    if !path.exists() {
        return Ok(());
    }
    let rows: Vec<Row> = read(path)?.into_iter().filter(|row| row.epoch <= epochs).collect();
    Ok(atomic::write(path, lines(&rows).as_bytes())?)
}

fn lines(rows: &[Row]) -> String {
    let line = |row| serde_json::to_string(row).unwrap_or_else(|error| unreachable!("a row of numbers serializes: {error}"));
    rows.iter().map(|row| line(row) + "\n").collect()
}
