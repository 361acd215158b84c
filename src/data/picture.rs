//! Reading of an image file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use image::ImageError;
use image::error::ImageFormatHint;
use regulus_images::{Picture, PictureError};
use regulus_model::preprocess::Preprocess;

use super::DataError;

/// Decodes and resizes the image file at `path` with `preprocess`. `content` is a buffer for the content of the file that can be reused.
///
/// # Errors
///
/// When the file is missing, damaged, too large or not an image.
pub fn read_picture(path: &Path, preprocess: &Preprocess, content: &mut Vec<u8>) -> Result<Picture, DataError> {
    read_with(path, content, |content| Picture::decode(content, preprocess))
}

/// Decodes the image file at `path` in its own size, with `channels` channels: 1 for grey, 3 for colour.
///
/// # Errors
///
/// As [`read_picture`].
pub fn read_in_own_size(path: &Path, channels: usize) -> Result<Picture, DataError> {
    read_with(path, &mut Vec::new(), |content| Picture::decode_in_own_size(content, channels))
}

fn read_with(path: &Path, content: &mut Vec<u8>, decode: impl Fn(&[u8]) -> Result<Picture, PictureError>) -> Result<Picture, DataError> {
    content.clear();
    File::open(path).and_then(|mut file| file.read_to_end(content)).map_err(DataError::read(path))?;
    decode(content).map_err(error_of(path))
}

/// A function that adds `path` to an error of decoding.
pub(super) fn error_of(path: &Path) -> impl FnOnce(PictureError) -> DataError {
    let path = path.to_owned();
    move |error| match error {
        PictureError::Content(problem) => DataError::Content { path, problem },
        PictureError::Image(ImageError::Unsupported(error)) if matches!(error.format_hint(), ImageFormatHint::Unknown) => {
            DataError::Undecodable { path, problem: "it is not a PNG, JPEG, GIF, BMP, TIFF, WebP or PNM image".to_owned() }
        }
        PictureError::Image(source) => DataError::Image { path, source },
        PictureError::Damaged(problem) => DataError::Undecodable { path, problem },
    }
}
