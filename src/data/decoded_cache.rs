//! Decoded images of a folder, kept for the next start.
//!
//! One file in the cache folder for each folder of images and way of preprocessing, written aside and renamed: whole or not there. It is used only
//! while the names, sizes and times of all files are those it was made from, and its pixels and labels have the checksum it states.
//!
//! Layout: [`MAGIC`], the length of the header (u64, little-endian), the header as JSON, then the pixels of every split.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::decode::{DamagedFile, Decoded};
use super::folder::Listing;
use super::left_out::LeftOut;
use super::{Images, Preprocess, cache_dir};
use crate::checksum::{hex, sha256};
use crate::config::Damaged;
use crate::error::WriteError;

/// Changes with the layout and with everything that changes the pixels of the same file.
const MAGIC: &[u8; 16] = b"regulus pixels 1";
/// A file that was changed so shortly before it was listed may be changed again without a new time: clocks of file systems tick slowly.
const TICK: i128 = 50_000_000;

/// What the name of a file that is not finished begins with.
const ASIDE: &str = ".new-";
/// After this time nobody writes it any more.
const ABANDONED: Duration = Duration::from_hours(24);

/// Where the decoded images of a listing are kept, and what they must have been made from.
pub(super) struct DecodedCache {
    path: PathBuf,
    key: String,
    /// When the listing was made, in nanoseconds since 1970.
    listed: i128,
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
    /// The cache of `listing`, just made of the files in `dir`. None where there is no cache folder.
    pub(super) fn new(dir: &Path, listing: &Listing, preprocess: &Preprocess, damaged: Damaged) -> Option<Self> {
        let way = serde_json::to_string(&(preprocess, damaged)).ok()?;
        let name = sha256(format!("{}\n{way}", dir.canonicalize().ok()?.display()).as_bytes());
        let path = cache_dir().ok()?.join("decoded").join(format!("{}.pixels", &name[..32]));
        let mut key = Sha256::new_with_prefix(way.as_bytes());
        listing.hash_into(&mut key);
        let newest = listing.files().map(|file| file.stamp[1].max(file.stamp[2])).max().unwrap_or(0);
        let listed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| i128::try_from(now.as_nanos()).unwrap_or(0));
        Some(Self { path, key: hex(key), listed, newest })
    }

    /// The images, if they are kept and made from the same files. What is damaged or of other files is as if it were not there.
    pub(super) fn read(&self, preprocess: &Preprocess) -> Option<Decoded> {
        let mut file = File::open(&self.path).ok()?;
        let mut start = [0; 24];
        file.read_exact(&mut start).ok()?;
        if !start.starts_with(MAGIC) {
            return None;
        }
        let length = u64::from_le_bytes(start[16..].try_into().ok()?);
        let held = file.metadata().ok()?.len().checked_sub(24)?.checked_sub(length)?;
        let mut header = vec![0; usize::try_from(length).ok()?];
        file.read_exact(&mut header).ok()?;
        let header: Header = serde_json::from_slice(&header).ok()?;
        let size = preprocess.shape.size();
        let count: usize = header.splits.iter().flatten().map(|split| split.labels.len()).sum();
        if header.key != self.key || held != count.checked_mul(size)? as u64 {
            return None;
        }
        let mut splits = [const { None }; 3];
        for (place, split) in header.splits.into_iter().enumerate() {
            let Some(SplitHeader { labels, files }) = split else { continue };
            let mut pixels = vec![0; labels.len() * size];
            file.read_exact(&mut pixels).ok()?;
            splits[place] = Some(Images { shape: preprocess.shape, pixels, labels, files });
        }
        let decoded = Decoded { splits, left_out: header.left_out, damaged: header.damaged };
        (checksum(&decoded) == header.sha256).then_some(decoded)
    }

    /// Keeps the images.
    ///
    /// # Errors
    ///
    /// When they can't be written.
    pub(super) fn write(&self, decoded: &Decoded) -> Result<(), WriteError> {
        if self.newest > self.listed - TICK {
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
        // A name that is not UTF-8 can't be in JSON: such a folder is decoded anew each time.
        let Ok(header) = serde_json::to_vec(&header) else { return Ok(()) };
        let length = (header.len() as u64).to_le_bytes();
        let write = |folder: &Path| {
            std::fs::create_dir_all(folder)?;
            remove_abandoned(folder);
            let mut aside = tempfile::Builder::new().prefix(ASIDE).tempfile_in(folder)?;
            [MAGIC.as_slice(), &length, &header].into_iter().try_for_each(|bytes| aside.write_all(bytes))?;
            decoded.splits.iter().flatten().try_for_each(|images| aside.write_all(&images.pixels))?;
            aside.persist(&self.path)?;
            Ok(())
        };
        write(self.path.parent().unwrap_or(Path::new("."))).map_err(WriteError::at(&self.path))
    }
}

/// Removes what a killed process left of a file it had not finished.
fn remove_abandoned(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(ASIDE)) {
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > ABANDONED) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn checksum(decoded: &Decoded) -> String {
    let mut hash = Sha256::new();
    for images in decoded.splits.iter().flatten() {
        images.hash_into(&mut hash);
        images.files.iter().for_each(|file| hash.update(file.as_os_str().as_encoded_bytes()));
    }
    hex(hash)
}
