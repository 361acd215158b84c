//! The cache of decoded images.
//!
//! It has one file for each folder of images or shards and set of preprocessing options. A file is written under a temporary name and renamed. It is used
//! only while names, sizes and times of all files are unchanged and its own checksum is right.
//!
//! Layout: [`MAGIC`], the length of the header (u64, little-endian), the header as JSON, then the pixels of every split.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cache_key::CacheKey;
use super::decode::{DamagedFile, DecodedFolder};
use super::left_out::LeftOut;
use super::{Images, Preprocess};
use crate::checksum::hex;
use crate::error::WriteError;

/// The version of the format. Change it with the layout and with every change of decoding that changes pixels.
const MAGIC: &[u8; 16] = b"regulus pixels 1";
/// The extension of the file.
const EXTENSION: &str = "pixels";

#[derive(Serialize, Deserialize)]
struct Header {
    key: String,
    /// The class names, where the files have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    classes: Option<Vec<String>>,
    /// SHA-256 over shapes, pixels, labels and names.
    sha256: String,
    splits: [Option<SplitHeader>; 3],
    left_out: LeftOut,
    damaged: Vec<DamagedFile>,
}

#[derive(Serialize, Deserialize)]
struct SplitHeader {
    labels: Vec<u32>,
    files: Vec<PathBuf>,
}

/// The cached images. Returns `None` if there are none, they take more than `memory` bytes, are damaged, or a file has changed.
pub(super) fn read(cache: &CacheKey, preprocess: &Preprocess, memory: u64) -> Option<DecodedFolder> {
    let mut file = File::open(cache.path(EXTENSION)).ok()?;
    let mut start = [0; 24];
    file.read_exact(&mut start).ok()?;
    if !start.starts_with(MAGIC) {
        return None;
    }
    let length = u64::from_le_bytes(start[16..].try_into().ok()?);
    let pixel_bytes = file.metadata().ok()?.len().checked_sub(24)?.checked_sub(length)?;
    if pixel_bytes > memory {
        return None;
    }
    let mut header = vec![0; usize::try_from(length).ok()?];
    file.read_exact(&mut header).ok()?;
    let header: Header = serde_json::from_slice(&header).ok()?;
    let size = preprocess.shape.size();
    let count: usize = header.splits.iter().flatten().map(|split| split.labels.len()).sum();
    if header.key != cache.key() || pixel_bytes != count.checked_mul(size)? as u64 {
        return None;
    }
    let mut splits = [const { None }; 3];
    for (index, split) in header.splits.into_iter().enumerate() {
        let Some(SplitHeader { labels, files }) = split else { continue };
        let mut pixels = vec![0; labels.len() * size];
        file.read_exact(&mut pixels).ok()?;
        splits[index] = Some(Images::new(preprocess.shape, pixels, labels).of_files(files));
    }
    let Header { classes, left_out, damaged, .. } = header;
    let decoded = DecodedFolder { splits, classes, left_out, damaged, checksum: None };
    (checksum(&decoded) == header.sha256).then_some(decoded)
}

/// Writes the images to the cache. Does nothing if a file has just been changed, or a name is not UTF-8.
///
/// # Errors
///
/// When they can't be written.
pub(super) fn write(cache: &CacheKey, decoded: &DecodedFolder) -> Result<(), WriteError> {
    if !cache.is_settled() {
        return Ok(());
    }
    let split = |images: &Images| SplitHeader { labels: images.labels.clone(), files: images.files.clone() };
    let header = Header {
        key: cache.key().to_owned(),
        classes: decoded.classes.clone(),
        sha256: checksum(decoded),
        splits: decoded.splits.each_ref().map(|images| images.as_ref().map(split)),
        left_out: decoded.left_out.clone(),
        damaged: decoded.damaged.clone(),
    };
    // A name that is not UTF-8 can't be in JSON.
    let Ok(header) = serde_json::to_vec(&header) else { return Ok(()) };
    let length = (header.len() as u64).to_le_bytes();
    cache.write(EXTENSION, |file| {
        [MAGIC.as_slice(), &length, &header].into_iter().try_for_each(|bytes| file.write_all(bytes))?;
        decoded.splits.iter().flatten().try_for_each(|images| file.write_all(&images.pixels))
    })
}

fn checksum(decoded: &DecodedFolder) -> String {
    let mut hash = Sha256::new();
    for images in decoded.splits.iter().flatten() {
        images.hash_into(&mut hash);
        images.files.iter().for_each(|file| hash.update(file.as_os_str().as_encoded_bytes()));
    }
    hash.update(serde_json::to_vec(&(&decoded.left_out, &decoded.damaged)).unwrap_or_default());
    decoded.classes.iter().flatten().for_each(|class| hash.update(class.as_bytes()));
    hex(hash)
}
