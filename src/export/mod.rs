//! Exports of trained networks for other programs.

mod burnpack;
mod metrics_csv;
mod safetensors;

use std::path::Path;

pub use metrics_csv::write_metrics_csv;

use crate::error::{Error, WriteError};
use crate::trained::Trained;

/// The export formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Safetensors, with PyTorch's names and layouts.
    Safetensors,
    /// Burnpack, Burn's format, with Burn's names and layouts.
    Burnpack,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Safetensors, Self::Burnpack];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Burnpack => "burnpack",
        }
    }

    /// The format for the extension of `path`. Returns `None` if `path` has no extension.
    ///
    /// # Errors
    ///
    /// When the extension is unknown.
    pub fn of(path: &Path) -> Result<Option<Self>, Error> {
        let Some(end) = path.extension() else { return Ok(None) };
        let found = Self::ALL.into_iter().find(|format| end.eq_ignore_ascii_case(format.extension()));
        found.map(Some).ok_or_else(|| {
            let known = Self::ALL.map(|format| format!("`.{}` ({})", format.extension(), format.name())).join(" or ");
            Error::Usage(format!("`{}` ends in `.{}`; expected {known}", path.display(), end.display()))
        })
    }

    /// The extension.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Burnpack => "bpk",
        }
    }
}

/// Writes `trained` to `path` in one step.
///
/// # Errors
///
/// When the file can't be written.
pub fn export(trained: &Trained, format: Format, path: &Path) -> Result<(), Error> {
    Ok(crate::atomic::write(path, &bytes(trained, format, path)?)?)
}

/// The content of the file at `path`.
pub(crate) fn bytes(trained: &Trained, format: Format, path: &Path) -> Result<Vec<u8>, WriteError> {
    match format {
        Format::Safetensors => Ok(safetensors::bytes(trained)),
        Format::Burnpack => burnpack::bytes(trained).map_err(|source| WriteError { path: path.to_owned(), source }),
    }
}
