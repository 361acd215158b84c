//! Decoding of image files into memory, in parallel.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::folder::SplitFiles;
use super::image_file::{ImageFile, decoded};
use super::labelled_files::LabelledFiles;
use super::left_out::{LeftOut, Reason};
use super::scan::{FoundFile, check_image};
use super::{DataError, Images, Preprocess, Progress};
use crate::config::Damaged;

/// The decoded images of a folder.
#[derive(Debug)]
pub(super) struct DecodedFolder {
    /// Training, validation and test images.
    pub(super) splits: [Option<Images>; 3],
    /// The class names, if the files have them. `None`: the folders have them.
    pub(super) classes: Option<Vec<String>>,
    /// The files that were not read.
    pub(super) left_out: LeftOut,
    /// The damaged images that were left out.
    pub(super) damaged: Vec<DamagedFile>,
    /// SHA-256 over shapes, pixels and labels of all splits. `None`: it is yet to be computed.
    pub(super) checksum: Option<String>,
}

/// An image file that can't be decoded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DamagedFile {
    /// The file.
    pub(super) path: PathBuf,
    /// What is wrong with it.
    pub(super) problem: String,
}

/// Decodes every image file into memory.
///
/// # Errors
///
/// When a class of the training split has only damaged images. With [`Damaged::Refuse`] also when an image can't be decoded: the error names the first.
pub(super) fn decode(
    files: &LabelledFiles,
    preprocess: &Preprocess,
    damaged: Damaged,
    progress: Progress,
) -> Result<DecodedFolder, DataError> {
    let total = files.count();
    let done = AtomicUsize::new(0);
    let advance = || progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
    let mut bad = Vec::new();
    let mut splits = [const { None }; 3];
    for (images, list) in splits.iter_mut().zip(&files.splits) {
        let Some(list) = list else { continue };
        *images = Some(decode_list(list, &files.shards, preprocess, damaged, &advance, &mut bad)?);
    }
    let mut left_out = files.left_out.clone();
    bad.iter().for_each(|file| left_out.add(Reason::Damaged, &file.path));
    splits[0].as_ref().map_or(Ok(()), |train| files.check_decoded(&train.labels))?;
    Ok(DecodedFolder { splits, classes: None, left_out, damaged: bad, checksum: None })
}

/// The image files of a split with their labels. The classes alternate, so that a limit takes samples of every class.
pub(super) fn images_of(
    split: &SplitFiles,
    classes: &[String],
    is_train: bool,
    left_out: &mut LeftOut,
) -> Result<Vec<(u32, PathBuf)>, DataError> {
    let mut images: Vec<(usize, u32, PathBuf)> = Vec::new();
    for (label, (class, files)) in (0_u32..).zip(classes.iter().zip(&split.by_class)) {
        let mut class_left_out = LeftOut::default();
        let found = only_images(files, &mut class_left_out);
        if is_train && found.is_empty() {
            let problem = if class_left_out.is_empty() {
                "has no images; expected image files in it or its subfolders".to_owned()
            } else {
                format!("has no images that can be read, but {class_left_out}")
            };
            return Err(DataError::content(&split.dir.join(class), problem));
        }
        left_out.join(class_left_out);
        images.extend((0_usize..).zip(found).map(|(index, path)| (index, label, path)));
    }
    for file in only_images(&split.outside, left_out) {
        left_out.add(Reason::OutsideClasses, &file);
    }
    images.sort_by_key(|(index, label, _)| (*index, *label));
    Ok(images.into_iter().map(|(_, label, path)| (label, path)).collect())
}

/// The image files among `files`, recognized by their content. Adds the other files to `left_out`.
pub(super) fn only_images(files: &[FoundFile], left_out: &mut LeftOut) -> Vec<PathBuf> {
    let kinds: Vec<Result<(), Reason>> = files.par_iter().map(|file| check_image(&file.path)).collect();
    let mut images = Vec::new();
    for (file, kind) in files.iter().zip(kinds) {
        match kind {
            Ok(()) => images.push(file.path.clone()),
            Err(reason) => left_out.add(reason, &file.path),
        }
    }
    images
}

/// Decodes the images of one split. Adds damaged images to `bad`.
fn decode_list(
    list: &[(u32, ImageFile)],
    shards: &[PathBuf],
    preprocess: &Preprocess,
    damaged: Damaged,
    advance: &(dyn Fn() + Sync),
    bad: &mut Vec<DamagedFile>,
) -> Result<Images, DataError> {
    let size = preprocess.shape.size();
    let mut pixels = vec![0; list.len() * size];
    // The error must name the first damaged image of the list: images after a damaged one are skipped.
    let first_bad = AtomicUsize::new(usize::MAX);
    let outcomes: Vec<Result<(), DataError>> = (0..list.len())
        .into_par_iter()
        .zip(pixels.par_chunks_exact_mut(size.max(1)))
        .map_init(Vec::new, |buffer, (index, pixels)| {
            if damaged == Damaged::Refuse && index > first_bad.load(Ordering::Relaxed) {
                return Ok(());
            }
            let (_, file) = &list[index];
            let outcome = decoded(&file.path, file.member, shards, preprocess, None, buffer);
            let outcome = outcome.map(|picture| pixels.copy_from_slice(&picture.pixels));
            if outcome.is_err() {
                first_bad.fetch_min(index, Ordering::Relaxed);
            }
            advance();
            outcome
        })
        .collect();
    let (mut labels, mut files) = (Vec::new(), Vec::new());
    for (index, ((label, file), outcome)) in list.iter().zip(outcomes).enumerate() {
        let path = file.path.clone();
        match outcome {
            Ok(()) => {
                let at = labels.len() * size;
                pixels.copy_within(index * size..(index + 1) * size, at);
                labels.push(*label);
                files.push(path);
            }
            Err(error) if damaged == Damaged::Refuse => return Err(DataError::Damaged { path, problem: error.problem() }),
            Err(error) => bad.push(DamagedFile { path, problem: error.problem() }),
        }
    }
    pixels.truncate(labels.len() * size);
    Ok(Images::new(preprocess.shape, pixels, labels).of_files(files))
}
