//! What a trained network says of images: their classes, or denoised pictures.

mod classes;
mod pictures;

use std::path::PathBuf;

pub use classes::{ClassProbability, EachPrediction, PredictOptions, Prediction, predict, predict_images};
pub use pictures::{EachPicture, PicturePrediction, predict_picture, predict_pictures};

use crate::data::{DataError, images_in};

/// The image files to predict.
#[derive(Debug, Default)]
pub struct ImageList {
    /// The files, in the order of the command line.
    pub paths: Vec<PathBuf>,
    /// The name of each file; the path from the named folder, if it is in one.
    pub names: Vec<PathBuf>,
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
                list.names.push(path.file_name().map_or_else(|| path.clone(), PathBuf::from));
                list.paths.push(path.clone());
                continue;
            }
            match images_in(path) {
                Ok((images, left_out)) => {
                    list.names.extend(images.iter().map(|image| image.strip_prefix(path).unwrap_or(image).to_owned()));
                    list.paths.extend(images);
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
