//! An image file, read and brought to the shape a network takes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use regulus_images::{Picture, PictureError};
use regulus_model::preprocess::Preprocess;

use super::DataError;

/// Decodes the image file at `path` and brings it to the shape that `preprocess` asks for. `content` is a buffer for what is in the file: one that is used again
/// costs no new memory.
///
/// # Errors
///
/// When the file is missing, is no image, is damaged or too large.
pub fn read_picture(path: &Path, preprocess: &Preprocess, content: &mut Vec<u8>) -> Result<Picture, DataError> {
    content.clear();
    File::open(path).and_then(|mut file| file.read_to_end(content)).map_err(DataError::read(path))?;
    Picture::decode(content, preprocess).map_err(|error| match error {
        PictureError::Content(problem) => DataError::content(path, problem),
        PictureError::Image(source) => DataError::Image { path: path.to_owned(), source },
        PictureError::Damaged(problem) => DataError::Picture { path: path.to_owned(), problem },
    })
}
