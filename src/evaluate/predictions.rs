//! Files of predictions, with one line for each sample.

use std::path::{Path, PathBuf};

use super::SamplePrediction;
use crate::atomic;
use crate::error::{Error, WriteError};

/// A file of predictions: CSV with a header, or JSON lines. Both have the fields of [`SamplePrediction`].
pub struct PredictionsFile {
    path: PathBuf,
    lines: Lines,
}

enum Lines {
    Csv(Box<csv::Writer<Vec<u8>>>),
    Json(Vec<u8>),
}

impl PredictionsFile {
    /// A file without predictions. Creates its folder. A pipe or device with another extension gets CSV.
    ///
    /// # Errors
    ///
    /// When the extension is neither `.csv` nor `.jsonl`, or the folder can't be created.
    pub fn new(path: &Path) -> Result<Self, Error> {
        let lines = match path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => Lines::Csv(Box::new(csv::Writer::from_writer(Vec::new()))),
            Some("jsonl" | "ndjson") => Lines::Json(Vec::new()),
            _ if atomic::is_special(path) => Lines::Csv(Box::new(csv::Writer::from_writer(Vec::new()))),
            _ => {
                let message = format!("`{}` must end in `.csv` or, for JSON lines, in `.jsonl`", path.display());
                return Err(Error::Usage(message));
            }
        };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(WriteError::at(parent))?;
        }
        Ok(Self { path: path.to_owned(), lines })
    }

    /// Adds a line.
    pub fn add(&mut self, prediction: &SamplePrediction) {
        let added = match &mut self.lines {
            Lines::Csv(writer) => writer.serialize(prediction).map_err(|error| error.to_string()),
            Lines::Json(bytes) => {
                let added = serde_json::to_writer(&mut *bytes, prediction).map_err(|error| error.to_string());
                bytes.push(b'\n');
                added
            }
        };
        added.unwrap_or_else(|error| unreachable!("strings and numbers serialize to memory: {error}"));
    }

    /// Writes the file in one step.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn write(self) -> Result<(), WriteError> {
        let bytes = match self.lines {
            Lines::Csv(writer) => writer.into_inner().unwrap_or_else(|error| unreachable!("it is written to memory: {error}")),
            Lines::Json(bytes) => bytes,
        };
        atomic::write(&self.path, &bytes)
    }
}
