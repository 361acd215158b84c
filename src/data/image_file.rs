//! An image file: a file of its own, or a member of a tar file.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use regulus_images::Picture;
use regulus_model::preprocess::Preprocess;
use serde::{Deserialize, Serialize};

use super::DataError;
use super::picture::error_of;

/// An image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImageFile {
    /// The path; of a member of a tar file the path of that file and the name of the member.
    pub(super) path: PathBuf,
    /// Where it is in a tar file. `None`: a file of its own.
    pub(super) member: Option<Member>,
}

/// Where the content of a member is in a tar file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    /// The index of the tar file in the list of all.
    pub(super) shard: u32,
    /// The first byte.
    pub(super) offset: u64,
    /// The number of bytes.
    pub(super) length: u64,
}

impl ImageFile {
    /// A file of its own.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, member: None }
    }
}

/// Size and time of a file, by which it is noticed that it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    length: u64,
    /// The time of the last change, in nanoseconds since 1970.
    modified: u128,
}

impl Stamp {
    /// Those of the file at `path`. Returns `None` if they can't be read.
    pub(super) fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::new(&metadata))
    }

    fn new(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self { length: metadata.len(), modified: modified.map_or(0, |time| time.as_nanos()) }
    }
}

/// Decodes and resizes the image file with this path or `member` of one of the tar files `shards`. `content` is a buffer that can be reused. The file has `stamp`,
/// where one is given.
///
/// # Errors
///
/// When the file is missing, damaged, too large or not an image, or has another stamp.
pub(super) fn decoded(
    path: &Path,
    member: Option<Member>,
    shards: &[PathBuf],
    preprocess: &Preprocess,
    stamp: Option<Stamp>,
    content: &mut Vec<u8>,
) -> Result<Picture, DataError> {
    content.clear();
    let file = member.map_or(path, |member| &shards[member.shard as usize]);
    read(file, member, stamp, content).map_err(DataError::read(file))?;
    Picture::decode(content, preprocess).map_err(error_of(path))
}

/// Appends the content of a file, or of a member of it, to `content`.
fn read(path: &Path, member: Option<Member>, stamp: Option<Stamp>, content: &mut Vec<u8>) -> io::Result<()> {
    let mut file = File::open(path)?;
    if let Some(stamp) = stamp
        && Stamp::new(&file.metadata()?) != stamp
    {
        return Err(io::Error::new(ErrorKind::InvalidData, "the file has another size or time of change"));
    }
    let Some(Member { offset, length, .. }) = member else { return file.read_to_end(content).map(|_| ()) };
    file.seek(SeekFrom::Start(offset))?;
    let read = file.take(length).read_to_end(content)?;
    if read as u64 == length { Ok(()) } else { Err(io::Error::new(ErrorKind::UnexpectedEof, "the file has become shorter")) }
}
