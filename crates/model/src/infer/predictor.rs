//! From the bytes of images to classes or images.

use super::{InferError, Model, Views};
use crate::graph::{Features, GraphError};
use crate::preprocess::Normalizer;
use crate::{Artifact, Shape};

/// A model with what its inputs are made by and what its outputs mean.
#[derive(Debug)]
pub struct Predictor {
    model: Model,
    normalizer: Normalizer,
    /// The number for every byte, channel by channel.
    table: Vec<[f32; 256]>,
    classes: Vec<String>,
    /// What logits are the mean over.
    views: Views,
}

impl Predictor {
    /// A predictor of a trained network.
    ///
    /// # Errors
    ///
    /// As [`Model::new`].
    pub fn new(artifact: &Artifact) -> Result<Self, InferError> {
        let description = &artifact.description;
        Ok(Self {
            model: Model::new(&description.graph, &artifact.weights)?,
            normalizer: description.preprocessing.normalizer.clone(),
            table: description.preprocessing.normalizer.table(),
            classes: description.classes.clone(),
            views: description.preprocessing.views(),
        })
    }

    /// The same for images of another size.
    ///
    /// # Errors
    ///
    /// As [`Model::with_input`].
    pub fn with_input(&self, input: Shape) -> Result<Self, GraphError> {
        let Self { model, normalizer, table, classes, views } = self;
        let (normalizer, table, classes) = (normalizer.clone(), table.clone(), classes.clone());
        Ok(Self { model: model.with_input(input)?, normalizer, table, classes, views: *views })
    }

    /// The shape of the images it takes.
    #[must_use]
    pub const fn input(&self) -> Shape {
        self.model.input()
    }

    /// The names of its classes, in the order of its logits; none where it gives images.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Its model.
    #[must_use]
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// The network's output for images, `[image, class]` for one that tells classes apart: the mean over the views that its preprocessing says.
    /// An image is a byte for each pixel and channel: all rows of the first channel, then of the next.
    ///
    /// # Errors
    ///
    /// When an image is not of the shape that [`Predictor::input`] says.
    pub fn logits(&self, images: &[&[u8]]) -> Result<Vec<f32>, InferError> {
        let expected = self.input().size();
        if let Some((number, image)) = images.iter().enumerate().find(|(_, image)| image.len() != expected) {
            return Err(InferError::Image { number, found: image.len(), expected });
        }
        Ok(if self.views.is_image() { self.forward(images) } else { self.views.mean(images, self.input(), |images| self.forward(images)) })
    }

    fn forward(&self, images: &[&[u8]]) -> Vec<f32> {
        let Shape { height, width, .. } = self.input();
        let channels = images.iter().flat_map(|image| image.chunks_exact(height * width).zip(&self.table));
        let numbers: Vec<f32> = channels.flat_map(|(channel, table)| channel.iter().map(|byte| table[usize::from(*byte)])).collect();
        self.model.forward(&numbers, images.len())
    }

    /// The probabilities of the classes for each image.
    ///
    /// # Errors
    ///
    /// As [`Predictor::logits`], and when the network does not give classes.
    pub fn probabilities(&self, images: &[&[u8]]) -> Result<Vec<Vec<f64>>, InferError> {
        if self.classes.is_empty() {
            return Err(InferError::Output { found: self.model.output(), expected: "classes" });
        }
        Ok(self.logits(images)?.chunks_exact(self.classes.len()).map(probabilities).collect())
    }

    /// The images that the network makes of images, as bytes: its output times the deviations plus the means, cut off at black and white, and rounded.
    ///
    /// # Errors
    ///
    /// As [`Predictor::logits`], and when the network does not give images of as many channels as it takes.
    pub fn images(&self, images: &[&[u8]]) -> Result<Vec<Vec<u8>>, InferError> {
        let found = self.model.output();
        let Some(shape) =
            (if let Features::Map(shape) = found { Some(shape) } else { None }).filter(|shape| shape.channels == self.table.len())
        else {
            return Err(InferError::Output { found, expected: "images" });
        };
        let out = self.logits(images)?;
        let image = |image: &[f32]| {
            let planes = image.chunks_exact(shape.height * shape.width).zip(self.normalizer.mean.iter().zip(&self.normalizer.deviation));
            planes
                .flat_map(|(plane, (mean, deviation))| plane.iter().map(move |number| byte(f64::from(*number) * deviation + mean)))
                .collect()
        };
        Ok(out.chunks_exact(shape.size()).map(image).collect())
    }
}

/// The byte of a brightness between 0 and 1; 0 for NaN.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is cut off to what a byte has")]
fn byte(brightness: f64) -> u8 {
    (brightness.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// The probabilities of the logits of one image: their softmax, in float64.
#[must_use]
pub fn probabilities(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (f64::from(*logit) - f64::from(largest)).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_the_softmax() {
        let [three, one] = probabilities(&[3_f32.ln() + 80.0, 80.0])[..] else { panic!("two probabilities") };
        assert!((three - 0.75).abs() < 1e-5 && (one - 0.25).abs() < 1e-5);
        assert_eq!(probabilities(&[1e30, -1e30, 0.0]), [1.0, 0.0, 0.0]);
    }
}
