//! Images that are decoded each time they are needed, so that a set larger than memory can be used.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use regulus_model::preprocess::Preprocess;
use sha2::{Digest, Sha256};

use super::DataError;
use super::image_file::{Member, Stamp, decoded};

/// The number of lists of images that were made.
static LISTS: AtomicU64 = AtomicU64::new(0);

/// How images that are not in memory are decoded.
#[derive(Clone, Debug)]
pub(super) struct Streamed {
    preprocess: Preprocess,
    /// A number that no other list has. A file can be another one when it is listed again.
    list: u64,
    /// The tar files.
    shards: Arc<[PathBuf]>,
    /// Where each image is in a tar file. Empty for files of their own.
    members: Vec<Member>,
    /// Size and time of each tar file, or of each file if there are none, when the data were read. `None`: not compared.
    stamps: Vec<Option<Stamp>>,
    /// The first image that could not be decoded.
    failure: Arc<Mutex<Option<Failure>>>,
}

/// An image that could be decoded before, and can't be any more.
#[derive(Clone, Debug)]
struct Failure {
    path: PathBuf,
    problem: String,
}

impl Streamed {
    /// Images in the tar files `shards` at these places, or in files of their own if there are none; with the stamps of the tar files, or of these files.
    pub(super) fn new(preprocess: Preprocess, shards: Arc<[PathBuf]>, members: Vec<Member>, stamps: Vec<Option<Stamp>>) -> Self {
        Self { preprocess, list: LISTS.fetch_add(1, Ordering::Relaxed), shards, members, stamps, failure: Arc::default() }
    }

    /// The images of `self`, then those of `other`, which are decoded in the same way from the same source.
    pub(super) fn joined(&self, other: &Self) -> Self {
        let stamps = if self.shards.is_empty() { [self.stamps.as_slice(), &other.stamps].concat() } else { self.stamps.clone() };
        Self { members: [self.members.as_slice(), &other.members].concat(), stamps, ..self.clone() }
    }

    /// The bytes that the list of its files takes, without their names.
    pub(super) fn listed(&self) -> usize {
        size_of_val(self.members.as_slice()) + size_of_val(self.stamps.as_slice())
    }

    /// Where each image is in a tar file. Empty for files of their own.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// A key of the image `index`, whose file is at `path`. Nothing is read for it. No other image of this program has it.
    pub(super) fn key(&self, index: usize, path: &Path) -> [u8; 32] {
        let offset = self.members.get(index).map_or(0, |member| member.offset);
        let hash = Sha256::new_with_prefix("streamed").chain_update(self.list.to_le_bytes()).chain_update(offset.to_le_bytes());
        hash.chain_update(path.as_os_str().as_encoded_bytes()).finalize().into()
    }

    /// Decodes the image `index`, whose file is at `path`. Of an image that can't be decoded any more it returns black pixels; [`Streamed::check`] then fails.
    pub(super) fn pixels(&self, index: usize, path: &Path) -> Vec<u8> {
        let member = self.members.get(index).copied();
        let mut content = Vec::with_capacity(member.map_or(0, |member| usize::try_from(member.length).unwrap_or(0)));
        let stamp = self.stamps.get(member.map_or(index, |member| member.shard as usize)).copied().flatten();
        decoded(path, member, &self.shards, &self.preprocess, stamp, &mut content).map_or_else(
            |error| {
                let failure = Failure { path: path.to_owned(), problem: error.problem() };
                self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
                vec![0; self.preprocess.shape.size()]
            },
            |picture| picture.pixels,
        )
    }

    /// Checks that every image so far could be decoded.
    ///
    /// # Errors
    ///
    /// When a file has been changed or removed since its set was read.
    pub(super) fn check(&self) -> Result<(), DataError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failure.map_or(Ok(()), |Failure { path, problem }| {
            let problem = format!("{problem}; it has changed since the data were read");
            Err(DataError::Undecodable { path, problem })
        })
    }
}
