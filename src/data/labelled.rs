//! Folders of images apart from a training set: labelled ones to measure on, and others to predict.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::{DataError, Images, Part, Picture, Shape};
use crate::config::Resize;

/// Images of a folder.
#[derive(Clone, Debug)]
pub struct FoundImages {
    /// The images, sorted by path.
    pub paths: Vec<PathBuf>,
    /// A sentence on the files that are no images, if there are any.
    pub warning: Option<String>,
}

/// The images in `dir` and the folders in it, told by their content.
///
/// # Errors
///
/// When a folder or file can't be read, or there is no image.
pub fn images_in(dir: &Path) -> Result<FoundImages, DataError> {
    let mut files = Vec::new();
    collect(dir, &mut files)?;
    files.sort();
    let mut paths = Vec::new();
    let mut others: BTreeMap<String, usize> = BTreeMap::new();
    for path in files {
        if is_image(&path)? {
            paths.push(path);
        } else {
            let kind = path.extension().map_or("no extension".to_owned(), |end| format!(".{}", end.to_string_lossy()));
            *others.entry(kind).or_default() += 1;
        }
    }
    if paths.is_empty() {
        return Err(DataError::content(dir, "has no images; expected PNG, JPEG, BMP, GIF, PNM, TIFF or WebP files"));
    }
    let count: usize = others.values().sum();
    let kinds: Vec<String> = others.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
    let warning = (count > 0)
        .then(|| format!("`{}` has files that are no images, which are left out: {count} ({})", dir.display(), kinds.join(", ")));
    Ok(FoundImages { paths, warning })
}

/// The images of `dir`, which has one subfolder for each class, with their paths; the label of a class is its place in `classes`. A class
/// without a subfolder has no images. The warnings tell what was left out.
///
/// # Errors
///
/// When a subfolder is no class of `classes`, or an image can't be decoded.
pub fn labelled_folder(dir: &Path, classes: &[String], shape: Shape, resize: Resize) -> Result<LabelledFolder, DataError> {
    let mut files: Vec<(u32, PathBuf)> = Vec::new();
    let mut warnings = Vec::new();
    let mut folders = 0;
    for path in entries(dir)?.into_iter().filter(|path| path.is_dir()) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let label = (0_u32..).zip(classes).find(|(_, class)| **class == name);
        let Some((label, _)) = label else {
            let problem = format!("is no class of the model; its classes are {}", listed(classes));
            return Err(DataError::content(&path, problem));
        };
        folders += 1;
        let found = images_in(&path)?;
        warnings.extend(found.warning);
        files.extend(found.paths.into_iter().map(|path| (label, path)));
    }
    if folders == 0 {
        let problem = format!("has no subfolders; expected one for each class: {}", listed(classes));
        return Err(DataError::content(dir, problem));
    }
    let pictures: Vec<Result<Picture, DataError>> = files.par_iter().map(|(_, path)| Picture::open(path, shape, resize)).collect();
    let pictures = pictures.into_iter().collect::<Result<Vec<_>, _>>()?;
    let images = Images {
        shape,
        pixels: pictures.into_iter().flat_map(|picture| picture.pixels).collect(),
        labels: files.iter().map(|(label, _)| *label).collect(),
    };
    let paths = files.into_iter().map(|(_, path)| path).collect();
    Ok(LabelledFolder { part: Part::all(Arc::new(images)), paths, warnings })
}

/// Labelled images with their paths.
#[derive(Clone, Debug)]
pub struct LabelledFolder {
    /// The images.
    pub part: Part,
    /// The file of each.
    pub paths: Vec<PathBuf>,
    /// What was left out, in words.
    pub warnings: Vec<String>,
}

/// Names of classes for a message.
fn listed(classes: &[String]) -> String {
    const SHOWN: usize = 10;
    let names: Vec<String> = classes.iter().take(SHOWN).map(|class| format!("`{class}`")).collect();
    let more = if classes.len() > SHOWN { format!(" and {} more", classes.len() - SHOWN) } else { String::new() };
    names.join(", ") + &more
}

/// What is in a folder, sorted; hidden files are passed over.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(DataError::read(dir))? {
        let entry = entry.map_err(DataError::read(dir))?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    for path in entries(dir)? {
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether a file begins as an image does.
fn is_image(path: &Path) -> Result<bool, DataError> {
    let mut start = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(64).read_to_end(&mut start)).map_err(DataError::read(path))?;
    Ok(image::guess_format(&start).is_ok())
}
