//! `metrics.jsonl`: one line for each epoch and split.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::RunError;
use crate::atomic;
use crate::checksum::sha256;
use crate::error::{Error, WriteError};
use crate::train::Row;

/// What a checkpoint knows of the rows that were there when it was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Their bytes.
    bytes: u64,
    /// Their SHA-256.
    sha256: String,
}

impl Mark {
    /// The mark of all rows there are.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            text => text?,
        };
        Ok(Self { bytes: text.len() as u64, sha256: sha256(&text) })
    }
}

/// Keeps the rows that a checkpoint was saved with; what comes after them is about to be written again.
pub(super) fn keep_marked(path: &Path, mark: &Mark) -> Result<(), Error> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(RunError::Read { path: path.to_owned(), source }.into()),
        Ok(text) => text,
    };
    match usize::try_from(mark.bytes).ok().and_then(|bytes| text.get(..bytes)) {
        Some(rows) if sha256(rows) == mark.sha256 => Ok(if rows.len() == text.len() { Ok(()) } else { atomic::write(path, rows) }?),
        _ => {
            let problem = "its rows are not those the last checkpoint was saved with; put the file back as it was".to_owned();
            Err(RunError::Damaged { path: path.to_owned(), problem }.into())
        }
    }
}

/// Adds rows at the end.
pub(super) fn append(path: &Path, rows: &[Row]) -> Result<(), WriteError> {
    let write = || {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(lines(rows).as_bytes())?;
        file.sync_data()
    };
    write().map_err(WriteError::at(path))
}

/// For runs of before checkpoints marked their rows: keeps the rows of the first `epochs` epochs; a later epoch is about to be trained again, and a half-written line belongs to one.
pub(super) fn keep(path: &Path, epochs: u64) -> Result<(), Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(RunError::Read { path: path.to_owned(), source }.into()),
    };
    let rows: Vec<Row> = text.lines().map_while(|line| serde_json::from_str(line).ok()).filter(|row: &Row| row.epoch <= epochs).collect();
    Ok(atomic::write(path, lines(&rows).as_bytes())?)
}

fn lines(rows: &[Row]) -> String {
    let line = |row| serde_json::to_string(row).unwrap_or_else(|error| unreachable!("a row of numbers serializes: {error}"));
    rows.iter().map(|row| line(row) + "\n").collect()
}
