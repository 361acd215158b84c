//! The cache of decoded images.
//!
//! It has one file for each folder of images and set of preprocessing options. A file is written under a temporary name and renamed. It is used only
//! while names, sizes and times of all image files are unchanged and its own checksum is right.
//!
//! Layout: [`MAGIC`], the length of the header (u64, little-endian), the header as JSON, then the pixels of every split.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::decode::{DamagedFile, DecodedFolder};
use super::folder::Listing;
use super::left_out::LeftOut;
use super::{Images, Preprocess, cache_dir};
use crate::checksum::{hex, sha256};
use crate::config::Damaged;
use crate::error::WriteError;

/// The version of the format. Change it with the layout and with every change of decoding that changes pixels.
const MAGIC: &[u8; 16] = b"regulus pixels 1";
/// The resolution of file times in nanoseconds. A file that was changed later than this before the listing may change again without a new time.
const TICK: i128 = 50_000_000;

/// The prefix of the names of unfinished files.
const TEMPORARY_PREFIX: &str = ".new-";
/// Unfinished files that are older than this were left by a killed process.
const ABANDONED: Duration = Duration::from_hours(24);

/// The cache file of a listing.
pub(super) struct DecodedCache {
    path: PathBuf,
    /// SHA-256 over options, names, sizes and times.
    key: String,
    /// The time of the listing, in nanoseconds since 1970.
    listed_at: i128,
    /// The latest time of a file.
    newest: i128,
}

#[derive(Serialize, Deserialize)]
struct Header {
    key: String,
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

impl DecodedCache {
    /// The cache file for a new `listing` of `dir`. Returns `None` if there is no cache folder.
    pub(super) fn new(dir: &Path, listing: &Listing, preprocess: &Preprocess, damaged: Damaged) -> Option<Self> {
        let settings = serde_json::to_string(&(preprocess, damaged)).ok()?;
        let name = sha256(format!("{}\n{settings}", dir.canonicalize().ok()?.display()).as_bytes());
        let path = cache_dir().ok()?.join("decoded").join(format!("{}.pixels", &name[..32]));
        let mut key = Sha256::new_with_prefix(settings.as_bytes());
        listing.hash_into(&mut key);
        let newest = listing.files().map(|file| if cfg!(unix) { file.stamp[2] } else { file.stamp[1] }).max().unwrap_or(0);
        let listed_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| i128::try_from(now.as_nanos()).unwrap_or(0));
        Some(Self { path, key: hex(key), listed_at, newest })
    }

    /// The cached images. Returns `None` if there are none, they are damaged, or a file has changed.
    pub(super) fn read(&self, preprocess: &Preprocess) -> Option<DecodedFolder> {
        let mut file = File::open(&self.path).ok()?;
        let mut start = [0; 24];
        file.read_exact(&mut start).ok()?;
        if !start.starts_with(MAGIC) {
            return None;
        }
        let length = u64::from_le_bytes(start[16..].try_into().ok()?);
        let pixel_bytes = file.metadata().ok()?.len().checked_sub(24)?.checked_sub(length)?;
        let mut header = vec![0; usize::try_from(length).ok()?];
        file.read_exact(&mut header).ok()?;
        let header: Header = serde_json::from_slice(&header).ok()?;
        let size = preprocess.shape.size();
        let count: usize = header.splits.iter().flatten().map(|split| split.labels.len()).sum();
        if header.key != self.key || pixel_bytes != count.checked_mul(size)? as u64 {
            return None;
        }
        let mut splits = [const { None }; 3];
        for (index, split) in header.splits.into_iter().enumerate() {
            let Some(SplitHeader { labels, files }) = split else { continue };
            let mut pixels = vec![0; labels.len() * size];
            file.read_exact(&mut pixels).ok()?;
            splits[index] = Some(Images::new(preprocess.shape, pixels, labels).of_files(files));
        }
        let decoded = DecodedFolder { splits, left_out: header.left_out, damaged: header.damaged };
        (checksum(&decoded) == header.sha256).then_some(decoded)
    }

    /// Writes the images to the cache. Does nothing if a file has just been changed, or a name is not UTF-8.
    ///
    /// # Errors
    ///
    /// When they can't be written.
    pub(super) fn write(&self, decoded: &DecodedFolder) -> Result<(), WriteError> {
        if self.newest > self.listed_at - TICK {
            return Ok(());
        }
        let split = |images: &Images| SplitHeader { labels: images.labels.clone(), files: images.files.clone() };
        let header = Header {
            key: self.key.clone(),
            sha256: checksum(decoded),
            splits: decoded.splits.each_ref().map(|images| images.as_ref().map(split)),
            left_out: decoded.left_out.clone(),
            damaged: decoded.damaged.clone(),
        };
        // A name that is not UTF-8 can't be in JSON.
        let Ok(header) = serde_json::to_vec(&header) else { return Ok(()) };
        let length = (header.len() as u64).to_le_bytes();
        let write = |folder: &Path| {
            std::fs::create_dir_all(folder)?;
            remove_abandoned(folder);
            let mut temporary = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(folder)?;
            [MAGIC.as_slice(), &length, &header].into_iter().try_for_each(|bytes| temporary.write_all(bytes))?;
            decoded.splits.iter().flatten().try_for_each(|images| temporary.write_all(&images.pixels))?;
            temporary.persist(&self.path)?;
            Ok(())
        };
        write(self.path.parent().unwrap_or(Path::new("."))).map_err(WriteError::at(&self.path))
    }
}

/// Removes unfinished files that killed processes left.
fn remove_abandoned(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX)) {
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > ABANDONED) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn checksum(decoded: &DecodedFolder) -> String {
    let mut hash = Sha256::new();
    for images in decoded.splits.iter().flatten() {
        images.hash_into(&mut hash);
        images.files.iter().for_each(|file| hash.update(file.as_os_str().as_encoded_bytes()));
    }
    hash.update(serde_json::to_vec(&(&decoded.left_out, &decoded.damaged)).unwrap_or_default());
    hex(hash)
}
