//! Networks of `model.kind = "layers"` against PyTorch in float64: batch normalization, residual blocks, groups, windows of all kinds,
//! differences and GELU.
//!
//! The numbers are made by `tests/fixtures/layers.py`. A gradient is read off one step of gradient descent with a rate so large that the weights
//! before it hardly count.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use regulus::backend::{self, ComputeDevice};
use regulus::config::{Backend, BackendKind, Experiment, Implementation, Init};
use regulus::data::{self, Batcher, Data, DataLoader};
use regulus::network::{Network, Predictor};
use regulus::objective::Penalties;
use regulus::schedule::RunLength;
use regulus::seed::Seed;
use regulus::task;
use regulus::train::{ParameterOptimizer, StepContext, Stepper};
use regulus_model::graph::{Layer, Shape};
use regulus_model::networks::{DnCnn, layers};
use regulus_model::preprocess::Normalizer;
use regulus_model::{Graph, Values, Weights};
use serde::Deserialize;

use crate::support::{backends_and_kernels, cpu_backends};

/// The rate of the step that gives the gradient: a power of two.
const RATE: f64 = 65_536.0;
/// Differences, as parts of the largest number of a tensor. Float32 is off by up to 2.4e-6 in gradients and 1.3e-6 after ten steps, in PyTorch as here.
const TOLERANCE: f64 = 1e-5;

type Numbers = BTreeMap<String, Vec<f64>>;

#[derive(Deserialize)]
struct Fixture {
    lambda: f64,
    rate: f64,
    momentum: f64,
    batches: Vec<Vec<u32>>,
    networks: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    layers: Vec<String>,
    logits: Vec<f64>,
    #[serde(default)]
    training_logits: Option<Vec<f64>>,
    data_loss: f64,
    penalty: f64,
    gradients: Numbers,
    statistics: Numbers,
    after: Numbers,
    logits_after: Vec<f64>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/layers")
}

fn fixture() -> Fixture {
    let fixture: Fixture = serde_json::from_slice(&std::fs::read(folder().join("cases.json")).unwrap()).unwrap();
    assert_eq!((fixture.networks.len(), fixture.batches.len()), (6, 10));
    fixture
}

/// One of the fixture's networks with its weights, and what trains it on one backend.
struct Setting {
    experiment: Experiment,
    device: ComputeDevice,
    data: Data,
    graph: Graph,
    weights: Weights,
    path: PathBuf,
}

impl Setting {
    fn new(backend: &str, kernels: &str, fixture: &Fixture, name: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "name = \"fixture\"\n[backend]\nkind = \"{backend}\"\nkernels = \"{kernels}\"\n[data]\nsource = \"idx\"\ndir = '{}'\ntrain_images = \
             \"images.idx\"\ntrain_labels = \"labels.idx\"\n[model]\nkind = \"layers\"\nlayers = {:?}\n[[penalty]]\nkind = \"l2\"\nlambda = {}\n\
             [optimizer]\nkind = \"sgd\"\nlearning_rate = {}\nmomentum = {}\n",
            folder().display(),
            fixture.networks[name].layers,
            fixture.lambda,
            fixture.rate,
            fixture.momentum
        );
        std::fs::write(file.path(), text).unwrap();
        let experiment = Experiment::load(file.path(), &[]).unwrap();
        let device = backend::open(&experiment.backend).unwrap().device;
        let data = data::load(&experiment).unwrap();
        let graph = experiment.model.graph(data.train.shape(), data.classes.len()).unwrap();
        let path = folder().join(format!("{name}.safetensors"));
        let weights = Weights::from_file(&path).unwrap();
        Self { experiment, device, data, graph, weights, path }
    }

    /// The logits of these samples in evaluation mode.
    fn logits(&self, weights: &Weights, indices: &[u32]) -> Vec<f64> {
        let network = Network::blank(&self.graph, &self.device).with_weights(weights, &self.path).unwrap();
        let images = Batcher::new(&self.data.normalizer, &self.device.device).batch(&self.data.train, indices).images;
        network.forward(images).into_data().iter::<f64>().collect()
    }

    /// The logits of these samples in training mode.
    fn training_logits(&self, indices: &[u32]) -> Vec<f64> {
        let device = self.device.clone().autodiff();
        let network = Network::blank(&self.graph, &device).with_weights(&self.weights, &self.path).unwrap();
        let images = Batcher::new(&self.data.normalizer, &device.device).batch(&self.data.train, indices).images;
        network.training_pass(Seed(1), 0).forward(images).0.into_data().iter::<f64>().collect()
    }

    /// Weights and running statistics after a step on each batch, and data loss and penalty of the last.
    fn trained(&self, batches: &[Vec<u32>], rate: f64) -> (Weights, [f64; 2]) {
        let device = self.device.clone().autodiff();
        let mut network = Network::blank(&self.graph, &device).with_weights(&self.weights, &self.path).unwrap();
        let mut optimizer = ParameterOptimizer::new(&self.experiment.optimizer.method, device.implementation);
        let mut penalties =
            Penalties::new(&self.experiment.penalty, &self.graph, RunLength::new(&self.experiment.train, self.data.train.count())).unwrap();
        let batcher = Batcher::new(&self.data.normalizer, &device.device);
        let task = task::of(&self.experiment, &self.data).unwrap();
        let assembler = task.assembler(&self.data.train, &batcher, 0);
        let stepper = Stepper::new(&self.experiment, task, &device.device);
        let mut losses = [f64::NAN; 2];
        for (step, indices) in (0..).zip(batches) {
            let context = StepContext { samples: indices.len(), rate, step };
            let mut loader = DataLoader::in_order(&self.experiment, Arc::clone(&assembler), indices, indices.len());
            let (stepped, sums) = stepper.step(network, &mut optimizer, &mut penalties, &mut loader.batch(0), context);
            let sums: Vec<f64> = sums.into_data().iter::<f64>().collect();
            (network, losses) = (stepped, [sums[0], sums[1]]);
        }
        (network.weights(), losses)
    }
}

fn numbers(weights: &Weights) -> Numbers {
    weights.iter().map(|(name, values)| (name.clone(), values.numbers.iter().map(|number| f64::from(*number)).collect())).collect()
}

fn largest(numbers: &[f64]) -> f64 {
    numbers.iter().fold(0.0, |largest, number| number.abs().max(largest))
}

fn assert_near(found: &[f64], expected: &[f64], scale: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    assert!(scale > 0.0, "{what} has numbers to compare with");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs() / scale;
        assert!(difference < TOLERANCE, "{what}: number {index} is {found}, expected {expected}, {difference:e} of the largest");
    }
}

/// Compares tensors by name; each difference as a part of the largest number of its tensor. Where all of that are 0, which the gradient of a bias before
/// batch normalization is, as a part of the largest of all.
fn assert_all_near(found: &Numbers, expected: &Numbers, what: &str) {
    let overall = expected.values().map(|numbers| largest(numbers)).fold(0.0, f64::max);
    for (name, expected) in expected {
        let own = largest(expected);
        assert_near(&found[name], expected, if own > 0.0 { own } else { overall }, &format!("{what}, {name}"));
    }
}

#[test]
fn logits_losses_gradients_and_running_statistics_are_pytorchs() {
    let fixture = fixture();
    let first = &fixture.batches[..1];
    for (backend, kernels) in backends_and_kernels() {
        for (name, case) in &fixture.networks {
            let what = format!("{backend}, {kernels}, {name}");
            let setting = Setting::new(backend, kernels, &fixture, name);
            let logits = setting.logits(&setting.weights, &first[0]);
            assert_near(&logits, &case.logits, largest(&case.logits), &format!("{what}, logits"));

            if let Some(expected) = &case.training_logits {
                let logits = setting.training_logits(&first[0]);
                assert_near(&logits, expected, largest(expected), &format!("{what}, training logits"));
            }

            let (after, [data_loss, penalty]) = setting.trained(first, RATE);
            assert_near(&[data_loss], &[case.data_loss], case.data_loss, &format!("{what}, data loss"));
            assert_near(&[penalty], &[case.penalty], case.penalty, &format!("{what}, penalty"));
            let (before, after) = (numbers(&setting.weights), numbers(&after));
            assert_eq!(before.len(), case.gradients.len() + case.statistics.len(), "{what}");
            let gradient = |name: &String| before[name].iter().zip(&after[name]).map(|(before, after)| (before - after) / RATE).collect();
            let gradients = case.gradients.keys().map(|name| (name.clone(), gradient(name))).collect();
            assert_all_near(&gradients, &case.gradients, &format!("{what}, gradient"));
            assert_all_near(&after, &case.statistics, &what);
        }
    }
}

#[test]
fn weights_and_running_statistics_after_ten_steps_are_pytorchs() {
    let fixture = fixture();
    for (backend, kernels) in backends_and_kernels() {
        for (name, case) in &fixture.networks {
            let what = format!("{backend}, {kernels}, {name}, after ten steps");
            let setting = Setting::new(backend, kernels, &fixture, name);
            let (after, _) = setting.trained(&fixture.batches, fixture.rate);
            assert_eq!(after.iter().count(), case.after.len(), "{what}");
            assert_all_near(&numbers(&after), &case.after, &what);
            let logits = setting.logits(&after, &fixture.batches[0]);
            assert_near(&logits, &case.logits_after, largest(&case.logits_after), &format!("{what}, logits"));
        }
    }
}

#[test]
fn inference_without_burn_has_the_bits_of_the_network() {
    let fixture = fixture();
    for backend in cpu_backends() {
        for name in fixture.networks.keys() {
            let setting = Setting::new(backend, "fused", &fixture, name);
            let network = Network::blank(&setting.graph, &setting.device).with_weights(&setting.weights, &setting.path).unwrap();
            let indices: Vec<u32> = (0..u32::try_from(setting.data.train.count()).unwrap()).collect();
            let images = Batcher::new(&setting.data.normalizer, &setting.device.device).batch(&setting.data.train, &indices).images;
            let with_burn: Vec<f32> = network.forward(images).into_data().try_into_vec().unwrap();
            let predictor = Predictor::new(&network, &setting.data.normalizer);
            assert!(predictor.model().is_some(), "{backend}");
            let pixels: Vec<_> = (0..indices.len()).map(|index| setting.data.train.pixels(index)).collect();
            let pixels: Vec<&[u8]> = pixels.iter().map(AsRef::as_ref).collect();
            assert_eq!(predictor.logits(&pixels), with_burn, "{backend}, {name}");
        }
    }
}

#[test]
fn inference_without_burn_has_the_bits_of_wide_layers_and_of_a_flattened_normalization() {
    let lines = [
        "conv 6 3x3",
        "relu",
        "max_pool 2",
        "flatten",
        "batch_norm",
        "dense 700 bias false",
        "relu",
        "dense 30 bias false",
        "dense classes",
    ];
    let lines: Vec<Layer> = lines.iter().map(|line| Layer::new(line).unwrap()).collect();
    let graph = layers(&lines, Shape { channels: 1, height: 28, width: 28 }, 10).unwrap();
    for backend in cpu_backends() {
        let kind = if backend == "flex" { BackendKind::Flex } else { BackendKind::Ndarray };
        let device = backend::open(&Backend { kind, ..Backend::default() }).unwrap().device;
        let drawn = Network::new(&graph, Init::Glorot, Seed(4), &device).weights();
        let weights = drawn.map(|name, values| {
            let numbers = (0_u16..).zip(&values.numbers).map(|(at, number)| number + f32::from(at % 7) * 0.05).collect();
            if name.starts_with("batch_norm") { Values { numbers, ..values.clone() } } else { values.clone() }
        });
        let network = Network::of_weights(&graph, &weights, &device);
        let normalizer = Normalizer { mean: vec![0.2], deviation: vec![0.3] };
        let pixels: Vec<u8> = (0..20 * 784_u32).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect();
        let images: Vec<&[u8]> = pixels.chunks_exact(784).collect();
        let with_burn = network.forward(Batcher::new(&normalizer, &device.device).images(graph.input(), images.iter().copied()));
        let with_burn: Vec<f32> = with_burn.into_data().try_into_vec().unwrap();
        assert_eq!(Predictor::new(&network, &normalizer).logits(&images), with_burn, "{backend}");
    }
}

#[test]
fn images_of_any_size_have_the_bits_of_the_network_that_trains() {
    let image = |channels, height, width| Shape { channels, height, width };
    for backend in cpu_backends() {
        let kind = if backend == "flex" { BackendKind::Flex } else { BackendKind::Ndarray };
        let device = backend::open(&Backend { kind, ..Backend::default() }).unwrap().device;
        let of = |implementation| ComputeDevice { implementation, ..device.clone() };
        let mut outputs = Vec::new();
        for (channels, implementation) in
            [(1, Implementation::Fused), (3, Implementation::Fused), (3, Implementation::Winograd2), (3, Implementation::Direct)]
        {
            let (device, stock) = (of(implementation), of(Implementation::Stock));
            let graph = DnCnn { depth: 4, width: 16 }.graph(image(channels, 16, 16)).unwrap();
            let drawn = Network::new(&graph, Init::Glorot, Seed(4), &device).weights();
            // Running statistics that are not those of the start.
            let weights = drawn.map(|name, values| {
                let numbers = (0_u16..).zip(&values.numbers).map(|(at, number)| number + f32::from(at % 7) * 0.05).collect();
                if name.starts_with("batch_norm") { Values { numbers, ..values.clone() } } else { values.clone() }
            });
            let network = Network::of_weights(&graph, &weights, &device);
            let normalizer = Normalizer { mean: vec![0.2; channels], deviation: vec![0.3; channels] };
            let predictor = Predictor::new(&network, &normalizer);
            assert_eq!(predictor.implementation(), implementation);
            for (shape, count) in [(image(channels, 16, 16), 5), (image(channels, 31, 45), 2), (image(channels, 7, 5), 1)] {
                let numbers: Vec<f32> =
                    (0..count * shape.size()).map(|at| f32::from(u16::try_from(at * 31 % 251).unwrap()) / 251.0).collect();
                let images = |device: &ComputeDevice| {
                    Tensor::<4>::from_data(TensorData::new(numbers.clone(), [count, channels, shape.height, shape.width]), &device.device)
                };
                let what = format!("{backend}, {implementation:?}, {shape}, {count} images");
                let with_burn = network.with_input(shape).unwrap().output(images(&device)).numbers();
                let found = predictor.with_input(shape).unwrap().forward(&numbers, count);
                assert_eq!(found, with_burn, "{what}");
                assert!(!outputs.contains(&found), "{what}: the bits of another implementation");
                let network = Network::of_weights(&graph, &weights, &stock).with_input(shape).unwrap();
                let with_stock = Predictor::new(&network, &normalizer).forward(&numbers, count);
                let largest = found.iter().zip(&with_stock).map(|(found, stock)| (found - stock).abs()).fold(0.0, f32::max);
                assert!(largest < 1e-5, "{what}: stock operations differ by {largest}");
                outputs.push(found);
            }
        }
    }
}
