//! An image file: a file of its own, or a member of a tar file.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

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

/// Decodes and resizes the image file with this path or `member` of one of the tar files `shards`. `content` is a buffer that can be reused.
///
/// # Errors
///
/// When the file is missing, damaged, too large or not an image.
pub(super) fn decoded(
    path: &Path,
    member: Option<Member>,
    shards: &[PathBuf],
    preprocess: &Preprocess,
    content: &mut Vec<u8>,
) -> Result<Picture, DataError> {
    content.clear();
    match member {
        None => File::open(path).and_then(|mut file| file.read_to_end(content)).map_err(DataError::read(path))?,
        Some(member) => {
            let shard = &shards[member.shard as usize];
            member.read(shard, content).map_err(DataError::read(shard))?
        }
    };
    Picture::decode(content, preprocess).map_err(error_of(path))
}

impl Member {
    /// Appends the content to `content`. Returns the number of bytes.
    fn read(self, shard: &Path, content: &mut Vec<u8>) -> io::Result<usize> {
        let mut file = File::open(shard)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let read = file.take(self.length).read_to_end(content)?;
        if read as u64 == self.length { Ok(read) } else { Err(io::Error::new(ErrorKind::UnexpectedEof, "the file has become shorter")) }
    }
}
