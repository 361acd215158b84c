//! What a trained network says of images: their classes, or denoised pictures.

mod classes;
mod pictures;

use std::path::{Path, PathBuf};

pub use classes::{ClassProbability, EachPrediction, PredictOptions, Prediction, predict, predict_images};
pub use pictures::{EachPicture, PicturePrediction, predict_picture, predict_pictures};

use crate::data::{DataError, images_in};

/// The image files to predict.
#[derive(Debug, Default)]
pub struct ImageList {
    /// The files, in the order of the command line.
    pub images: Vec<ListedImage>,
    /// Files that were left out, as text.
    pub warnings: Vec<String>,
    /// Folders that can't be read or have no images.
    pub failed: Vec<(PathBuf, DataError)>,
}

impl ImageList {
    /// The files in `named`. A folder is replaced by the images in it, at any depth, sorted by path.
    #[must_use]
    pub fn of(named: &[PathBuf]) -> Self {
        let mut list = Self::default();
        for path in named {
            if !path.is_dir() {
                list.images.push(ListedImage::new(path.clone(), None));
                continue;
            }
            match images_in(path) {
                Ok((images, left_out)) => {
                    list.images.extend(images.into_iter().map(|image| ListedImage::new(image, Some(path))));
                    if !left_out.is_empty() {
                        list.warnings.push(format!("not read in `{}`: {left_out}", path.display()));
                    }
                }
                Err(error) => list.failed.push((path.clone(), error)),
            }
        }
        list
    }
}

/// An image file to predict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedImage {
    /// The file.
    pub path: PathBuf,
    /// The path from the folder that was named, or the name of the file.
    pub name: PathBuf,
}

impl ListedImage {
    /// The file at `path`, which was named, or is in a `folder` that was named.
    fn new(path: PathBuf, folder: Option<&Path>) -> Self {
        let in_folder = folder.and_then(|folder| path.strip_prefix(folder).ok());
        let name = in_folder.or_else(|| path.file_name().map(Path::new)).unwrap_or(Path::new("image")).to_owned();
        Self { path, name }
    }
}
