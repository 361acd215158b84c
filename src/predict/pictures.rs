//! Denoising pictures.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use regulus_model::Task;
use serde::Serialize;

use super::ListedImage;
use crate::atomic;
use crate::data::{DataError, Picture, read_in_own_size};
use crate::error::{Error, WriteError};
use crate::network::PicturePredictor;
use crate::trained::Trained;

/// A picture that was denoised and written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PicturePrediction {
    /// The file of the noisy picture.
    pub image: String,
    /// The file of the denoised picture.
    pub output: String,
}

/// Callback with the path and the result of a picture. `Break` ends the prediction.
pub type EachPicture<'a> = dyn FnMut(&Path, Result<PicturePrediction, Error>) -> Result<ControlFlow<()>, Error> + 'a;

/// Denoises the picture files `images` and writes each as a PNG file of the same name to the folder `output`, at the same path as in the named folder. Where
/// two files differ in their extension only, the second is written as `NAME.EXTENSION.png`. Calls `each` with the path and the result of every picture, in
/// order, until it returns `Break`. A file that is missing, damaged or not an image is an error of that picture only, and so is an output file that exists. A
/// file that is listed twice is denoised once.
///
/// # Errors
///
/// When the network gives no pictures, `output` is a file, or `each` fails.
pub fn predict_pictures(trained: &Trained, images: &[ListedImage], output: &Path, each: &mut EachPicture) -> Result<(), Error> {
    check_task(trained)?;
    trained.description.preprocess().map_err(DataError::Dataset)?;
    if output.exists() && !output.is_dir() {
        return Err(Error::Usage(format!("`{}` is not a folder; name a folder to write the pictures to", output.display())));
    }
    let mut predictor = PicturePredictor::new(&trained.predictor);
    let mut written: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    let mut seen: BTreeSet<&Path> = BTreeSet::new();
    for ListedImage { path, name } in images.iter().filter(|image| seen.insert(&image.path)) {
        let target = output.join(name.with_extension("png"));
        let target = if written.contains_key(&target) { output.join(format!("{}.png", name.display())) } else { target };
        let result = if written.contains_key(&target) || target.exists() {
            let problem = format!("`{}` exists already; remove it, or choose another folder", target.display());
            Err(Error::Usage(problem))
        } else {
            predict_file(trained, &mut predictor, path, &target)
        };
        if result.is_ok() {
            written.insert(target, path);
        }
        if each(path, result)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn predict_file(trained: &Trained, predictor: &mut PicturePredictor, path: &Path, target: &Path) -> Result<PicturePrediction, Error> {
    let picture = read_in_own_size(path, trained.description.graph.input().channels)?;
    let denoised =
        denoised(trained, predictor, &picture).map_err(|problem| DataError::content(path, format!("can't be denoised: {problem}")))?;
    let file = denoised.to_png().unwrap_or_else(|| unreachable!("a picture that was read is grey or colour"));
    let folder = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(WriteError::at(folder))?;
    atomic::write(target, &file)?;
    Ok(PicturePrediction { image: path.display().to_string(), output: target.display().to_string() })
}

/// The denoised picture.
///
/// # Errors
///
/// When the network gives no pictures, or can't be applied to one of this shape.
pub fn predict_picture(trained: &Trained, picture: &Picture) -> Result<Picture, DataError> {
    check_task(trained)?;
    denoised(trained, &mut PicturePredictor::new(&trained.predictor), picture).map_err(|problem| {
        DataError::Dataset(format!("a picture of {} (height×width×channels) can't be denoised: {problem}", picture.shape))
    })
}

/// The denoised picture, or the problem in words.
fn denoised(trained: &Trained, predictor: &mut PicturePredictor, picture: &Picture) -> Result<Picture, String> {
    let Picture { shape, pixels } = picture;
    PicturePredictor::check(&trained.description.graph, *shape)?;
    if pixels.len() != shape.size() {
        return Err(format!("it has {} pixels; expected {}", pixels.len(), shape.size()));
    }
    let tables = trained.description.preprocessing.normalizer.table();
    let area = shape.height * shape.width;
    let values: Vec<f32> =
        pixels.chunks_exact(area).zip(&tables).flat_map(|(plane, table)| plane.iter().map(|pixel| table[usize::from(*pixel)])).collect();
    let denoised = predictor.forward(&values, *shape).map_err(|error| error.to_string())?;
    Ok(Picture { shape: *shape, pixels: denoised.into_iter().map(byte).collect() })
}

/// The byte of a value from 0 to 1, rounded; values outside are clipped.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clipped to the range of a byte")]
fn byte(value: f32) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// Checks that the network gives pictures.
fn check_task(trained: &Trained) -> Result<(), DataError> {
    match trained.description.task {
        Task::Denoise { .. } => Ok(()),
        Task::Classify => Err(DataError::Dataset("the network gives classes, not pictures".to_owned())),
    }
}
