//! Downloading a known set: from more than one mirror, resumed after a cut, checked, and in place only when whole.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::known::Sha256Of;
use super::{DataError, KnownFile, KnownSet, idx};
use crate::checksum::sha256;
use crate::error::{Error, WriteError};

/// What to download.
#[derive(Debug)]
pub struct Download<'a> {
    /// The set.
    pub set: &'a KnownSet,
    /// Where to; it is made if it is not there.
    pub folder: PathBuf,
    /// Where from, in place of the set's own mirrors; a URL that ends in `/`.
    pub mirror: Option<String>,
}

/// What happens during a download.
#[derive(Debug)]
pub enum FetchProgress<'a> {
    /// A file is there already, and whole.
    Present(&'a str),
    /// A file begins; so many bytes of `total` are there from an earlier try.
    Begin {
        /// The file.
        file: &'a str,
        /// Its size, if the mirror says it.
        total: Option<u64>,
        /// Bytes there already.
        have: u64,
    },
    /// So many bytes more.
    Bytes(u64),
    /// The file is whole and in place.
    End,
    /// A mirror failed; the next one is tried.
    Failed(&'a str),
}

/// Downloads every file of a set that is not there yet.
///
/// # Errors
///
/// When a file can't be had from any mirror, or can't be written.
pub fn fetch(download: &Download, progress: &mut dyn FnMut(FetchProgress)) -> Result<(), Error> {
    let Download { set, folder, mirror } = download;
    std::fs::create_dir_all(folder).map_err(WriteError::at(folder))?;
    let mirrors: Vec<&str> = match mirror {
        Some(mirror) => vec![mirror],
        None => set.mirrors.to_vec(),
    };
    for file in set.files {
        let there = KnownSet::find(folder, file);
        if let Some(path) = &there
            && is_whole(path, file)?
        {
            progress(FetchProgress::Present(file.name));
            continue;
        }
        fetch_file(file, folder, &mirrors, progress)?;
        // A damaged unpacked file would be read before the packed one that has just come.
        if let Some(damaged) = there.filter(|path| !is_packed(path)) {
            let renamed = damaged.with_extension("damaged");
            std::fs::rename(&damaged, &renamed).map_err(WriteError::at(&renamed))?;
        }
    }
    Ok(())
}

fn fetch_file(file: &KnownFile, folder: &Path, mirrors: &[&str], progress: &mut dyn FnMut(FetchProgress)) -> Result<(), Error> {
    let path = folder.join(format!("{}.gz", file.name));
    let aside = folder.join(format!("{}.gz.part", file.name));
    let mut attempts = Vec::new();
    for mirror in mirrors {
        let url = format!("{}/{}.gz", mirror.trim_end_matches('/'), file.name);
        let mut outcome = receive_whole(&url, file, &aside, progress);
        // What was there may have come from another mirror, packed another way.
        if matches!(outcome, Err(Failure::Mixed)) {
            outcome = receive_whole(&url, file, &aside, progress);
        }
        let problem = match outcome {
            Ok(()) => {
                std::fs::rename(&aside, &path).map_err(WriteError::at(&path))?;
                progress(FetchProgress::End);
                return Ok(());
            }
            Err(Failure::Write(source)) => return Err(WriteError { path: aside, source }.into()),
            Err(Failure::Mixed) => "its SHA-256 is not that of the published file".to_owned(),
            Err(Failure::Mirror(problem)) => problem,
        };
        let attempt = format!("  {url}: {problem}");
        progress(FetchProgress::Failed(&attempt));
        attempts.push(attempt);
    }
    Err(DataError::Download { file: format!("{}.gz", file.name), attempts: attempts.join("\n") }.into())
}

/// Why a file did not come from a mirror.
enum Failure {
    /// The mirror's fault.
    Mirror(String),
    /// What came after what was there does not make the published file.
    Mixed,
    /// This machine's fault.
    Write(io::Error),
}

/// Receives what is missing of a file, and checks the whole. A whole that is not the published file is removed.
fn receive_whole(url: &str, file: &KnownFile, aside: &Path, progress: &mut dyn FnMut(FetchProgress)) -> Result<(), Failure> {
    let resumed = receive(url, file.name, aside, progress)?;
    if is_published(aside, file).map_err(|error| Failure::Mirror(error.to_string()))? {
        return Ok(());
    }
    std::fs::remove_file(aside).map_err(Failure::Write)?;
    Err(if resumed { Failure::Mixed } else { Failure::Mirror("its SHA-256 is not that of the published file".to_owned()) })
}

/// Receives what is missing of a file, and says whether some of it was there; what has arrived stays for the next try.
fn receive(url: &str, name: &str, aside: &Path, progress: &mut dyn FnMut(FetchProgress)) -> Result<bool, Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .timeout_recv_body(Some(Duration::from_mins(30)))
        .build()
        .into();
    let mut have = std::fs::metadata(aside).map_or(0, |metadata| metadata.len());
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
    let mut out = options.create(true).write(true).append(resumed).truncate(!resumed).open(aside).map_err(Failure::Write)?;
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

/// Whether the file at `path` can be used as it is: it has the published content, or was unpacked by its owner where only the packed file
/// has a published checksum; its header is checked when it is read.
pub(super) fn is_whole(path: &Path, file: &KnownFile) -> Result<bool, DataError> {
    let unpacked_by_owner = !is_packed(path) && matches!(file.sha256, Sha256Of::Packed(_));
    Ok(unpacked_by_owner || is_published(path, file)?)
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// Whether the file at `path` has the published content.
fn is_published(path: &Path, file: &KnownFile) -> Result<bool, DataError> {
    match file.sha256 {
        Sha256Of::Unpacked(expected) => match idx::read_file(path) {
            Ok(bytes) => Ok(sha256(&bytes) == expected),
            Err(DataError::Content { .. }) => Ok(false),
            Err(error) => Err(error),
        },
        Sha256Of::Packed(expected) => Ok(sha256(&std::fs::read(path).map_err(DataError::read(path))?) == expected),
    }
}
