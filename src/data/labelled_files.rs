//! The image files of a source with their labels, before they are decoded.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::decode::images_of;
use super::folder::Listing;
use super::image_file::ImageFile;
use super::{DataError, LeftOut};

/// The image files of a source.
#[derive(Debug)]
pub(super) struct LabelledFiles {
    /// The class names in the order of the labels.
    pub(super) classes: Vec<String>,
    /// The labels and files of the training, validation and test splits, in the order of the samples.
    pub(super) splits: [Option<Vec<(u32, ImageFile)>>; 3],
    /// The tar files that have them. Empty for files of their own.
    pub(super) shards: Arc<[PathBuf]>,
    /// Files that are left out.
    pub(super) left_out: LeftOut,
    /// Where the training images are, for messages.
    pub(super) dir: PathBuf,
}

impl LabelledFiles {
    /// The image files of a listing of a folder.
    ///
    /// # Errors
    ///
    /// When a class of the training split has no image.
    pub(super) fn of(listing: &Listing) -> Result<Self, DataError> {
        let mut left_out = listing.left_out.clone();
        let mut splits = [const { None }; 3];
        for (index, split) in listing.splits.iter().enumerate() {
            let Some(split) = split else { continue };
            let images = images_of(split, &listing.classes, index == 0, &mut left_out)?;
            splits[index] = Some(images.into_iter().map(|(label, path)| (label, ImageFile::at(path))).collect());
        }
        let dir = listing.splits.iter().flatten().next().map(|split| split.dir.clone()).unwrap_or_default();
        Ok(Self { classes: listing.classes.clone(), splits, shards: Arc::default(), left_out, dir })
    }

    /// The number of files.
    pub(super) fn count(&self) -> usize {
        self.splits.iter().flatten().map(Vec::len).sum()
    }

    /// The number of files of the training split.
    pub(super) fn training_count(&self) -> usize {
        self.splits[0].as_ref().map_or(0, Vec::len)
    }

    /// Checks that each class with training files is among the `labels` of those that were decoded.
    pub(super) fn check_decoded(&self, labels: &[u32]) -> Result<(), DataError> {
        let Some(train) = &self.splits[0] else { return Ok(()) };
        let decoded: BTreeSet<u32> = labels.iter().copied().collect();
        let lost = train.iter().map(|(label, _)| *label).filter(|label| !decoded.contains(label)).min();
        lost.map_or(Ok(()), |label| Err(DataError::content(&self.dir.join(&self.classes[label as usize]), "has only damaged images")))
    }
}
