//! What a network is trained for: the targets of samples, the data loss, and the metrics.

mod classify;
mod denoise;
mod symmetry;

use std::fmt::Debug;
use std::sync::Arc;

use burn::prelude::*;
use regulus_model::graph::{Features, Graph, Shape};

pub use classify::Classify;
pub use denoise::{Denoise, NoisyScore, PictureScore};

use crate::config::{self, ConfigError, Experiment, Implementation};
use crate::data::{Assemble, Batcher, Data, DataError, Picture, Subset, Targets};
use crate::metrics::{Measures, Scored};
use crate::network::{Output, Predictor};
use crate::seed::Seed;

/// The largest number of values of one layer in a batch of inference: 64 MiB of float32.
const ACTIVATION: usize = 1 << 24;

/// A task.
pub trait Task: Debug + Send + Sync {
    /// The names of the metrics that a training step sums over its samples, beside the data loss.
    fn step_metrics(&self) -> &'static [&'static str];

    /// What the network is to give for an image of shape `input`.
    fn output(&self, input: Shape, classes: usize) -> Features;

    /// Checks that the network `graph` can be applied to an image of this shape.
    ///
    /// # Errors
    ///
    /// In words, when it can't.
    fn check(&self, graph: &Graph, shape: Shape) -> Result<(), String>;

    /// Checks that the network `graph` can be measured on `subset`.
    ///
    /// # Errors
    ///
    /// When it can't be applied to an image of it.
    fn check_subset(&self, graph: &Graph, subset: &Subset) -> Result<(), DataError> {
        let mut last = None;
        for index in 0..subset.count() {
            let shape = subset.shape_of(index);
            if last.replace(shape) != Some(shape)
                && let Err(problem) = self.check(graph, shape)
            {
                let named = subset.file(index).map_or_else(|| format!("image {index}"), |file| format!("`{}`", file.display()));
                let problem = format!("the network can't be applied to {named} of {shape} (height×width×channels): {problem}");
                return Err(DataError::Dataset(problem));
            }
        }
        Ok(())
    }

    /// Assembles the batches of `epoch` (from 0) of the training split `subset`. A sample depends on the seed of the experiment, the
    /// epoch and its index alone. With `train.sampling` = "balanced" it takes places among the draws of the epoch in place of indices.
    fn assembler(&self, subset: &Subset, batcher: &Batcher, epoch: u64) -> Arc<Assemble>;

    /// The data loss of a batch and its metrics.
    fn loss(&self, implementation: Implementation, output: Output, targets: Targets) -> BatchLoss;

    /// Measures a network on all samples of `subset`. Losses are summed in float64 on the host, so that they do not depend on a backend's order of
    /// summation. Calls `each` with the index and the score of every sample, in order, and `on_progress` with the number of completed samples. Returns `None` if
    /// that returns `false`. With `each` the measures of a denoising network have those of the noisy pictures, too.
    fn measure(&self, predictor: &Predictor, subset: &Subset, each: Option<&mut OnScore>, on_progress: &mut OnProgress)
    -> Option<Measures>;

    /// What a network that gives pictures gets, gives and should give for a picture of `subset`. Of a large picture its middle. Returns `None` for another task.
    fn example(&self, _predictor: &Predictor, _subset: &Subset, _index: usize) -> Option<ExamplePictures> {
        None
    }
}

/// An example of what a network does that gives pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExamplePictures {
    /// What the network gets.
    pub input: Picture,
    /// What it gives.
    pub output: Picture,
    /// What it should give.
    pub target: Picture,
}

/// Callback with the index and the score of a sample.
pub type OnScore<'a> = dyn FnMut(usize, Score<'_>) + Send + 'a;

/// Callback with the number of completed samples. `false` ends the measurement.
pub type OnProgress<'a> = dyn FnMut(u64) -> bool + Send + 'a;

/// The score of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Score<'a> {
    /// Of a classifier, with its logits.
    Class(Scored, &'a [f32]),
    /// Of a network that gives pictures.
    Picture(PictureScore),
}

/// The data loss of a batch, and its metrics.
#[derive(Debug)]
pub struct BatchLoss {
    /// The mean over the samples, `[1]`.
    pub loss: Tensor<1>,
    /// The sum over the samples of each of [`Task::step_metrics`], `[1]` each, without autodiff.
    pub metrics: Vec<Tensor<1>>,
}

/// The task of an experiment with its training data.
///
/// # Errors
///
/// When `train.class_weights` do not fit the classes.
pub fn of(experiment: &Experiment, data: &Data) -> Result<Arc<dyn Task>, ConfigError> {
    Ok(match experiment.task {
        config::Task::Classify => Arc::new(Classify::new(experiment, data)?),
        config::Task::Denoise(denoise) => Arc::new(Denoise { sigma: denoise.sigma.get(), seed: experiment.seed }),
    })
}

/// The task of a trained network, to measure it.
#[must_use]
pub fn of_trained(task: regulus_model::Task) -> Box<dyn Task> {
    match task {
        regulus_model::Task::Classify => Box::new(Classify::default()),
        regulus_model::Task::Denoise { sigma } => Box::new(Denoise { sigma, seed: Seed::default() }),
    }
}
