//! Listings as version 0.1.0 made them, for runs of that version: files with known extensions directly in the class folders, without a validation
//! folder.

use std::path::{Path, PathBuf};

use super::DataError;
use super::folder::{Listing, SplitFiles};
use super::left_out::LeftOut;
use super::scan::FoundFile;

/// The extensions of image files.
const EXTENSIONS: [&str; 12] = ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "pgm", "ppm", "pnm", "pbm"];

/// Lists the files of the dataset in `dir`.
pub(super) fn list(dir: &Path) -> Result<Listing, DataError> {
    let train = dir.join("train");
    let train_dir = if train.is_dir() { train } else { dir.to_owned() };
    let names =
        sorted(&train_dir)?.into_iter().filter(|path| path.is_dir()).filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let classes: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    let test_dir = dir.join("test");
    let test = if train_dir != dir && test_dir.is_dir() { Some(split(&test_dir, &classes)?) } else { None };
    let train = split(&train_dir, &classes)?;
    Ok(Listing { classes, splits: [Some(train), None, test], left_out: LeftOut::default(), warnings: Vec::new() })
}

fn split(dir: &Path, classes: &[String]) -> Result<SplitFiles, DataError> {
    let files = |class: &String| -> Result<Vec<FoundFile>, DataError> {
        let folder = dir.join(class);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let found = sorted(&folder)?.into_iter().filter(|path| path.is_file() && has_known_extension(path));
        Ok(found.filter_map(|path| FoundFile::of(&path).ok()).collect())
    };
    Ok(SplitFiles { dir: dir.to_owned(), by_class: classes.iter().map(files).collect::<Result<_, _>>()?, outside: Vec::new() })
}

fn has_known_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = std::fs::read_dir(dir).map_err(DataError::read(dir))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().map_err(DataError::read(dir))?;
    paths.sort();
    Ok(paths)
}
