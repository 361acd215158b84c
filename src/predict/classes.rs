//! Predicting the classes of images.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use regulus_model::Task;
use regulus_model::graph::Shape;
use regulus_model::infer::probabilities;
use regulus_model::preprocess::Preprocess;
use serde::Serialize;

use crate::data::{DataError, Picture, read_picture};
use crate::error::Error;
use crate::trained::Trained;

/// The number of images decoded at once. It starts small, so that the first result comes early.
const DECODED_AT_ONCE: [usize; 4] = [8, 8, 16, 32];
/// The batch size of inference.
const BATCH_SIZE: usize = 8;

/// The prediction for one image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// The file.
    pub image: String,
    /// The most probable classes, in decreasing order.
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

/// Options of [`predict`].
#[derive(Clone, Copy, Debug)]
pub struct PredictOptions {
    /// The number of classes to return for an image.
    pub top: usize,
    /// Whether images are inverted (black and white swapped) first.
    pub invert: bool,
}

/// Callback with the path and the prediction of an image. `Break` ends the prediction.
pub type EachPrediction<'a> = dyn FnMut(&Path, Result<Prediction, DataError>) -> Result<ControlFlow<()>, Error> + 'a;

/// Predicts the classes of the image files at `paths`, with the preprocessing of training. Calls `each` with the path and the result of every image,
/// in order, until it returns `Break`. A file that is missing, damaged or not an image is an error of that image only.
///
/// # Errors
///
/// When the network is no classifier, its input is not an image shape, or `each` fails.
pub fn predict(trained: &Trained, paths: &[PathBuf], options: PredictOptions, each: &mut EachPrediction) -> Result<(), Error> {
    check_task(trained)?;
    let preprocess = trained.description.preprocess().map_err(DataError::Dataset)?;
    let mut rest = paths;
    let mut sizes = DECODED_AT_ONCE.into_iter();
    let mut size = DECODED_AT_ONCE[0];
    while !rest.is_empty() {
        size = sizes.next().unwrap_or(size);
        let (batch, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        let predictions = trained.predictor.threads().run(|| predict_batch(trained, batch, &preprocess, options));
        for (path, prediction) in batch.iter().zip(predictions) {
            if each(path, prediction)?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The classes of images in memory with their probabilities, the most probable first. An image is a byte for each pixel and channel: all rows of the first
/// channel, then of the next.
///
/// # Errors
///
/// When the network is no classifier, or an image does not have the size of its input.
pub fn predict_images(trained: &Trained, images: &[&[u8]]) -> Result<Vec<Vec<ClassProbability>>, DataError> {
    check_task(trained)?;
    let shape = trained.description.graph.input();
    if let Some((index, image)) = images.iter().enumerate().find(|(_, image)| image.len() != shape.size()) {
        let problem = format!("image {index} has {} bytes; expected {}, for {shape} (height×width×channels)", image.len(), shape.size());
        return Err(DataError::Dataset(problem));
    }
    let names = &trained.description.classes;
    let logits = trained.predictor.threads().run(|| logits(trained, images, shape));
    Ok(logits.chunks_exact(names.len()).map(|logits| ranked(logits, names)).collect())
}

/// Checks that the network is a classifier.
fn check_task(trained: &Trained) -> Result<(), DataError> {
    if trained.description.task == Task::Classify {
        return Ok(());
    }
    Err(DataError::Dataset("the network gives pictures instead of classes; use `predict_picture`".to_owned()))
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

/// The logits of images. All batches are padded to the same size, because tensors of other sizes round sums differently: the logits of an image do not depend
/// on the other images.
fn logits(trained: &Trained, images: &[&[u8]], shape: Shape) -> Vec<f32> {
    let blank = vec![0; shape.size()];
    let batch_logits = |batch: &[&[u8]]| {
        let padded: [&[u8]; BATCH_SIZE] = std::array::from_fn(|index| batch.get(index).copied().unwrap_or(&blank));
        let mut logits = trained.predictor.logits(&padded);
        logits.truncate(batch.len() * trained.description.classes.len());
        logits
    };
    images.chunks(BATCH_SIZE).flat_map(batch_logits).collect()
}

fn prediction(path: &Path, logits: &[f32], names: &[String], top: usize) -> Prediction {
    let mut classes = ranked(logits, names);
    classes.truncate(top);
    Prediction { image: path.display().to_string(), classes }
}

/// All classes with their probabilities, the most probable first.
fn ranked(logits: &[f32], names: &[String]) -> Vec<ClassProbability> {
    let mut classes: Vec<ClassProbability> = probabilities(logits)
        .into_iter()
        .zip(names)
        .enumerate()
        .map(|(label, (probability, class))| ClassProbability { class: class.clone(), label, probability })
        .collect();
    classes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    classes
}
