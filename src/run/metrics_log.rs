//! `metrics.jsonl`: one line for each epoch and split.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use super::RunError;
use crate::atomic;
use crate::error::{Error, WriteError};
use crate::train::Row;

/// Adds rows at the end.
pub(super) fn append(path: &Path, rows: &[Row]) -> Result<(), WriteError> {
    let write = || {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(lines(rows).as_bytes())?;
        file.sync_data()
    };
    write().map_err(WriteError::at(path))
}

/// Keeps the rows of the first `epochs` epochs; a later epoch is about to be trained again, and a half-written line belongs to one.
pub(super) fn keep(path: &Path, epochs: u64) -> Result<(), Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(RunError::Read { path: path.to_owned(), source }.into()),
    };
    let rows: Vec<Row> = text.lines().map_while(|line| serde_json::from_str(line).ok()).filter(|row: &Row| row.epoch <= epochs).collect();
    Ok(atomic::write(path, lines(&rows).as_bytes())?)
}

fn lines(rows: &[Row]) -> String {
    let line = |row| serde_json::to_string(row).unwrap_or_else(|error| unreachable!("a row of numbers serializes: {error}"));
    rows.iter().map(|row| line(row) + "\n").collect()
}
