//! Images in memory, or in files that are decoded when they are needed.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use regulus_model::graph::Shape;
use sha2::{Digest, Sha256};

use super::DataError;
use super::patches::Patches;
use super::streamed::Streamed;

/// Images as bytes: 0 is black, 255 is white. They have labels, except pictures without classes. All have one shape, or each has its own.
#[derive(Clone, Debug)]
pub struct Images {
    shapes: Shapes,
    /// One image after the other, each `[channel, row, column]`.
    pub pixels: Vec<u8>,
    /// The label of each image, from 0. Empty for pictures without classes.
    pub labels: Vec<u32>,
    /// The file of each image. Empty if the source has several images per file.
    pub files: Vec<PathBuf>,
}

/// The shapes of images.
#[derive(Clone, Debug)]
enum Shapes {
    /// The shape of all.
    Same(Shape),
    /// The shape of each, and the index of its first pixel.
    Each(Vec<(Shape, usize)>),
    /// Images of one shape that are cut from others when they are needed.
    Cut(Shape, Patches),
    /// Images of one shape that are decoded when they are needed.
    Streamed(Shape, Streamed),
}

impl Images {
    /// Images of one shape with their labels.
    #[must_use]
    pub fn new(shape: Shape, pixels: Vec<u8>, labels: Vec<u32>) -> Self {
        Self { shapes: Shapes::Same(shape), pixels, labels, files: Vec::new() }
    }

    /// Pictures without labels, each with its own shape.
    #[must_use]
    pub fn pictures(shapes: &[Shape], pixels: Vec<u8>) -> Self {
        let first = |next: &mut usize, shape: &Shape| {
            let first = *next;
            let size = [shape.channels, shape.height, shape.width].into_iter().try_fold(1_usize, usize::checked_mul);
            *next = next.saturating_add(size.unwrap_or(usize::MAX));
            Some((*shape, first))
        };
        let shapes = Shapes::Each(shapes.iter().scan(0, first).collect());
        Self { shapes, pixels, labels: Vec::new(), files: Vec::new() }
    }

    /// Patches of one shape.
    pub(super) fn patches(shape: Shape, patches: Patches) -> Self {
        Self { shapes: Shapes::Cut(shape, patches), pixels: Vec::new(), labels: Vec::new(), files: Vec::new() }
    }

    /// Images of one shape that are decoded when they are needed, with their labels.
    pub(super) fn streamed(shape: Shape, streamed: Streamed, labels: Vec<u32>) -> Self {
        Self { shapes: Shapes::Streamed(shape, streamed), pixels: Vec::new(), labels, files: Vec::new() }
    }

    /// How the images are decoded. Returns `None` if they are in memory.
    pub(super) fn stream(&self) -> Option<&Streamed> {
        if let Shapes::Streamed(_, streamed) = &self.shapes { Some(streamed) } else { None }
    }

    /// The images that hold the pixels: those that patches are cut from, or these.
    pub(super) fn source(self: &Arc<Self>) -> &Arc<Self> {
        match &self.shapes {
            Shapes::Cut(_, patches) => patches.pictures(),
            Shapes::Same(_) | Shapes::Each(_) | Shapes::Streamed(..) => self,
        }
    }

    /// The same images from these files.
    #[must_use]
    pub(super) fn of_files(self, files: Vec<PathBuf>) -> Self {
        Self { files, ..self }
    }

    /// The same images without labels.
    pub(super) fn without_labels(self) -> Self {
        Self { labels: Vec::new(), ..self }
    }

    /// The images of `first`, then those of `second`.
    pub(super) fn joined(first: &Self, second: &Self) -> Self {
        let lists = |list: fn(&Self) -> &Vec<PathBuf>| [list(first).as_slice(), list(second)].concat();
        let pixels = [first.pixels.as_slice(), &second.pixels].concat();
        let shapes: Vec<Shape> =
            [first, second].iter().flat_map(|images| (0..images.count()).map(|index| images.shape_of(index))).collect();
        let joined = match (first.shape(), second.shape()) {
            (Some(shape), _) if let (Some(first), Some(second)) = (first.stream(), second.stream()) => {
                Self::streamed(shape, first.joined(second), Vec::new())
            }
            (Some(shape), Some(other)) if shape == other => Self::new(shape, pixels, Vec::new()),
            _ => Self::pictures(&shapes, pixels),
        };
        Self { labels: [first.labels.as_slice(), &second.labels].concat(), ..joined.of_files(lists(|images| &images.files)) }
    }

    /// The number of images.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.shapes {
            Shapes::Same(shape) => self.pixels.len() / shape.size().max(1),
            Shapes::Each(shapes) => shapes.len(),
            Shapes::Cut(_, patches) => patches.count(),
            Shapes::Streamed(..) => self.labels.len(),
        }
    }

    /// The bytes in memory: pixels, or paths and labels.
    pub(super) fn bytes(&self) -> u64 {
        let files = || self.files.iter().map(|file| size_of::<PathBuf>() + file.as_os_str().len()).sum::<usize>();
        let listed = self.stream().map_or(0, |streamed| files() + streamed.listed() + size_of_val(self.labels.as_slice()));
        (self.pixels.len() + listed) as u64
    }

    /// The bytes of all images of one shape when they are decoded.
    pub(super) fn decoded_bytes(&self) -> u64 {
        (self.count() as u64).saturating_mul(self.shape().map_or(0, |shape| shape.size() as u64))
    }

    /// Checks that they are labelled images of one shape.
    pub(super) fn check_labels(&self) -> Result<(), DataError> {
        match self.shape() {
            None => {
                let problem = "pictures without labels are given; a classifier needs images of one shape with a label each";
                Err(DataError::Dataset(problem.to_owned()))
            }
            Some(shape) if self.labels.is_empty() && !self.pixels.is_empty() => Err(self.unfit(0, shape)),
            Some(_) => Ok(()),
        }
    }

    fn unfit(&self, labels: usize, shape: Shape) -> DataError {
        let pixels = self.pixels.len();
        DataError::Dataset(format!("there are {pixels} pixels for {labels} labels and images of {shape} (height×width×channels)"))
    }

    /// Checks that there are as many pixels as the labels and the shapes need.
    pub(super) fn check(&self) -> Result<(), DataError> {
        let count = self.count();
        let (error, fits) = match &self.shapes {
            Shapes::Same(shape) => {
                let images = if self.labels.is_empty() { count } else { self.labels.len() };
                (self.unfit(images, *shape), shape.size() > 0 && images.checked_mul(shape.size()) == Some(self.pixels.len()))
            }
            Shapes::Each(shapes) => {
                // Sizes that are too large end at the largest number.
                let last = shapes.last().filter(|(_, first)| *first <= self.pixels.len());
                let size = last.map_or(0, |(shape, first)| first.saturating_add(shape.size()));
                let problem = format!("the {} pixels are not those of pictures of {size} pixels in all", self.pixels.len());
                (DataError::Dataset(problem), shapes.iter().all(|(shape, _)| shape.size() > 0) && size == self.pixels.len())
            }
            Shapes::Streamed(shape, _) => (self.unfit(self.labels.len(), *shape), true),
            Shapes::Cut(..) => {
                (DataError::Dataset(format!("there are {count} patches; expected at most 2³²: use a larger `task.stride`")), true)
            }
        };
        if fits && u32::try_from(count).is_ok() { Ok(()) } else { Err(error) }
    }

    /// The shape that all images have. Returns `None` if each has its own.
    #[must_use]
    pub fn shape(&self) -> Option<Shape> {
        match &self.shapes {
            Shapes::Same(shape) | Shapes::Cut(shape, _) | Shapes::Streamed(shape, _) => Some(*shape),
            Shapes::Each(_) => None,
        }
    }

    /// The shape of one image.
    #[must_use]
    pub fn shape_of(&self, index: usize) -> Shape {
        match &self.shapes {
            Shapes::Same(shape) | Shapes::Cut(shape, _) | Shapes::Streamed(shape, _) => *shape,
            Shapes::Each(shapes) => shapes[index].0,
        }
    }

    /// The pixels of one image, `[channel, row, column]`.
    #[must_use]
    pub fn pixels_of(&self, index: usize) -> Cow<'_, [u8]> {
        let (shape, first) = match &self.shapes {
            Shapes::Same(shape) => (shape, index * shape.size()),
            Shapes::Each(shapes) => (&shapes[index].0, shapes[index].1),
            Shapes::Cut(shape, patches) => return Cow::Owned(patches.cut(*shape, index)),
            Shapes::Streamed(_, streamed) => return Cow::Owned(streamed.pixels(index, &self.files[index])),
        };
        Cow::Borrowed(&self.pixels[first..first + shape.size()])
    }

    /// A key of an image that is decoded when it is needed. Returns `None` for others.
    pub(super) fn key(&self, index: usize) -> Option<[u8; 32]> {
        self.stream().map(|streamed| streamed.key(index, &self.files[index]))
    }

    /// Adds a shape and the number of labels to a hash.
    pub(super) fn hash_shape_into(shape: Shape, labels: usize, hash: &mut Sha256) {
        hash_numbers(&[shape.channels, shape.height, shape.width, labels], hash);
    }

    /// Adds shapes, pixels and labels to a hash. Those of images that are decoded when they are needed are hashed in the first pass over their files.
    pub(super) fn hash_into(&self, hash: &mut Sha256) {
        match &self.shapes {
            Shapes::Same(shape) | Shapes::Cut(shape, _) | Shapes::Streamed(shape, _) => {
                Self::hash_shape_into(*shape, self.labels.len(), hash);
            }
            Shapes::Each(shapes) => {
                hash_numbers(&[shapes.len()], hash);
                shapes.iter().for_each(|(shape, _)| hash_numbers(&[shape.channels, shape.height, shape.width], hash));
            }
        }
        hash.update(&self.pixels);
        for label in &self.labels {
            hash.update(label.to_le_bytes());
        }
    }
}

fn hash_numbers(numbers: &[usize], hash: &mut Sha256) {
    numbers.iter().for_each(|number| hash.update((*number as u64).to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use burn_dataset::Dataset;

    use super::*;
    use crate::data::{LabelledImage, Subset};

    #[test]
    fn a_subset_is_a_burn_dataset() {
        let images = Images::new(Shape { channels: 1, height: 1, width: 2 }, (0..6).collect(), vec![0, 1, 2]);
        let subset = Subset::all(Arc::new(images)).select(vec![2, 0]);
        let items: Vec<LabelledImage> = Dataset::iter(&subset).map(Result::unwrap).collect();
        assert_eq!(items, [LabelledImage { pixels: vec![4, 5], label: 2 }, LabelledImage { pixels: vec![0, 1], label: 0 }]);
    }

    #[test]
    fn pictures_have_a_shape_each() {
        let shapes = [Shape { channels: 1, height: 1, width: 2 }, Shape { channels: 1, height: 2, width: 2 }];
        let pictures = Images::pictures(&shapes, (0..6).collect());
        pictures.check().unwrap();
        assert_eq!((pictures.count(), pictures.shape()), (2, None));
        let subset = Subset::all(Arc::new(pictures)).select(vec![1]);
        assert_eq!((subset.shape_of(0), &*subset.pixels(0), subset.label(0)), (shapes[1], &[2, 3, 4, 5][..], 0));
        let too_few = Images::pictures(&shapes, vec![0; 5]).check().unwrap_err().to_string();
        assert_eq!(too_few, "the 5 pixels are not those of pictures of 6 pixels in all");
    }
}
