//! Decoding the files of a listing, on all cores.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::folder::{Listing, Split};
use super::left_out::{LeftOut, Reason};
use super::scan::{FoundFile, is_image};
use super::{DataError, Images, Preprocess, Progress, read_picture};
use crate::config::Damaged;

/// The images of a folder.
#[derive(Debug)]
pub(super) struct Decoded {
    /// Training, validation and test images.
    pub(super) splits: [Option<Images>; 3],
    /// What was not read.
    pub(super) left_out: LeftOut,
    /// The damaged images that were left out, each with what is wrong with it.
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
/// When a class of the training split has no image, or, with [`Damaged::Refuse`], when an image can't be decoded: the first is named.
pub(super) fn decode(listing: &Listing, preprocess: &Preprocess, damaged: Damaged, progress: Progress) -> Result<Decoded, DataError> {
    let mut left_out = listing.left_out.clone();
    let mut lists = [const { Vec::new() }; 3];
    for (place, split) in listing.splits.iter().enumerate() {
        let Some(split) = split else { continue };
        lists[place] = images_of(split, &listing.classes, place == 0, &mut left_out)?;
    }
    let total = lists.iter().map(Vec::len).sum();
    let done = AtomicUsize::new(0);
    let advance = || progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
    let mut bad = Vec::new();
    let mut splits = [const { None }; 3];
    for (place, list) in lists.into_iter().enumerate() {
        if listing.splits[place].is_some() {
            splits[place] = Some(decoded(list, preprocess, damaged, &advance, &mut bad)?);
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
    Ok(Decoded { splits, left_out, damaged: bad })
}

/// The images among the files of a split, with their labels: one of each class in turn, so that the first n are of every class.
pub(super) fn images_of(
    split: &Split,
    classes: &[String],
    is_train: bool,
    left_out: &mut LeftOut,
) -> Result<Vec<(u32, PathBuf)>, DataError> {
    let mut images: Vec<(usize, u32, PathBuf)> = Vec::new();
    for (label, (class, files)) in (0_u32..).zip(classes.iter().zip(&split.by_class)) {
        let mut own = LeftOut::default();
        let found = only_images(files, &mut own);
        if is_train && found.is_empty() {
            let problem = if own.is_empty() {
                "has no images; expected image files in it or its subfolders".to_owned()
            } else {
                format!("has no images that can be read, but {own}")
            };
            return Err(DataError::content(&split.dir.join(class), problem));
        }
        left_out.join(own);
        images.extend((0_usize..).zip(found).map(|(place, path)| (place, label, path)));
    }
    for file in only_images(&split.outside, left_out) {
        left_out.add(Reason::OutsideClasses, &file);
    }
    images.sort_by_key(|(place, label, _)| (*place, *label));
    Ok(images.into_iter().map(|(_, label, path)| (label, path)).collect())
}

/// The images among `files`, known by their content; the others are added to `left_out`.
pub(super) fn only_images(files: &[FoundFile], left_out: &mut LeftOut) -> Vec<PathBuf> {
    let kinds: Vec<Result<(), Reason>> = files.par_iter().map(|file| is_image(&file.path)).collect();
    let mut images = Vec::new();
    for (file, kind) in files.iter().zip(kinds) {
        match kind {
            Ok(()) => images.push(file.path.clone()),
            Err(reason) => left_out.add(reason, &file.path),
        }
    }
    images
}

fn decoded(
    list: Vec<(u32, PathBuf)>,
    preprocess: &Preprocess,
    damaged: Damaged,
    advance: &(dyn Fn() + Sync),
    bad: &mut Vec<DamagedFile>,
) -> Result<Images, DataError> {
    let size = preprocess.shape.size();
    let mut pixels = vec![0; list.len() * size];
    // After the first damaged image only those before it matter, whichever thread comes to it first.
    let first_bad = AtomicUsize::new(usize::MAX);
    let outcomes: Vec<Result<(), DataError>> = (0..list.len())
        .into_par_iter()
        .zip(pixels.par_chunks_exact_mut(size.max(1)))
        .map_init(Vec::new, |buffer, (place, pixels)| {
            if damaged == Damaged::Refuse && place > first_bad.load(Ordering::Relaxed) {
                return Ok(());
            }
            let outcome = read_picture(&list[place].1, preprocess, buffer).map(|picture| pixels.copy_from_slice(&picture.pixels));
            if outcome.is_err() {
                first_bad.fetch_min(place, Ordering::Relaxed);
            }
            advance();
            outcome
        })
        .collect();
    let mut images = Images { shape: preprocess.shape, pixels: Vec::new(), labels: Vec::new(), files: Vec::new() };
    let mut whole = 0;
    for (place, ((label, path), outcome)) in list.into_iter().zip(outcomes).enumerate() {
        match outcome {
            Ok(()) => {
                pixels.copy_within(place * size..(place + 1) * size, whole * size);
                whole += 1;
                images.labels.push(label);
                images.files.push(path);
            }
            Err(error) if damaged == Damaged::Refuse => return Err(DataError::Damaged { path, problem: error.problem() }),
            Err(error) => bad.push(DamagedFile { path, problem: error.problem() }),
        }
    }
    pixels.truncate(whole * size);
    images.pixels = pixels;
    Ok(images)
}
