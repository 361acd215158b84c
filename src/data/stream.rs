//! The first pass over the image files of a set that is larger than memory: each is decoded once, checked and hashed. What was found is cached.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cache_key::CacheKey;
use super::decode::{DamagedFile, DecodedFolder};
use super::image_file::{ImageFile, Member, Stamp, decoded};
use super::labelled_files::LabelledFiles;
use super::left_out::{LeftOut, Reason};
use super::streamed::Streamed;
use super::{DataError, Images, Preprocess, Progress, Shape};
use crate::checksum::{hex, sha256};
use crate::config::Damaged;
use crate::error::WriteError;
use crate::numbers::{byte_size, enough_bytes};

/// The version of the format. Change it with the layout and with every change of decoding that changes pixels.
const MAGIC: &[u8; 16] = b"regulus stream 1";
/// The extension of the file in the cache.
const EXTENSION: &str = "stream";
/// The largest number of images that are decoded between two parts of the checksum.
const BLOCK: usize = 256;

/// The files with these labels that can be decoded, as images that are decoded again each time they are needed.
///
/// # Errors
///
/// When a class of the training split has only damaged images. With [`Damaged::Refuse`] also when an image can't be decoded: the error names the first.
pub(super) fn stream(
    files: &LabelledFiles,
    preprocess: &Preprocess,
    damaged: Damaged,
    memory: u64,
    progress: Progress,
) -> Result<DecodedFolder, DataError> {
    let total = files.count();
    let done = AtomicUsize::new(0);
    let advance = || progress((done.fetch_add(1, Ordering::Relaxed) + 1).min(total), total);
    // Two blocks are in memory at a time.
    let block = usize::try_from(memory / 2).unwrap_or(usize::MAX) / preprocess.shape.size().max(1);
    let pass = Pass { preprocess, shards: &files.shards, block: block.clamp(1, BLOCK), advance: &advance };
    let mut hash = Sha256::new();
    let mut bad = Vec::new();
    let mut splits = [const { None }; 3];
    for (images, list) in splits.iter_mut().zip(&files.splits) {
        let Some(list) = list else { continue };
        let before = (hash.clone(), bad.len());
        let mut list: Vec<&(u32, ImageFile)> = list.iter().collect();
        let mut stamps = stamps(list.par_iter().map(|(_, file)| file.path.as_path()), &files.shards);
        let found = pass.run(&list, damaged, &mut hash)?;
        if found.iter().any(Option::is_some) {
            // The checksum begins with the number of images: it is made again, of those that can be decoded.
            hash = before.0;
            let mut is_whole = found.iter().map(Option::is_none);
            list.retain(|_| is_whole.next() == Some(true));
            if files.shards.is_empty() {
                let mut is_whole = found.iter().map(Option::is_none);
                stamps.retain(|_| is_whole.next() == Some(true));
            }
            pass.run(&list, Damaged::Refuse, &mut hash)?;
            bad.extend(found.into_iter().flatten());
        }
        *images = Some(streamed(list.into_iter().cloned().collect(), preprocess, &files.shards, stamps));
    }
    let mut left_out = files.left_out.clone();
    bad.iter().for_each(|file: &DamagedFile| left_out.add(Reason::Damaged, &file.path));
    splits[0].as_ref().map_or(Ok(()), |train| files.check_decoded(&train.labels))?;
    Ok(DecodedFolder { splits, classes: None, left_out, damaged: bad, checksum: Some(hex(hash)) })
}

/// The stamps of the tar files, or of files of their own if there are none.
fn stamps<'a>(files: impl IndexedParallelIterator<Item = &'a Path>, shards: &[PathBuf]) -> Vec<Option<Stamp>> {
    if shards.is_empty() { files.map(Stamp::of).collect() } else { shards.iter().map(|shard| Stamp::of(shard)).collect() }
}

/// Images of these files that are decoded each time they are needed.
fn streamed(list: Vec<(u32, ImageFile)>, preprocess: &Preprocess, shards: &Arc<[PathBuf]>, stamps: Vec<Option<Stamp>>) -> Images {
    let members = list.iter().filter_map(|(_, file)| file.member).collect();
    let (labels, files) = list.into_iter().map(|(label, file)| (label, file.path)).unzip();
    Images::streamed(preprocess.shape, Streamed::new(*preprocess, Arc::clone(shards), members, stamps), labels).of_files(files)
}

/// A pass over image files.
struct Pass<'a> {
    preprocess: &'a Preprocess,
    shards: &'a [PathBuf],
    /// The number of images that are decoded between two parts of the checksum.
    block: usize,
    advance: &'a (dyn Fn() + Sync),
}

impl Pass<'_> {
    /// Decodes all files and adds shape, pixels and labels to the hash, as [`Images::hash_into`] does. Returns what is wrong with each file, if anything.
    fn run(&self, list: &[&(u32, ImageFile)], damaged: Damaged, hash: &mut Sha256) -> Result<Vec<Option<DamagedFile>>, DataError> {
        Images::hash_shape_into(self.preprocess.shape, list.len(), hash);
        let mut problems = Vec::with_capacity(list.len());
        let mut blocks = list.chunks(self.block);
        let mut decoded = self.decoded(blocks.next().unwrap_or_default());
        while !decoded.is_empty() {
            let mut hash_block = || {
                for (outcome, file) in decoded.drain(..) {
                    match outcome {
                        Ok(pixels) => hash.update(pixels),
                        Err(error) if damaged == Damaged::Refuse => {
                            return Err(DataError::Damaged { path: file.path.clone(), problem: error.problem() });
                        }
                        Err(error) => {
                            problems.push(Some(DamagedFile { path: file.path.clone(), problem: error.problem() }));
                            continue;
                        }
                    }
                    problems.push(None);
                }
                Ok(())
            };
            let (hashed, next) = rayon::join(&mut hash_block, || self.decoded(blocks.next().unwrap_or_default()));
            hashed?;
            decoded = next;
        }
        list.iter().for_each(|(label, _)| hash.update(label.to_le_bytes()));
        Ok(problems)
    }

    fn decoded<'b>(&self, block: &[&'b (u32, ImageFile)]) -> Vec<(Result<Vec<u8>, DataError>, &'b ImageFile)> {
        let decode = |content: &mut Vec<u8>, labelled: &&'b (u32, ImageFile)| {
            let file = &labelled.1;
            let picture = decoded(&file.path, file.member, self.shards, self.preprocess, None, content);
            (self.advance)();
            (picture.map(|picture| picture.pixels), file)
        };
        block.par_iter().map_init(Vec::new, decode).collect()
    }
}

/// What the cache has.
#[derive(Serialize, Deserialize)]
struct Content {
    key: String,
    checksum: String,
    classes: Option<Vec<String>>,
    splits: [Option<SplitContent>; 3],
    left_out: LeftOut,
    damaged: Vec<DamagedFile>,
}

#[derive(Serialize, Deserialize)]
struct SplitContent {
    labels: Vec<u32>,
    files: Vec<PathBuf>,
    members: Vec<Member>,
}

/// The images of a set whose first pass is in the cache. Returns `None` if it is not, they fit into `memory`, or a file has changed.
pub(super) fn read(cache: &CacheKey, shards: &Arc<[PathBuf]>, preprocess: &Preprocess, memory: u64) -> Option<DecodedFolder> {
    let mut bytes = Vec::new();
    File::open(cache.path(EXTENSION)).ok()?.read_to_end(&mut bytes).ok()?;
    let (stated, content) = bytes.strip_prefix(MAGIC)?.split_at_checked(64)?;
    let content: Content = (sha256(content).as_bytes() == stated).then(|| serde_json::from_slice(content).ok())??;
    let count: usize = content.splits.iter().flatten().map(|split| split.labels.len()).sum();
    if content.key != cache.key() || !exceeds(count, preprocess, memory) {
        return None;
    }
    let images = |split: SplitContent| {
        let SplitContent { labels, files, members } = split;
        let is_whole = labels.len() == files.len() && [0, labels.len()].contains(&members.len());
        let is_found = members.iter().all(|member| (member.shard as usize) < shards.len());
        let stamps = stamps(files.par_iter().map(PathBuf::as_path), shards);
        let streamed = Streamed::new(*preprocess, Arc::clone(shards), members, stamps);
        (is_whole && is_found).then(|| Images::streamed(preprocess.shape, streamed, labels).of_files(files))
    };
    let mut splits = [const { None }; 3];
    for (found, split) in splits.iter_mut().zip(content.splits) {
        *found = split.map(|split| images(split).ok_or(())).transpose().ok()?;
    }
    let Content { classes, left_out, damaged, checksum, .. } = content;
    Some(DecodedFolder { splits, classes, left_out, damaged, checksum: Some(checksum) })
}

/// Writes what the first pass has found. Does nothing if a file has just been changed, or a name is not UTF-8.
///
/// # Errors
///
/// When it can't be written.
pub(super) fn write(cache: &CacheKey, decoded: &DecodedFolder) -> Result<(), WriteError> {
    let Some(checksum) = decoded.checksum.clone().filter(|_| cache.is_settled()) else { return Ok(()) };
    let split = |images: &Images| SplitContent {
        labels: images.labels.clone(),
        files: images.files.clone(),
        members: images.stream().map(|streamed| streamed.members().to_vec()).unwrap_or_default(),
    };
    let content = Content {
        key: cache.key().to_owned(),
        checksum,
        classes: decoded.classes.clone(),
        splits: decoded.splits.each_ref().map(|images| images.as_ref().map(split)),
        left_out: decoded.left_out.clone(),
        damaged: decoded.damaged.clone(),
    };
    // A name that is not UTF-8 can't be in JSON.
    let Ok(content) = serde_json::to_vec(&content) else { return Ok(()) };
    let stated = sha256(&content);
    cache.write(EXTENSION, |file| [MAGIC.as_slice(), stated.as_bytes(), &content].into_iter().try_for_each(|bytes| file.write_all(bytes)))
}

/// Whether `count` decoded images take more than `memory` bytes.
pub(super) fn exceeds(count: usize, preprocess: &Preprocess, memory: u64) -> bool {
    (count as u64).saturating_mul(preprocess.shape.size() as u64) > memory
}

/// The bytes of a batch of `samples` images of this shape: its pixels as bytes and as numbers.
pub(super) fn bytes_of_batch(shape: Shape, samples: usize) -> u64 {
    (samples as u64).saturating_mul(5 * shape.size() as u64)
}

/// Checks that `memory` bytes are enough for two batches of `samples` images of this shape: one that is computed and one that is decoded meanwhile.
///
/// # Errors
///
/// When they are not.
pub(super) fn check_memory(memory: u64, shape: Shape, samples: usize) -> Result<(), DataError> {
    let needed = bytes_of_batch(shape, samples).saturating_mul(2);
    if memory >= needed {
        return Ok(());
    }
    let (memory, needed) = (byte_size(memory), enough_bytes(needed));
    let problem = format!(
        "`data.memory` is {memory}, but two batches of {samples} images of {shape} (height×width×channels) take {needed}: set it to \"{needed}\" or more, or \
         lower `train.batch_size` or `train.micro_batch`"
    );
    Err(DataError::Dataset(problem))
}
