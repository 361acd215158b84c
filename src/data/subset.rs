//! Subsets of images.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_dataset::{Dataset, DatasetError};
use rayon::prelude::*;
use regulus_model::graph::Shape;

use super::streamed::Streamed;
use super::{DataError, Images};

/// One image with its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledImage {
    /// `[channel, row, column]`.
    pub pixels: Vec<u8>,
    /// The label, from 0.
    pub label: u32,
}

/// A subset of images: indices into shared images.
#[derive(Clone, Debug)]
pub struct Subset {
    images: Arc<Images>,
    indices: Vec<u32>,
}

impl Subset {
    /// All images.
    #[must_use]
    pub fn all(images: Arc<Images>) -> Self {
        let count = u32::try_from(images.count()).unwrap_or(u32::MAX);
        Self { images, indices: (0..count).collect() }
    }

    pub(super) fn select(&self, indices: Vec<u32>) -> Self {
        Self { images: Arc::clone(&self.images), indices }
    }

    /// The images it is a subset of.
    pub(super) fn images(&self) -> &Arc<Images> {
        &self.images
    }

    pub(super) fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The number of images.
    #[must_use]
    pub fn count(&self) -> usize {
        self.indices.len()
    }

    /// The shape that all images have. Training images have one.
    ///
    /// # Panics
    ///
    /// When each image has its own, as pictures of the validation and test splits of the task `denoise` have.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.images.shape().unwrap_or_else(|| panic!("images with a shape each"))
    }

    /// The shape of one image.
    #[must_use]
    pub fn shape_of(&self, index: usize) -> Shape {
        self.images.shape_of(self.indices[index] as usize)
    }

    /// The pixels of one image, `[channel, row, column]`.
    #[must_use]
    pub fn pixels(&self, index: usize) -> Cow<'_, [u8]> {
        self.images.pixels_of(self.indices[index] as usize)
    }

    /// The pixels of some images, in this order. Images that are not in memory are decoded on all threads of the current pool.
    #[must_use]
    pub fn pixels_of_all(&self, indices: &[usize]) -> Vec<Cow<'_, [u8]>> {
        if self.is_streamed() {
            indices.par_iter().map(|index| self.pixels(*index)).collect()
        } else {
            indices.iter().map(|index| self.pixels(*index)).collect()
        }
    }

    /// Keys of some images, in this order. Returns `None` if the images are in memory.
    pub(super) fn keys(&self, indices: &[usize]) -> Option<Vec<[u8; 32]>> {
        indices.iter().map(|index| self.images.key(self.indices[*index] as usize)).collect()
    }

    /// Whether the images are decoded each time they are needed, because they do not fit into `data.memory`.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.images.source().stream().is_some()
    }

    /// Checks that every image so far could be decoded. After a failure [`Subset::pixels`] has returned black pixels.
    ///
    /// # Errors
    ///
    /// When the file of an image that is not in memory has been changed or removed since the data were read.
    pub fn check_decoded(&self) -> Result<(), DataError> {
        self.images.source().stream().map_or(Ok(()), Streamed::check)
    }

    /// The file of one image. Returns `None` if the source has several images per file.
    #[must_use]
    pub fn file(&self, index: usize) -> Option<&Path> {
        self.images.files.get(self.indices[index] as usize).map(PathBuf::as_path)
    }

    /// The label of one image; 0 for a picture without classes.
    #[must_use]
    pub fn label(&self, index: usize) -> u32 {
        self.images.labels.get(self.indices[index] as usize).copied().unwrap_or(0)
    }

    /// The labels of all images, in order.
    pub fn labels(&self) -> impl Iterator<Item = u32> {
        (0..self.count()).map(|index| self.label(index))
    }

    /// The number of images of each of `classes` classes; empty for pictures without classes.
    #[must_use]
    pub fn class_counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        if classes > 0 {
            self.labels().for_each(|label| counts[label as usize] += 1);
        }
        counts
    }
}

/// For Burn's own data loaders and transforms.
impl Dataset<LabelledImage> for Subset {
    fn get(&self, index: usize) -> Result<LabelledImage, DatasetError> {
        Ok(LabelledImage { pixels: self.pixels(index).into_owned(), label: self.label(index) })
    }

    fn len(&self) -> usize {
        self.count()
    }
}
