//! Decoding of the image files of a listing, in parallel.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::folder::{Listing, SplitFiles};
use super::left_out::{LeftOut, Reason};
use super::scan::{FoundFile, check_image};
use super::{DataError, Images, Preprocess, Progress, read_picture};
use crate::config::Damaged;

/// The decoded images of a folder.
#[derive(Debug)]
pub(super) struct DecodedFolder {
    /// Training, validation and test images.
    pub(super) splits: [Option<Images>; 3],
    /// The files that were not read.
    pub(super) left_out: LeftOut,
    /// The damaged images that were left out.
    pub(super) damaged: Vec<DamagedFile>,
}

/// An image file that can't be decoded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DamagedFile {
    /// The file.
    pub(super) path: PathBuf,
    /// What is wrong with it.
    pub(super) problem: String,
}

/// Decodes every image of `listing`.
///
/// # Errors
///
/// When a class of the training split has no image. With [`Damaged::Refuse`] also when an image can't be decoded: the error names the first.
pub(super) fn decode(listing: &Listing, preprocess: &Preprocess, damaged: Damaged, progress: Progress) -> Result<DecodedFolder, DataError> {
    let mut left_out = listing.left_out.clone();
    let mut lists = [const { Vec::new() }; 3];
    for (index, split) in listing.splits.iter().enumerate() {
        let Some(split) = split else { continue };
        lists[index] = images_of(split, &listing.classes, index == 0, &mut left_out)?;
    }
    let total = lists.iter().map(Vec::len).sum();
    let done = AtomicUsize::new(0);
    let advance = || progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
    let mut bad = Vec::new();
    let mut splits = [const { None }; 3];
    for (index, list) in lists.into_iter().enumerate() {
        if listing.splits[index].is_some() {
            splits[index] = Some(decode_list(list, preprocess, damaged, &advance, &mut bad)?);
        }
    }
    for DamagedFile { path, .. } in &bad {
        left_out.add(Reason::Damaged, path);
    }
    if let (Some(train), Some(split)) = (&splits[0], &listing.splits[0]) {
        let present: BTreeSet<u32> = train.labels.iter().copied().collect();
        if let Some((_, class)) = (0_u32..).zip(&listing.classes).find(|(label, _)| !present.contains(label)) {
            return Err(DataError::content(&split.dir.join(class), "has only damaged images"));
        }
    }
    Ok(DecodedFolder { splits, left_out, damaged: bad })
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
    list: Vec<(u32, PathBuf)>,
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
            let outcome = read_picture(&list[index].1, preprocess, buffer).map(|picture| pixels.copy_from_slice(&picture.pixels));
            if outcome.is_err() {
                first_bad.fetch_min(index, Ordering::Relaxed);
            }
            advance();
            outcome
        })
        .collect();
    let (mut labels, mut files) = (Vec::new(), Vec::new());
    let mut decoded = 0;
    for (index, ((label, path), outcome)) in list.into_iter().zip(outcomes).enumerate() {
        match outcome {
            Ok(()) => {
                pixels.copy_within(index * size..(index + 1) * size, decoded * size);
                decoded += 1;
                labels.push(label);
                files.push(path);
            }
            Err(error) if damaged == Damaged::Refuse => return Err(DataError::Damaged { path, problem: error.problem() }),
            Err(error) => bad.push(DamagedFile { path, problem: error.problem() }),
        }
    }
    pixels.truncate(decoded * size);
    Ok(Images::new(preprocess.shape, pixels, labels).of_files(files))
}
