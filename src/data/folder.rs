//! A folder of image files, one subfolder a class: `train/CLASS/…` with an optional `test/CLASS/…`, or `CLASS/…` alone.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{DataError, Images, Picture, Shape};
use crate::config::Resize;

/// The file names taken for images.
const EXTENSIONS: [&str; 12] = ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "pgm", "ppm", "pnm", "pbm"];

/// The training set, the test set if there is one, and the class names in the order of their labels.
pub(super) fn load(dir: &Path, shape: Shape, resize: Resize) -> Result<(Images, Option<Images>, Vec<String>), DataError> {
    if !dir.is_dir() {
        let hint = "`data.dir` must be a folder with one subfolder of images for each class".to_owned();
        return Err(DataError::Missing { path: dir.to_owned(), hint });
    }
    let parted = dir.join("train");
    let train_dir = if parted.is_dir() { parted } else { dir.to_owned() };
    let classes = subfolders(&train_dir)?;
    if classes.len() < 2 {
        let problem = format!("has {} subfolders; expected at least 2, one for each class", classes.len());
        return Err(DataError::content(&train_dir, problem));
    }
    if u32::try_from(classes.len()).is_err() {
        return Err(DataError::content(&train_dir, "has too many subfolders"));
    }
    let train = read(&train_dir, &classes, shape, resize)?;
    let test_dir = dir.join("test");
    let test = if train_dir != dir && test_dir.is_dir() {
        if let Some(stranger) = subfolders(&test_dir)?.iter().find(|name| !classes.contains(name)) {
            return Err(DataError::content(&test_dir.join(stranger), "is a class that `train` does not have"));
        }
        Some(read(&test_dir, &classes, shape, resize)?)
    } else {
        None
    };
    Ok((train, test, classes))
}

fn read(dir: &Path, classes: &[String], shape: Shape, resize: Resize) -> Result<Images, DataError> {
    let mut files: Vec<(usize, u32, PathBuf)> = Vec::new();
    for (label, class) in (0_u32..).zip(classes) {
        let folder = dir.join(class);
        let own = image_files(&folder)?;
        if own.is_empty() {
            let problem = format!("has no images; expected files ending in {}", EXTENSIONS.map(|end| format!(".{end}")).join(", "));
            return Err(DataError::content(&folder, problem));
        }
        files.extend((0_usize..).zip(own).map(|(place, path)| (place, label, path)));
    }
    // One of each class in turn, so that the first n are of every class.
    files.sort_by_key(|(place, label, _)| (*place, *label));
    let pictures: Vec<Result<Picture, DataError>> = files.par_iter().map(|(.., path)| Picture::open(path, shape, resize)).collect();
    // Of several bad images the first is told, whichever thread came to it first.
    let pictures = pictures.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Images {
        shape,
        pixels: pictures.into_iter().flat_map(|picture| picture.pixels).collect(),
        labels: files.into_iter().map(|(_, label, _)| label).collect(),
    })
}

fn subfolders(dir: &Path) -> Result<Vec<String>, DataError> {
    sorted(dir, Path::is_dir)?
        .into_iter()
        .map(|path| match path.file_name().and_then(|name| name.to_str()) {
            Some(name) => Ok(name.to_owned()),
            None => Err(DataError::content(&path, "has a name that is not UTF-8; rename it")),
        })
        .filter(|name| !matches!(name, Ok(name) if name.starts_with('.')))
        .collect()
}

fn image_files(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    sorted(dir, |path| {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
        path.is_file() && extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
    })
}

fn sorted(dir: &Path, keep: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, DataError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(DataError::read(dir))? {
        let path = entry.map_err(DataError::read(dir))?.path();
        if keep(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
