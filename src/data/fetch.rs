//! Downloading a known set: from more than one mirror, resumed after a cut, checked, and in place only when whole.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::mnist::Sha256Of;
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
    for file in &set.files {
        if let Some(path) = KnownSet::find(folder, file)
            && is_whole(&path, file)?
        {
            progress(FetchProgress::Present(file.name));
            continue;
        }
        fetch_file(file, folder, &mirrors, progress)?;
    }
    Ok(())
}

fn fetch_file(file: &KnownFile, folder: &Path, mirrors: &[&str], progress: &mut dyn FnMut(FetchProgress)) -> Result<(), Error> {
    let path = folder.join(format!("{}.gz", file.name));
    let aside = folder.join(format!("{}.gz.part", file.name));
    let mut attempts = Vec::new();
    for mirror in mirrors {
        let url = format!("{}/{}.gz", mirror.trim_end_matches('/'), file.name);
        let outcome = receive(&url, file.name, &aside, progress).and_then(|()| {
            if is_whole(&aside, file).map_err(|error| error.to_string())? {
                Ok(())
            } else {
                let _ = std::fs::remove_file(&aside);
                Err("its SHA-256 is not that of the published file".to_owned())
            }
        });
        match outcome {
            Ok(()) => {
                std::fs::rename(&aside, &path).map_err(WriteError::at(&path))?;
                progress(FetchProgress::End);
                return Ok(());
            }
            Err(problem) => {
                let attempt = format!("  {url}: {problem}");
                progress(FetchProgress::Failed(&attempt));
                attempts.push(attempt);
            }
        }
    }
    Err(DataError::Download { file: format!("{}.gz", file.name), attempts: attempts.join("\n") }.into())
}

/// Receives what is missing of a file; what has arrived stays for the next try.
fn receive(url: &str, name: &str, aside: &Path, progress: &mut dyn FnMut(FetchProgress)) -> Result<(), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .build()
        .into();
    let mut have = std::fs::metadata(aside).map_or(0, |metadata| metadata.len());
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = match request.call() {
        Err(ureq::Error::StatusCode(416)) => return Ok(()),
        response => response.map_err(|error| error.to_string())?,
    };
    let resumed = response.status().as_u16() == 206;
    if !resumed {
        have = 0;
    }
    let length = response.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    progress(FetchProgress::Begin { file: name, total: length.map(|length| length + have), have });
    let told = |error: io::Error| error.to_string();
    let mut out = OpenOptions::new().create(true).write(true).append(resumed).truncate(!resumed).open(aside).map_err(told)?;
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0;
    loop {
        let count = body.read(&mut buffer).map_err(told)?;
        if count == 0 {
            break;
        }
        out.write_all(&buffer[..count]).map_err(told)?;
        received += count as u64;
        progress(FetchProgress::Bytes(count as u64));
    }
    out.sync_all().map_err(told)?;
    match length {
        Some(length) if received < length => Err(format!("the connection was cut after {received} of {length} bytes")),
        _ => Ok(()),
    }
}

/// Whether the file at `path` has the published content.
pub(super) fn is_whole(path: &Path, file: &KnownFile) -> Result<bool, DataError> {
    match file.sha256 {
        Sha256Of::Unpacked(expected) => match idx::read_file(path) {
            Ok(bytes) => Ok(sha256(&bytes) == expected),
            Err(DataError::Content { .. }) => Ok(false),
            Err(error) => Err(error),
        },
        Sha256Of::Packed(expected) => {
            let bytes = std::fs::read(path).map_err(DataError::read(path))?;
            // A file unpacked by its owner has no published checksum; its header is checked when it is read.
            Ok(sha256(&bytes) == expected || !bytes.starts_with(&[0x1f, 0x8b]))
        }
    }
}
