//! Lists of the images in a folder, without classes.

use std::path::{Path, PathBuf};

use super::decode::only_images;
use super::scan::files;
use super::{DataError, LeftOut};

/// The image files in `dir` at any depth, sorted by path, and the files that are left out.
///
/// # Errors
///
/// When the folder can't be read or has no image.
pub fn images_in(dir: &Path) -> Result<(Vec<PathBuf>, LeftOut), DataError> {
    let (files, mut left_out) = files(dir)?;
    let images = only_images(&files, &mut left_out);
    if images.is_empty() {
        let reason = if left_out.is_empty() { String::new() } else { format!(", but {left_out}") };
        return Err(DataError::content(dir, format!("has no images{reason}")));
    }
    Ok((images, left_out))
}
