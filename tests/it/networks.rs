//! Residual networks against PyTorch and torchvision in float64: logits in evaluation and in training mode, and weights and running statistics after ten
//! steps of SGD with Nesterov momentum.
//!
//! The numbers are made by `tests/fixtures/networks.py`. Weights and images come from a mixer of 64-bit numbers that both sides know.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use regulus::backend::{self, ComputeDevice};
use regulus::config::number::Count;
use regulus::config::{Backend, BackendKind, Experiment, Implementation, Model, ModelKind};
use regulus::data::{self, Batcher, DataLoader};
use regulus::network::Network;
use regulus::objective::Penalties;
use regulus::schedule::RunLength;
use regulus::seed::Seed;
use regulus::task;
use regulus::train::{ParameterOptimizer, StepContext, Stepper};
use regulus_model::graph::{Parameter, Role, Shape};
use regulus_model::networks::{ResNet, Stem};
use regulus_model::{Graph, Values, Weights};
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;

use crate::support::{Sandbox, backends_and_kernels, cpu_backends, png};

/// Differences, as parts of the largest number of a tensor. Float32 is off by up to 1.3e-6 in PyTorch.
pub(crate) const TOLERANCE: f64 = 1e-5;
/// Of logits the largest difference.
const LOGITS: f64 = 1e-4;
const SAMPLES: usize = 24;
const BATCH: usize = 8;

#[derive(Deserialize)]
struct Fixture {
    #[serde(flatten)]
    training: Training,
    resnet18: ResNet18,
    trained: BTreeMap<String, Case>,
    wide: Case,
}

/// How the networks of a fixture were trained.
#[derive(Deserialize)]
pub(crate) struct Training {
    lambda: f64,
    rate: f64,
    momentum: f64,
    steps: u64,
}

#[derive(Deserialize)]
struct ResNet18 {
    tensors: BTreeMap<String, Vec<usize>>,
    logits: Vec<f64>,
    training_logits: Vec<f64>,
}

/// A narrow network that was trained.
#[derive(Deserialize)]
pub(crate) struct Case {
    /// Which numbers are kept of a tensor after training.
    every: Option<usize>,
    widths: Vec<usize>,
    blocks: Option<Vec<usize>>,
    side: usize,
    stream: u64,
    logits: Vec<f64>,
    training_logits: Vec<f64>,
    after: BTreeMap<String, Vec<f64>>,
}

impl Case {
    /// Its network, without dropout.
    pub(crate) fn graph(&self, kind: ModelKind) -> Graph {
        let counts = |numbers: &[usize]| numbers.iter().map(|number| Count::try_from(*number as u64).unwrap()).collect::<Vec<_>>();
        let blocks = self.blocks.as_deref().map(counts).unwrap_or_default();
        let model = Model { kind, widths: counts(&self.widths), blocks, ..Model::default() };
        model.graph(Shape { channels: 3, height: self.side, width: self.side }, 4).unwrap()
    }
}

fn fixture() -> Fixture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/networks.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators.
fn mixed(stream: u64, count: usize) -> impl Iterator<Item = u64> {
    (0_u64..).take(count).map(move |index| {
        let number = ((stream << 32) + index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    })
}

/// The values of the fixture for all that a network has, by the rank of the name among all names.
pub(crate) fn weights_of(graph: &Graph) -> Weights {
    let mut parameters: Vec<&Parameter> = graph.parameters().collect();
    parameters.sort_by_key(|parameter| &parameter.name);
    let values = |(stream, parameter): (u64, &Parameter)| {
        #[expect(clippy::cast_possible_truncation, reason = "weights are float32")]
        let [factor, shift] = match parameter.role {
            Role::Kernel => [(6.0 / parameter.fans()[0] as f64).sqrt() as f32, 0.0],
            Role::Scale | Role::RunningVariance => [0.5, 1.0],
            Role::Bias | Role::RunningMean => [0.25, 0.0],
        };
        let number = |mixed: u64| ((mixed >> 40) as f32 / 8_388_608.0 - 1.0) * factor + shift;
        let numbers = mixed(stream, parameter.size()).map(number).collect();
        (parameter.name.clone(), Values { shape: parameter.shape.clone(), numbers })
    };
    (1..).zip(parameters).map(values).collect()
}

/// One byte for each pixel: channel by channel, row by row.
pub(crate) fn pixels(stream: u64, count: usize, area: usize) -> Vec<u8> {
    mixed(stream, count * 3 * area).map(|mixed| u8::try_from(mixed >> 56).unwrap()).collect()
}

pub(crate) fn device(backend: &str, kernels: &str) -> ComputeDevice {
    let kind: BackendKind = serde_json::from_value(backend.into()).unwrap();
    let kernels: Implementation = serde_json::from_value(kernels.into()).unwrap();
    backend::open(&Backend { kind, kernels, ..Backend::default() }).unwrap().device
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The logits in evaluation and in training mode.
pub(crate) fn logits(graph: &Graph, images: &[u8], device: &ComputeDevice) -> [Vec<f64>; 2] {
    let Shape { channels, height, width } = graph.input();
    let scaled: Vec<f32> = images.iter().map(|byte| f32::from(*byte) / 255.0).collect();
    let shape = [images.len() / graph.input().size(), channels, height, width];
    let images = |device: &ComputeDevice| Tensor::<4>::from_data(TensorData::new(scaled.clone(), shape), &device.device);
    let weights = weights_of(graph);
    let evaluated = Network::of_weights(graph, &weights, device).forward(images(device));
    let device = device.clone().autodiff();
    let network = Network::of_weights(graph, &weights, &device);
    [numbers(evaluated), numbers(network.training_pass(Seed(1), 0).forward(images(&device)).0)]
}

pub(crate) fn assert_near(found: &[f64], expected: &[f64], most: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(
            difference < most,
            "{what}: number {index} is {found}, expected {expected}, a difference of {difference:e}, {most:e} at most"
        );
    }
}

#[test]
fn resnet18_has_torchvisions_tensors_and_logits() {
    let ResNet18 { tensors, logits: expected, training_logits } = fixture().resnet18;
    let network = ResNet { stem: Stem::Large, widths: vec![64, 128, 256, 512], blocks: vec![2; 4] };
    let graph = network.graph(Shape { channels: 3, height: 64, width: 64 }, 10).unwrap();
    let found: BTreeMap<String, Vec<usize>> =
        graph.parameters().map(|parameter| (parameter.name.clone(), parameter.shape.clone())).collect();
    assert_eq!(found, tensors);
    let images = pixels(1000, 2, 64 * 64);
    for (backend, kernels) in backends_and_kernels() {
        let [evaluated, training] = logits(&graph, &images, &device(backend, kernels));
        // The largest is 50: a part in 500,000 of it.
        assert_near(&evaluated, &expected, LOGITS, &format!("{backend}, {kernels}, logits"));
        assert_near(&training, &training_logits, LOGITS, &format!("{backend}, {kernels}, training logits"));
    }
}

/// A config for a network of the fixture, and its data.
pub(crate) fn config(
    sandbox: &Sandbox,
    [kind, keys]: [&str; 2],
    case: &Case,
    training: &Training,
    [backend, kernels]: [&str; 2],
) -> std::path::PathBuf {
    let Case { widths, blocks, side, stream, .. } = case;
    let header = |sizes: &[usize]| {
        let sizes: Vec<u8> = sizes.iter().flat_map(|size| u32::try_from(*size).unwrap().to_be_bytes()).collect();
        [&[0, 0, 8, u8::try_from(sizes.len() / 4).unwrap()], sizes.as_slice()].concat()
    };
    let by_channel = pixels(*stream, SAMPLES, side * side);
    let area = side * side;
    let by_pixel = by_channel.chunks(3 * area).flat_map(|image| (0..3 * area).map(|at| image[at % 3 * area + at / 3]));
    sandbox.write("images", header(&[SAMPLES, *side, *side, 3]).into_iter().chain(by_pixel).collect::<Vec<u8>>());
    sandbox.write("labels", header(&[SAMPLES]).into_iter().chain((0..24).map(|sample| sample % 4)).collect::<Vec<u8>>());
    let blocks = blocks.as_ref().map_or(String::new(), |blocks| format!("blocks = {blocks:?}\n"));
    let Training { lambda, rate, momentum, .. } = training;
    let text = format!(
        "name = \"fixture\"\n[backend]\nkind = \"{backend}\"\nkernels = \"{kernels}\"\n[data]\nsource = \"idx\"\ndir = '{}'\ntrain_images = \
         \"images\"\ntrain_labels = \"labels\"\n[model]\nkind = \"{kind}\"\nwidths = {widths:?}\n{blocks}{keys}\n[[penalty]]\nkind = \"l2\"\nlambda = \
         {lambda}\n[optimizer]\nkind = \"sgd\"\nlearning_rate = {rate}\nmomentum = {momentum}\nnesterov = true\n[train]\nbatch_size = {BATCH}\n",
        sandbox.path("").display()
    );
    sandbox.write("config.toml", text)
}

#[test]
fn narrow_networks_land_where_pytorchs_do_after_ten_steps() {
    let Fixture { training, trained, .. } = fixture();
    assert_eq!((trained.len(), training.steps), (3, 10));
    for (kind, case) in &trained {
        assert_lands(kind, case, &training, "", &[]);
    }
}

#[test]
fn a_network_of_tiles_lands_where_pytorchs_does_with_each_algorithm() {
    let Fixture { training, wide, .. } = fixture();
    assert_lands("resnet20", &wide, &training, "", &["winograd2", "direct"]);
}

/// Trains a network of a fixture from its config, with more keys in `[model]`, and compares where it lands: with fused and stock operations, and with others of the CPU.
pub(crate) fn assert_lands(kind: &str, case: &Case, training: &Training, keys: &str, others: &[&'static str]) {
    let others = cpu_backends().into_iter().flat_map(|backend| others.iter().map(move |kernels| (backend, *kernels)));
    for (backend, kernels) in backends_and_kernels().into_iter().chain(others) {
        let what = format!("{backend}, {kernels}, {kind}");
        let sandbox = Sandbox::new();
        let experiment = Experiment::load(&config(&sandbox, [kind, keys], case, training, [backend, kernels]), &[]).unwrap();
        let device = backend::open(&experiment.backend).unwrap().device;
        let data = data::load(&experiment).unwrap();
        let graph = experiment.model.graph(data.train.shape(), data.classes.len()).unwrap();
        let first = pixels(case.stream, BATCH, case.side * case.side);
        let [evaluated, in_training] = logits(&graph, &first, &device);
        assert_near(&evaluated, &case.logits, LOGITS, &format!("{what}, logits"));
        assert_near(&in_training, &case.training_logits, LOGITS, &format!("{what}, training logits"));

        let device = device.autodiff();
        let mut network = Network::of_weights(&graph, &weights_of(&graph), &device);
        let mut optimizer = ParameterOptimizer::new(&experiment.optimizer.method, device.implementation);
        let mut penalties = Penalties::new(&experiment.penalty, &graph, RunLength::new(&experiment.train, SAMPLES)).unwrap();
        let batcher = Batcher::new(&data.normalizer, &device.device);
        let task = task::of(&experiment, &data).unwrap();
        let assembler = task.assembler(&data.train, &batcher, 0);
        let stepper = Stepper::new(&experiment, task, &device.device);
        for step in 0..training.steps {
            let start = u32::try_from(usize::try_from(step).unwrap() * BATCH % SAMPLES).unwrap();
            let indices: Vec<u32> = (start..).take(BATCH).collect();
            let context = StepContext { samples: BATCH, rate: training.rate, step };
            let mut loader = DataLoader::in_order(&experiment, Arc::clone(&assembler), &indices, BATCH);
            network = stepper.step(network, &mut optimizer, &mut penalties, &mut loader.batch(0), context).0;
        }
        let after = network.weights();
        assert_eq!(after.iter().count(), case.after.len(), "{what}");
        for (name, expected) in &case.after {
            let largest = expected.iter().fold(0.0_f64, |largest, number| largest.max(number.abs()));
            let kept = after.get(name).unwrap().numbers.iter().step_by(case.every.unwrap_or(1));
            let found: Vec<f64> = kept.copied().map(f64::from).collect();
            assert_near(&found, expected, TOLERANCE * largest, &format!("{what}, {name} after ten steps"));
        }
    }
}

/// The program trains each kind; a penalty is on some of its kernels alone, and an export has the weights under the names of the network.
#[test]
fn every_kind_is_trained_from_its_config() {
    let kinds = [
        ("cnn", "channels = [4, 6]\nhidden = 8\nbatch_norm = true", "conv*.weight", "batch_norm2.running_mean"),
        ("resnet9", "widths = [4, 4, 6, 6]\ninitializer = \"pytorch\"", "conv*.weight", "conv8.weight"),
        ("resnet20", "widths = [4, 6]\nblocks = [1, 2]\ninitializer = \"kaiming\"", "layer2.*.conv*.weight", "layer2.1.bn2.running_var"),
        ("resnet18", "widths = [4, 6, 8, 8]\nblocks = [1, 1, 1, 2]", "layer*.downsample.0.weight", "layer4.0.downsample.0.weight"),
    ];
    for backend in cpu_backends() {
        for (kind, keys, scope, tensor) in kinds {
            let sandbox = Sandbox::new();
            let text = format!(
                "name = \"{kind}\"\n[backend]\nkind = \"{backend}\"\n[data]\nsource = \"mnist_mini\"\ntrain_limit = 64\nvalidation = 0.25\n[model]\n\
                 kind = \"{kind}\"\n{keys}\n[[penalty]]\nkind = \"l2\"\nlambda = 1\nscope = \"{scope}\"\n[optimizer]\nkind = \"sgd\"\nmomentum = \
                 0.9\nnesterov = true\nlearning_rate = 0.1\n[schedule]\nkind = \"one_cycle\"\n[train]\nepochs = 2\nbatch_size = 16\n"
            );
            sandbox.write("config.toml", text);
            sandbox.ok(&["train", "config.toml", "--run-dir", "run"]);
            let summary = sandbox.json("run/summary.json");
            assert_eq!(summary["steps"], 6, "{kind}");
            sandbox.ok(&["export", "run", "--output", "model.safetensors"]);
            let weights = Weights::from_file(&sandbox.path("model.safetensors")).unwrap();
            assert!(weights.get(tensor).is_some() && weights.is_finite(), "{kind}");
            png(&sandbox.path("digit.png"), 28, 28, 90);
            sandbox.ok(&["predict", "model.safetensors", "digit.png"]);
        }
    }
}

#[test]
fn a_file_of_torchvision_is_a_start() {
    let sandbox = Sandbox::new();
    for class in ["a", "b", "c"] {
        (0..4).for_each(|number| png(&sandbox.path(&format!("images/{class}/{number}.png")), 32, 32, 20 * number));
    }
    let text = "name = \"start\"\n[data]\nsource = \"folder\"\ndir = \"images\"\nimage_size = [32, 32]\nimage_channels = 3\n[model]\nkind = \
                \"resnet18\"\nwidths = [4, 4, 6, 6]\ninit = \"start.safetensors\"\n[[penalty]]\nkind = \"l2\"\nlambda = 1\n[optimizer]\n\
                learning_rate = 1e-12\n[train]\nmax_steps = 1\n";
    sandbox.write("config.toml", text);
    // PyTorch saves a count of batches, whole numbers of 64 bits, with each normalization.
    let start = |classes: usize| {
        let network = ResNet { stem: Stem::Large, widths: vec![4, 4, 6, 6], blocks: vec![2; 4] };
        let weights = weights_of(&network.graph(Shape { channels: 3, height: 32, width: 32 }, classes).unwrap());
        let bytes = |values: &Values| values.numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> =
            weights.iter().map(|(name, values)| (name.clone(), Dtype::F32, values.shape.clone(), bytes(values))).collect();
        let norms = weights.iter().filter_map(|(name, _)| name.strip_suffix("running_mean"));
        tensors.extend(norms.map(|norm| (format!("{norm}num_batches_tracked"), Dtype::I64, vec![], 7_i64.to_le_bytes().to_vec())));
        assert_eq!(tensors.iter().filter(|tensor| tensor.1 == Dtype::I64).count(), 20);
        let views = tensors.iter().map(|(name, kind, shape, bytes)| (name, TensorView::new(*kind, shape.clone(), bytes).unwrap()));
        sandbox.write("start.safetensors", safetensors::serialize(views, None).unwrap());
        weights
    };
    let weights = start(3);
    sandbox.ok(&["train", "config.toml", "--run-dir", "run"]);
    let after = Weights::from_file(&sandbox.path("run/checkpoints/last/model.safetensors")).unwrap();
    let [before, after] = [&weights, &after].map(|weights| weights.get("layer3.0.downsample.0.weight").unwrap().numbers.clone());
    assert!(before.iter().zip(&after).all(|(before, after)| (before - after).abs() < 1e-6));

    // The last layer starts anew where the file has another number of classes, and that is told.
    let weights = start(1000);
    let ran = sandbox.ok(&["train", "config.toml", "--run-dir", "other"]);
    let note = "layer `fc`, the last, starts anew: `fc.weight` is [1000, 6] in the initial weights and [3, 6] here";
    assert!(ran.stderr().contains(note), "{}", ran.stderr());
    let after = Weights::from_file(&sandbox.path("other/checkpoints/last/model.safetensors")).unwrap();
    assert_eq!(after.get("fc.weight").unwrap().shape, [3, 6]);
    let [before, after] = [&weights, &after].map(|weights| weights.get("layer3.0.downsample.0.weight").unwrap().numbers.clone());
    assert!(before.iter().zip(&after).all(|(before, after)| (before - after).abs() < 1e-6));
    // Other shapes are not made to fit.
    let ran = sandbox.run(&["train", "config.toml", "--run-dir", "narrow", "--set", "model.widths=[4, 4, 6, 8]"]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("tensor `layer4.0.bn1.bias` is [6]; expected [8]"), "{}", ran.stderr());
}
