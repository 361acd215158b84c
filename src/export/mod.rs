//! Trained networks for other programs.

mod burnpack;
mod safetensors;

use std::path::Path;

use crate::error::{Error, WriteError};
use crate::trained::Trained;

/// The formats there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Safetensors under PyTorch's names and layouts.
    Safetensors,
    /// Burn's own format, under Burn's names and layouts.
    Burnpack,
}

impl Format {
    /// The ending of its files.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Burnpack => "bpk",
        }
    }
}

/// Writes `trained` to `path`, whole or not at all.
///
/// # Errors
///
/// When the file can't be written.
pub fn export(trained: &Trained, format: Format, path: &Path) -> Result<(), Error> {
    let bytes = match format {
        Format::Safetensors => safetensors::bytes(trained),
        Format::Burnpack => burnpack::bytes(trained).map_err(|source| WriteError { path: path.to_owned(), source })?,
    };
    Ok(crate::atomic::write(path, &bytes)?)
}
