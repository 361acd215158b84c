//! Predicting the class of images.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use regulus_model::graph::Shape;
use regulus_model::preprocess::Preprocess;
use serde::Serialize;

use crate::backend::on_threads;
use crate::data::{DataError, Picture, images_in, read_picture};
use crate::error::Error;
use crate::metrics::softmax;
use crate::trained::Trained;

/// Images that are decoded at once: few at first, so that the first result comes early.
const BATCHES: [usize; 4] = [8, 8, 16, 32];
/// Images that are computed at once.
const GROUP: usize = 8;

/// The classes of one image, most probable first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// The file.
    pub image: String,
    /// The classes.
    pub classes: Vec<ClassProbability>,
}

/// A class and its probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassProbability {
    /// Its name.
    pub class: String,
    /// Its label.
    pub label: usize,
    /// The softmax of its logit.
    pub probability: f64,
}

/// How to predict.
#[derive(Clone, Copy, Debug)]
pub struct PredictOptions {
    /// The number of classes to name for an image.
    pub top: usize,
    /// Whether black and white are swapped first.
    pub invert: bool,
}

/// Image files to predict.
#[derive(Debug, Default)]
pub struct ImageList {
    /// The files, in the order they were named.
    pub paths: Vec<PathBuf>,
    /// What was left out, in words.
    pub warnings: Vec<String>,
    /// Folders that can't be read or have no images.
    pub failed: Vec<(PathBuf, DataError)>,
}

impl ImageList {
    /// The files among `named`, and the images in the folders among them and in the folders below, each folder's sorted by path.
    #[must_use]
    pub fn of(named: &[PathBuf]) -> Self {
        let mut list = Self::default();
        for path in named {
            if !path.is_dir() {
                list.paths.push(path.clone());
                continue;
            }
            match images_in(path) {
                Ok((images, left_out)) => {
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

/// Gets the path and the prediction of every image, and may end the predicting.
pub type EachPrediction<'a> = dyn FnMut(&Path, Result<Prediction, DataError>) -> Result<ControlFlow<()>, Error> + 'a;

/// Predicts the classes of the image files at `paths`, prepared as the training images were. Calls `each` with the path and the result of
/// every one, in order, until it breaks off; an image that is missing, damaged or no image is an error of its own.
///
/// # Errors
///
/// When the network takes images that no file gives, or `each` fails.
pub fn predict(trained: &Trained, paths: &[PathBuf], options: PredictOptions, each: &mut EachPrediction) -> Result<(), Error> {
    let preprocess = trained.description.preprocess().map_err(DataError::Set)?;
    let mut rest = paths;
    let mut sizes = BATCHES.into_iter();
    let mut size = BATCHES[0];
    while !rest.is_empty() {
        size = sizes.next().unwrap_or(size);
        let (batch, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        let predictions = on_threads(trained.predictor.implementation(), || predict_batch(trained, batch, &preprocess, options));
        for (path, prediction) in batch.iter().zip(predictions) {
            if each(path, prediction)?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn predict_batch(
    trained: &Trained,
    paths: &[PathBuf],
    preprocess: &Preprocess,
    options: PredictOptions,
) -> Vec<Result<Prediction, DataError>> {
    let decode = |path: &PathBuf| {
        let picture = read_picture(path, preprocess, &mut Vec::new())?;
        Ok(if options.invert { picture.inverted() } else { picture })
    };
    let pictures: Vec<Result<Picture, DataError>> = paths.par_iter().map(decode).collect();
    let pixels: Vec<&[u8]> = pictures.iter().flatten().map(|picture| picture.pixels.as_slice()).collect();
    let logits = logits(trained, &pixels, preprocess.shape);
    let mut logits = logits.chunks_exact(trained.description.classes.len());
    let predictions = paths.iter().zip(pictures).map(|(path, picture)| {
        picture.map(|_| prediction(path, logits.next().unwrap_or_default(), &trained.description.classes, options.top))
    });
    predictions.collect()
}

/// The logits of images, computed in groups of one size, so that an image has the same ones whatever others there are: sums are rounded differently
/// in tensors of other sizes.
fn logits(trained: &Trained, images: &[&[u8]], shape: Shape) -> Vec<f32> {
    let none = vec![0; shape.size()];
    let group = |group: &[&[u8]]| {
        let filled: [&[u8]; GROUP] = std::array::from_fn(|place| group.get(place).copied().unwrap_or(&none));
        let mut logits = trained.predictor.logits(&filled);
        logits.truncate(group.len() * trained.description.classes.len());
        logits
    };
    images.chunks(GROUP).flat_map(group).collect()
}

fn prediction(path: &Path, logits: &[f32], names: &[String], top: usize) -> Prediction {
    let mut classes: Vec<ClassProbability> = softmax(logits)
        .into_iter()
        .zip(names)
        .enumerate()
        .map(|(label, (probability, class))| ClassProbability { class: class.clone(), label, probability })
        .collect();
    classes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    classes.truncate(top);
    Prediction { image: path.display().to_string(), classes }
}
