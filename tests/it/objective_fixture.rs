//! The network, the data and the objectives whose numbers `tests/fixtures/objective.py` makes, and how they are compared.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::ParamId;
use burn::optim::GradientsParams;
use burn::prelude::*;
use regulus::backend;
use regulus::config::Experiment;
use regulus::data::{self, Batcher, Data, DataLoader};
use regulus::network::{Network, ParamVisitor};
use regulus::objective::Penalties;
use regulus::schedule::RunLength;
use regulus::task::{self, Task};
use regulus::train::{ParameterOptimizer, StepContext, StepSums, Stepper};
use regulus_model::Weights;
use regulus_model::graph::Parameter;
use serde::Deserialize;

pub(crate) type Numbers = HashMap<String, Vec<f64>>;

#[derive(Deserialize)]
pub(crate) struct Fixture {
    pub(crate) batches: Vec<Vec<u32>>,
    pub(crate) cases: Vec<Case>,
    pub(crate) clipped: Clipped,
    pub(crate) penalties: Vec<Penalized>,
    pub(crate) after: Vec<After>,
    pub(crate) smoothed: Smoothed,
    pub(crate) weighted: Vec<Weighted>,
}

#[derive(Deserialize)]
pub(crate) struct Weighted {
    pub(crate) class_weights: Vec<f64>,
    pub(crate) label_smoothing: f64,
    pub(crate) batch: Vec<u32>,
    pub(crate) data_loss: f64,
    pub(crate) gradients: Numbers,
}

#[derive(Deserialize)]
pub(crate) struct Smoothed {
    pub(crate) label_smoothing: f64,
    pub(crate) data_loss: f64,
    pub(crate) gradients: Numbers,
}

#[derive(Deserialize)]
pub(crate) struct Penalized {
    pub(crate) sets: Vec<String>,
    pub(crate) penalty: f64,
    pub(crate) gradients: Numbers,
}

#[derive(Deserialize)]
pub(crate) struct After {
    pub(crate) sets: Vec<String>,
    pub(crate) weights: Numbers,
}

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) lambda: f64,
    pub(crate) samples: String,
    pub(crate) data_loss: f64,
    pub(crate) penalty: f64,
    pub(crate) gradients: Numbers,
    pub(crate) after_sgd: Numbers,
    pub(crate) after_momentum: Numbers,
    pub(crate) after_adam: Numbers,
    pub(crate) after_adamw: Numbers,
    pub(crate) after_rmsprop: Numbers,
}

#[derive(Deserialize)]
pub(crate) struct Clipped {
    pub(crate) max_norm: f64,
    pub(crate) gradients: Numbers,
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/objective")
}

pub(crate) fn fixture() -> Fixture {
    serde_json::from_slice(&std::fs::read(folder().join("cases.json")).unwrap()).unwrap()
}

/// The fixture's network, data and objective on one backend.
pub(crate) struct Setting {
    pub(crate) experiment: Experiment,
    pub(crate) data: Data,
    pub(crate) device: Device,
    pub(crate) network: Network,
    pub(crate) penalties: Penalties,
    pub(crate) batcher: Batcher,
}

impl Setting {
    pub(crate) fn new(backend: &str, sets: &[String]) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "name = \"fixture\"\n[backend]\nkind = \"{backend}\"\n[data]\nsource = \"idx\"\ndir = '{}'\ntrain_images = \"images.idx\"\n\
             train_labels = \"labels.idx\"\n[model]\nchannels = [3, 4]\nhidden = 5\n[[penalty]]\nkind = \"l2\"\nlambda = 0\n",
            folder().display()
        );
        std::fs::write(file.path(), text).unwrap();
        let experiment = Experiment::load(file.path(), sets).unwrap();
        let device = backend::open(&experiment.backend).unwrap().device.autodiff();
        let data = data::load(&experiment).unwrap();
        let graph = experiment.model.graph(data.train.shape(), data.classes.len()).unwrap();
        let path = folder().join("weights.safetensors");
        let network = Network::blank(&graph, &device).with_weights(&Weights::from_file(&path).unwrap(), &path).unwrap();
        let penalties = Penalties::new(&experiment.penalty, &graph, RunLength::new(&experiment.train, data.train.count())).unwrap();
        let batcher = Batcher::new(&data.normalizer, &device.device);
        Self { experiment, data, device: device.device, network, penalties, batcher }
    }

    /// Gradients and sums of the first step.
    pub(crate) fn gradients(&self, indices: &[u32]) -> (GradientsParams, StepSums) {
        let context = StepContext { samples: indices.len(), rate: 0.0, step: 0 };
        let stepper = Stepper::new(&self.experiment, self.task(), &self.device);
        let found = stepper.gradients(&self.network, &mut self.penalties.clone(), &mut self.loader(indices).batch(0), context);
        (found.gradients, found.sums)
    }

    pub(crate) fn trained(&self, batches: &[Vec<u32>]) -> Weights {
        let mut optimizer = ParameterOptimizer::new(&self.experiment.optimizer.method, self.network.implementation());
        let rate = self.experiment.optimizer.learning_rate.get();
        let mut network = self.network.clone();
        let mut penalties = self.penalties.clone();
        let stepper = Stepper::new(&self.experiment, self.task(), &self.device);
        for (step, batch) in (0..).zip(batches) {
            let context = StepContext { samples: batch.len(), rate, step };
            network = stepper.step(network, &mut optimizer, &mut penalties, &mut self.loader(batch).batch(0), context).0;
        }
        network.weights()
    }

    /// A loader of one batch.
    fn loader(&self, batch: &[u32]) -> DataLoader {
        DataLoader::in_order(&self.experiment, self.task().assembler(&self.data.train, &self.batcher, 0), batch, batch.len())
    }

    fn task(&self) -> Arc<dyn Task> {
        task::of(&self.experiment, &self.data).unwrap()
    }
}

/// Gradients under PyTorch's names and layouts.
struct Named<'a> {
    gradients: &'a GradientsParams,
    found: HashMap<String, Vec<f32>>,
}

impl ParamVisitor for Named<'_> {
    fn visit<const D: usize>(&mut self, parameter: &Parameter, id: ParamId, _tensor: Tensor<D>) {
        let gradient = self.gradients.get::<D>(id).expect("every parameter has a gradient");
        let gradient = if D == 2 { gradient.swap_dims(0, 1) } else { gradient };
        self.found.insert(parameter.name.clone(), gradient.into_data().iter::<f32>().collect());
    }
}

pub(crate) fn named(network: &Network, gradients: &GradientsParams) -> HashMap<String, Vec<f32>> {
    let mut named = Named { gradients, found: HashMap::new() };
    network.visit_parameters(&mut named);
    named.found
}

pub(crate) fn assert_gradients(found: &HashMap<String, Vec<f32>>, expected: &Numbers, label: &str) {
    assert_eq!(found.len(), expected.len());
    for (name, expected) in expected {
        let largest = expected.iter().fold(0.0_f64, |largest, number| largest.max(number.abs()));
        assert!(largest > 0.0, "{name} has a gradient");
        for (found, expected) in found[name].iter().zip(expected) {
            let difference = (f64::from(*found) - expected).abs() / largest;
            assert!(difference < 1e-5, "{label}, {name}: {found} against {expected}, {difference:e} of the largest");
        }
    }
}

pub(crate) fn assert_weights(found: &Weights, expected: &Numbers, tolerance: f64, label: &str) {
    for (name, expected) in expected {
        let found = &found.get(name).unwrap().numbers;
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let difference = (f64::from(*found) - expected).abs();
            assert!(difference < tolerance, "{label}, {name}: {found} against {expected}");
        }
    }
}
