//! Labelled images in memory, and subsets of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_dataset::{Dataset, DatasetError};
use regulus_model::graph::Shape;
use sha2::{Digest, Sha256};

use super::DataError;

/// Labelled images of one shape, as bytes: 0 is black, 255 is white.
#[derive(Clone, Debug)]
pub struct Images {
    /// The shape of each image.
    pub shape: Shape,
    /// `[image, channel, row, column]`.
    pub pixels: Vec<u8>,
    /// The label of each image, from 0.
    pub labels: Vec<u32>,
    /// The file of each image. Empty if the source has several images per file.
    pub files: Vec<PathBuf>,
}

impl Images {
    /// Images of one shape with their labels.
    #[must_use]
    pub fn new(shape: Shape, pixels: Vec<u8>, labels: Vec<u32>) -> Self {
        Self { shape, pixels, labels, files: Vec::new() }
    }

    /// Checks that there are as many pixels as the labels and the shape need.
    pub(super) fn check(&self) -> Result<(), DataError> {
        let (images, size) = (self.labels.len(), self.shape.size());
        if size > 0 && images.checked_mul(size) == Some(self.pixels.len()) && u32::try_from(images).is_ok() {
            return Ok(());
        }
        let problem =
            format!("there are {} pixels for {images} labels and images of {} (height×width×channels)", self.pixels.len(), self.shape);
        Err(DataError::Dataset(problem))
    }

    /// The pixels of one image, `[channel, row, column]`.
    #[must_use]
    pub fn pixels_of(&self, index: usize) -> &[u8] {
        let size = self.shape.size();
        &self.pixels[index * size..(index + 1) * size]
    }

    /// Adds shape, pixels and labels to a hash.
    pub(super) fn hash_into(&self, hash: &mut Sha256) {
        for number in [self.shape.channels, self.shape.height, self.shape.width, self.labels.len()] {
            hash.update((number as u64).to_le_bytes());
        }
        hash.update(&self.pixels);
        for label in &self.labels {
            hash.update(label.to_le_bytes());
        }
    }
}

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
        let count = u32::try_from(images.labels.len()).unwrap_or(u32::MAX);
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

    /// The shape of each image.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.images.shape
    }

    /// The pixels of one image, `[channel, row, column]`.
    #[must_use]
    pub fn pixels(&self, index: usize) -> &[u8] {
        self.images.pixels_of(self.indices[index] as usize)
    }

    /// The file of one image. Returns `None` if the source has several images per file.
    #[must_use]
    pub fn file(&self, index: usize) -> Option<&Path> {
        self.images.files.get(self.indices[index] as usize).map(PathBuf::as_path)
    }

    /// The label of one image.
    #[must_use]
    pub fn label(&self, index: usize) -> u32 {
        self.images.labels[self.indices[index] as usize]
    }

    /// The labels of all images, in order.
    pub fn labels(&self) -> impl Iterator<Item = u32> {
        (0..self.count()).map(|index| self.label(index))
    }

    /// The number of images of each of `classes` classes.
    #[must_use]
    pub fn class_counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for label in self.labels() {
            counts[label as usize] += 1;
        }
        counts
    }
}

/// For Burn's own data loaders and transforms.
impl Dataset<LabelledImage> for Subset {
    fn get(&self, index: usize) -> Result<LabelledImage, DatasetError> {
        Ok(LabelledImage { pixels: self.pixels(index).to_vec(), label: self.label(index) })
    }

    fn len(&self) -> usize {
        self.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subset_is_a_burn_dataset() {
        let images = Images {
            shape: Shape { channels: 1, height: 1, width: 2 },
            pixels: (0..6).collect(),
            labels: vec![0, 1, 2],
            files: Vec::new(),
        };
        let subset = Subset::all(Arc::new(images)).select(vec![2, 0]);
        let items: Vec<LabelledImage> = Dataset::iter(&subset).map(Result::unwrap).collect();
        assert_eq!(items, [LabelledImage { pixels: vec![4, 5], label: 2 }, LabelledImage { pixels: vec![0, 1], label: 0 }]);
    }
}
