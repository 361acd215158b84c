//! Reading of an image file in the input shape of a network.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use regulus_images::{Picture, PictureError};
use regulus_model::preprocess::Preprocess;

use super::DataError;

/// Decodes and resizes the image file at `path` with `preprocess`. `content` is a buffer for the content of the file that can be reused.
///
/// # Errors
///
/// When the file is missing, damaged, too large or not an image.
pub fn read_picture(path: &Path, preprocess: &Preprocess, content: &mut Vec<u8>) -> Result<Picture, DataError> {
    content.clear();
    File::open(path).and_then(|mut file| file.read_to_end(content)).map_err(DataError::read(path))?;
    Picture::decode(content, preprocess).map_err(|error| match error {
        PictureError::Content(problem) => DataError::content(path, problem),
        PictureError::Image(source) => DataError::Image { path: path.to_owned(), source },
        PictureError::Damaged(problem) => DataError::Undecodable { path: path.to_owned(), problem },
    })
}
