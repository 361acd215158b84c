//! Predicting the class of images.

use std::path::Path;

use serde::Serialize;

use crate::backend::numbers;
use crate::data::{DataError, Picture};
use crate::metrics::softmax;
use crate::trained::Trained;

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

/// Predicts the `top` most probable classes of the image file at `path`, prepared as the training images were; `invert` swaps black
/// and white first.
///
/// # Errors
///
/// When the file is missing, is no image, or is damaged.
pub fn predict(trained: &Trained, path: &Path, top: usize, invert: bool) -> Result<Prediction, DataError> {
    let shape = trained.manifest.architecture.input;
    if !matches!(shape.channels, 1 | 3) {
        let message =
            format!("the network takes images of {} channels, which no image file gives; expected 1 (grey) or 3 (colour)", shape.channels);
        return Err(DataError::Set(message));
    }
    let mut picture = Picture::open(path, &trained.manifest.preprocess())?;
    if invert {
        picture = picture.inverted();
    }
    let images = trained.batcher.images(shape, [picture.pixels.as_slice()].into_iter());
    let logits = numbers(trained.network.forward(images, None));
    let mut classes: Vec<ClassProbability> = softmax(&logits)
        .into_iter()
        .zip(&trained.manifest.classes)
        .enumerate()
        .map(|(label, (probability, class))| ClassProbability { class: class.clone(), label, probability })
        .collect();
    classes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    classes.truncate(top);
    Ok(Prediction { image: path.display().to_string(), classes })
}
