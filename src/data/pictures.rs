//! Pictures without classes, decoded in their own size.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::decode::{DamagedFile, DecodedFolder, only_images};
use super::folder::{Listing, SplitFiles};
use super::left_out::{LeftOut, Reason};
use super::{DataError, Images, Progress, Shape, read_in_own_size};
use crate::config::Damaged;

/// Decodes every picture of `listing`.
///
/// # Errors
///
/// When there is no training picture. With [`Damaged::Refuse`] also when a picture can't be decoded: the error names the first.
pub(super) fn decode_pictures(
    listing: &Listing,
    channels: usize,
    damaged: Damaged,
    progress: Progress,
) -> Result<DecodedFolder, DataError> {
    let mut left_out = listing.left_out.clone();
    let lists = listing.splits.each_ref().map(|split| split.as_ref().map(|split| picture_files(split, &mut left_out)));
    let total = lists.iter().flatten().map(Vec::len).sum();
    let done = AtomicUsize::new(0);
    let advance = || progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
    let mut bad = Vec::new();
    let mut splits = [const { None }; 3];
    for (split, list) in splits.iter_mut().zip(lists) {
        *split = list.map(|list| decode_list(list, channels, damaged, &advance, &mut bad)).transpose()?;
    }
    for DamagedFile { path, .. } in &bad {
        left_out.add(Reason::Damaged, path);
    }
    if let (Some(train), Some(split)) = (&splits[0], &listing.splits[0])
        && train.count() == 0
    {
        let reason = if left_out.is_empty() { String::new() } else { format!(", but {left_out}") };
        return Err(DataError::content(&split.dir, format!("has no picture that can be read{reason}")));
    }
    Ok(DecodedFolder { splits, classes: None, left_out, damaged: bad, checksum: None })
}

/// The image files of a split.
fn picture_files(split: &SplitFiles, left_out: &mut LeftOut) -> Vec<PathBuf> {
    let files = split.by_class.iter().flat_map(|files| only_images(files, left_out)).collect();
    for file in only_images(&split.outside, left_out) {
        left_out.add(Reason::OutsideSplits, &file);
    }
    files
}

/// Decodes the pictures of one split. Adds damaged pictures to `bad`.
fn decode_list(
    list: Vec<PathBuf>,
    channels: usize,
    damaged: Damaged,
    advance: &(dyn Fn() + Sync),
    bad: &mut Vec<DamagedFile>,
) -> Result<Images, DataError> {
    // The error must name the first damaged picture of the list: pictures after a damaged one are skipped.
    let first_bad = AtomicUsize::new(usize::MAX);
    let decode = |index: usize| {
        if damaged == Damaged::Refuse && index > first_bad.load(Ordering::Relaxed) {
            return None;
        }
        let outcome = read_in_own_size(&list[index], channels);
        if outcome.is_err() {
            first_bad.fetch_min(index, Ordering::Relaxed);
        }
        advance();
        Some(outcome)
    };
    let outcomes: Vec<_> = (0..list.len()).into_par_iter().map(decode).collect();
    let (mut shapes, mut pixels, mut files): (Vec<Shape>, Vec<u8>, Vec<PathBuf>) = Default::default();
    for (path, outcome) in list.into_iter().zip(outcomes) {
        match outcome {
            None => {}
            Some(Ok(picture)) => {
                shapes.push(picture.shape);
                pixels.extend(picture.pixels);
                files.push(path);
            }
            Some(Err(error)) if damaged == Damaged::Refuse => return Err(DataError::Damaged { path, problem: error.problem() }),
            Some(Err(error)) => bad.push(DamagedFile { path, problem: error.problem() }),
        }
    }
    Ok(Images::pictures(&shapes, pixels).of_files(files))
}
