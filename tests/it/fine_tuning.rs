//! Fine-tuning: frozen parameters, the penalty towards the starting point, and learning rates of groups.

use std::collections::BTreeMap;

use burn::module::Module;

use regulus::config::{Experiment, Implementation, Penalty, Scope};
use regulus::network::Network;
use regulus::objective::Penalties;
use regulus::schedule::RunLength;
use regulus::seed::Seed;
use regulus_model::graph::{Layer, Shape};
use regulus_model::networks::layers;
use regulus_model::{Values, Weights};

use crate::support::{Sandbox, backends_and_kernels, png};

const CONFIG: &str = "name = \"tuned\"\n[data]\nsource = \"mnist_mini\"\ntrain_limit = 120\nvalidation = 0.2\n[model]\nkind = \"layers\"\nlayers = [\"conv 4 \
                      3x3 stride 2 bias false\", \"batch_norm\", \"relu\", \"conv 4 3x3 stride 2 bias false\", \"batch_norm\", \"relu\", \"global_average_pool\", \
                      \"dropout 0.1\", \"dense classes\"]\ninit = \"start/model.safetensors\"\n[[penalty]]\nkind = \"l2_sp\"\nlambda = 20\n[[penalty]]\nkind = \
                      \"l2\"\nlambda = 1\nscope = \"dense1.weight\"\n[train]\nepochs = 2\nbatch_size = 16\n";

fn weights(sandbox: &Sandbox, run: &str, file: &str) -> Weights {
    Weights::from_file(&sandbox.path(&format!("{run}/checkpoints/last/{file}"))).unwrap()
}

/// A sandbox with a config and the weights it starts from, for `classes` classes.
fn sandbox(classes: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("config.toml", CONFIG);
    let model = CONFIG.split("init").next().unwrap().replace("dense classes", classes).replace("\"dropout 0.1\"", "\"dropout 0\"");
    let layers = if classes == "dense classes" {
        model
    } else {
        model.replace(&format!("\"{classes}\""), &format!("\"{classes} as dense1\", \"dense classes as top\""))
    };
    sandbox.write("start.toml", format!("{layers}[train]\nepochs = 1\n"));
    sandbox.ok(&["train", "start.toml", "--no-report", "--run-dir", "first"]);
    let trained = weights(&sandbox, "first", "model.safetensors");
    let kept = trained.iter().filter(|(name, _)| !name.starts_with("top.")).map(|(name, values)| (name.clone(), values.clone()));
    sandbox.write("start/model.safetensors", kept.collect::<Weights>().to_safetensors(&BTreeMap::new()));
    sandbox
}

fn network(lines: &[&str]) -> regulus_model::Graph {
    let lines: Vec<Layer> = lines.iter().map(|line| Layer::new(line).unwrap()).collect();
    layers(&lines, Shape { channels: 1, height: 3, width: 3 }, 2).unwrap()
}

#[test]
fn l2_sp_is_half_lambda_over_m_times_the_squared_distance_to_the_start() {
    let graph = network(&["conv 2 3x3", "flatten", "dense classes"]);
    let experiment =
        "name = \"a\"\n[data]\nsource = \"mnist_mini\"\n[model]\ninit = \"start\"\n[[penalty]]\nkind = \"l2_sp\"\nlambda = 3\n";
    let experiment = Experiment::from_toml(experiment).unwrap();
    let penalty: &Penalty = &experiment.penalty[0];
    assert_eq!(penalty.scope, Scope::Kernels);
    // Each weight of the convolution is 0.5 from its start, each of the dense layer 2.
    let values = |shift: f32| -> Weights {
        let of = |parameter: &regulus_model::graph::Parameter| {
            let distance = if parameter.name.starts_with("conv") { 0.5 } else { 2.0 };
            let number = |index: usize| index as f32 + shift * distance;
            (parameter.name.clone(), Values { shape: parameter.shape.clone(), numbers: (0..parameter.size()).map(number).collect() })
        };
        graph.parameters().map(of).collect()
    };
    let (start, weights) = (values(0.0), values(1.0));
    for (backend, kernels) in backends_and_kernels() {
        let device = crate::networks::device(backend, kernels);
        let mut penalties = Penalties::new(&experiment.penalty, &graph, RunLength::new(&experiment.train, 10)).unwrap();
        assert!(penalties.start_from(Some(&start), &graph, &device.device).unwrap().is_empty());
        // 3/(2·10)·(18·0.25 + 4·4), and λ/m times the distance.
        let expected = 0.15 * (18.0 * 0.25 + 4.0 * 4.0);
        assert!((penalties.value(&weights, 5) - expected).abs() < 1e-9);
        let network = Network::of_weights(&graph, &weights, &device.clone().autodiff());
        let penalty = penalties.on(&network, 5).unwrap();
        assert!((f64::from(penalty.clone().into_scalar::<f32>()) - expected).abs() < 1e-5, "{backend}, {kernels}");
        let gradients = burn::optim::GradientsParams::from_grads(penalty.backward(), &network);
        let mut found = Gradients { gradients: &gradients, found: BTreeMap::new() };
        network.visit_parameters(&mut found);
        assert_eq!(found.found.keys().collect::<Vec<_>>(), ["conv1.weight", "dense1.weight"]);
        for (name, gradient) in &found.found {
            let expected = if name == "conv1.weight" { 0.3 * 0.5 } else { 0.3 * 2.0 };
            assert!(gradient.iter().all(|number| (number - expected).abs() < 1e-5), "{name}: {gradient:?}");
        }
        // A parameter without a start is left out, and that is told.
        let conv = start.iter().filter(|(name, _)| name.starts_with("conv")).map(|(name, values)| (name.clone(), values.clone()));
        let notes = penalties.start_from(Some(&conv.collect()), &graph, &device.device).unwrap();
        assert_eq!(
            notes,
            ["`penalty.0` (l2_sp) leaves out `dense1.weight`, without initial weights; another penalty can have them, such as kind `l2`"]
        );
        assert!((penalties.value(&weights, 5) - 0.15 * 18.0 * 0.25).abs() < 1e-9);
    }
}

struct Gradients<'a> {
    gradients: &'a burn::optim::GradientsParams,
    found: BTreeMap<String, Vec<f64>>,
}

impl regulus::network::ParamVisitor for Gradients<'_> {
    fn visit<const D: usize>(
        &mut self,
        parameter: &regulus_model::graph::Parameter,
        id: burn::module::ParamId,
        _: burn::tensor::Tensor<D>,
    ) {
        if let Some(gradient) = self.gradients.get::<D>(id) {
            self.found.insert(parameter.name.clone(), gradient.into_data().iter::<f64>().collect());
        }
    }
}

#[test]
fn frozen_parameters_have_no_gradient_no_optimizer_state_and_no_penalty() {
    let graph = network(&["conv 2 3x3", "batch_norm", "flatten", "dense 3", "batch_norm", "dense classes"]);
    let graph = graph.frozen(|parameter| !parameter.name.starts_with("dense1"));
    for (backend, kernels) in backends_and_kernels() {
        let device = crate::networks::device(backend, kernels).autodiff();
        assert_eq!(device.implementation == Implementation::Fused, kernels == "fused");
        // As a training run makes it.
        let network = Network::new(&graph, regulus::config::Init::Glorot, Seed(1), &device).valid().train();
        let images = burn::tensor::Tensor::random([4, 1, 3, 3], burn::tensor::Distribution::Default, &device.device);
        let (logits, statistics) = network.training_pass(Seed(1), 0).forward(images);
        assert!(statistics.is_empty(), "both normalizations are fixed");
        let gradients = burn::optim::GradientsParams::from_grads(logits.square().sum().backward(), &network);
        let mut found = Gradients { gradients: &gradients, found: BTreeMap::new() };
        network.visit_parameters(&mut found);
        assert_eq!(found.found.keys().collect::<Vec<_>>(), ["dense1.bias", "dense1.weight", "dense2.bias", "dense2.weight"], "{backend}");
    }
}

#[test]
fn only_the_head_is_trained_where_everything_else_is_frozen() {
    let sandbox = sandbox("dense 7");
    let freeze = ["--set", "model.freeze=[\"*\"]", "--set", "penalty=[{kind=\"l2\", lambda=1, scope=\"all\"}]"];
    let checked = sandbox.ok(&[&["check", "config.toml"], freeze.as_slice()].concat());
    // 4·10 + 10 of 36 + 8 + 144 + 8 + 50.
    assert!(checked.stdout().contains("# trained: 50 of 246 parameters; 6 tensors are frozen"), "{}", checked.stdout());
    assert!(
        checked.stdout().contains("# dense1.bias: l2 with λ = 1") && !checked.stdout().contains("# conv1.weight:"),
        "{}",
        checked.stdout()
    );
    assert!(
        checked
            .stderr()
            .contains("layer `dense1`, the last, starts anew: `dense1.weight` is [7, 4] in the initial weights and [10, 4] here")
    );
    // It is a note, as it must be so; that `l2_sp` leaves the layer out is no news where another penalty has it.
    assert!(!sandbox.ok(&["check", "config.toml"]).stderr().contains("warning"));
    let alone = sandbox.ok(&["check", "config.toml", "--set", "penalty=[{kind=\"l2_sp\", lambda=1}]"]).stderr();
    assert!(alone.contains("warning: `penalty.0` (l2_sp) leaves out `dense1.weight`"), "{alone}");
    let once = "frozen layers up to `global_average_pool1` are computed once for each image, which gives 4 numbers";
    assert!(checked.stdout().contains(once), "{}", checked.stdout());
    let ran = sandbox.ok(&[&["train", "config.toml", "--no-report", "--run-dir", "run"], freeze.as_slice()].concat());
    assert!(ran.stderr().contains("starts anew") && ran.stderr().contains(once), "{}", ran.stderr());
    assert!(ran.stderr().contains("training 50 of 246 parameters on"), "{}", ran.stderr());
    // With augmentation, though it changes nothing, all layers are computed in every step.
    let augmented = ["train", "config.toml", "--no-report", "--run-dir", "augmented", "--set", "augment.border=reflect"];
    let ran = sandbox.ok(&[&augmented, freeze.as_slice()].concat());
    assert!(!ran.stderr().contains("computed once"), "{}", ran.stderr());
    assert_eq!(weights(&sandbox, "run", "model.safetensors"), weights(&sandbox, "augmented", "model.safetensors"));
    let measures = |run: &str| {
        let summary = std::fs::read_to_string(sandbox.path(run).join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
        ["train", "validation", "test"].map(|split| summary[split].clone())
    };
    assert_eq!(measures("run"), measures("augmented"));
    let start = Weights::from_file(&sandbox.path("start/model.safetensors")).unwrap();
    let after = weights(&sandbox, "run", "model.safetensors");
    for (name, values) in after.iter() {
        assert_eq!(start.get(name) == Some(values), !name.starts_with("dense1."), "{name}");
    }
    // Adam keeps two tensors of each trained parameter.
    let state = std::fs::read(sandbox.path("run/checkpoints/last/optimizer.bpk")).unwrap();
    let has = |name: &str| state.windows(name.len()).any(|window| window == name.as_bytes());
    assert!(has("dense1.weight") && !has("conv1.weight") && !has("batch_norm1.weight"));
    sandbox.ok(&["evaluate", "run"]);
    sandbox.ok(&["export", "run", "--output", "model.safetensors"]);
    assert_eq!(Weights::from_file(&sandbox.path("model.safetensors")).unwrap().get("dense1.weight"), after.get("dense1.weight"));
}

#[test]
fn a_convolution_starts_by_whitening_the_image_and_stays_so() {
    let sandbox = Sandbox::new();
    sandbox.write("config.toml", CONFIG.replace("init = \"start/model.safetensors\"", "whiten = \"conv1\"").replace("l2_sp", "l2"));
    let train = |run: &str, set: &str| {
        sandbox.ok(&["train", "config.toml", "--no-report", "--run-dir", run, "--set", "train.epochs=1", "--set", set]);
        weights(&sandbox, run, "model.safetensors").get("conv1.weight").unwrap().clone()
    };
    let whole = train("frozen", "model.freeze=[\"conv1.weight\"]");
    // The directions of most variance of 3×3 patches of digits are smooth: the first is about constant.
    let first = &whole.numbers[..9];
    assert!(first.iter().all(|weight| *weight > 0.0) || first.iter().all(|weight| *weight < 0.0), "{first:?}");
    assert_ne!(whole, train("trained", "seed=42"));
}

/// The starting point is in the checkpoint: a resumed run does not need the file, and lands on the same bits.
#[test]
fn a_resumed_run_has_its_starting_point() {
    let sandbox = sandbox("dense classes");
    let train = |run: &str, more: &[&str]| {
        let sets = ["--set", "model.freeze=[\"conv1.*\", \"batch_norm1.*\"]", "--set", "optimizer.group=[{scope=\"dense1.*\", factor=5}]"];
        sandbox.ok(&[&["train", "config.toml", "--no-report", "--run-dir", run], sets.as_slice(), more].concat());
    };
    train("whole", &[]);
    train("half", &["--set", "train.epochs=1"]);
    let start = Weights::from_file(&sandbox.path("start/model.safetensors")).unwrap();
    std::fs::remove_file(sandbox.path("start/model.safetensors")).unwrap();
    sandbox.ok(&["resume", "half", "--epochs", "2"]);
    assert_eq!(weights(&sandbox, "half", "model.safetensors"), weights(&sandbox, "whole", "model.safetensors"));
    let origin = weights(&sandbox, "half", "start.safetensors");
    assert_eq!(origin.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["conv2.weight", "dense1.weight"]);
    assert_eq!(origin.get("conv2.weight"), start.get("conv2.weight"));
    std::fs::remove_file(sandbox.path("half/checkpoints/last/start.safetensors")).unwrap();
    std::fs::remove_dir_all(sandbox.path("half/checkpoints/last.previous")).unwrap();
    let ran = sandbox.run(&["resume", "half", "--epochs", "3"]);
    assert!(ran.code() == 3 && ran.stderr().contains("it has no `start.safetensors`"), "{}", ran.stderr());
}

#[test]
fn what_cannot_be_tuned_is_refused() {
    let sandbox = sandbox("dense classes");
    let refused = |sets: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let ran = sandbox.run(&[&["check", "config.toml"], sets.as_slice()].concat());
        format!("{}: {}", ran.code(), ran.stderr().replace(sandbox.path("").to_str().unwrap(), ""))
    };
    let all = [
        refused(&["model.freeze=[\"conv*\", \"dense1.*\"]"]),
        refused(&["model.freeze=[\"convv1.weight\"]"]),
        refused(&["model.freeze=[\"*\"]"]),
        refused(&["model={kind=\"efficientnet_lite0\", freeze=[\"layer4.*\"]}", "penalty=[]"]),
        refused(&["model.init=imagenet"]),
        refused(&["model={kind=\"efficientnet_lite0\", init=\"imagenet\"}", "penalty=[]"]),
        refused(&["optimizer.group=[{scope=\"convv*\", factor=2}]"]),
        refused(&["optimizer.group=[{scope=\"conv*\", factor=2}, {scope=\"kernels\", factor=3}]"]),
        refused(&["optimizer.group=[{scope=\"conv*\", factor=0}]"]),
        refused(&["optimizer.group=[{scope=\"conv*\", rate=2}]"]),
        refused(&["model.init=ImageNet"]),
        refused(&[
            "model={kind=\"efficientnet_lite0\", init=\"imagenet\"}",
            "penalty=[]",
            "data={source=\"folder\", dir=\"d\", image_size=[32, 32]}",
        ]),
        refused(&["sweep.path=true"]),
        refused(&["data.normalization=torchvision"]),
    ];
    let all = [
        all.concat(),
        refused(&["model.whiten=conv1"]),
        refused(&[
            "model={kind=\"layers\", layers=[\"conv 4 3x3\", \"conv 4 3x3\", \"flatten\", \"dense classes\"], whiten=\"conv2\"}",
            "penalty=[]",
        ]),
        refused(&["model={kind=\"linear\", whiten=\"conv1\"}", "penalty=[]"]),
    ];
    let ran = sandbox.run(&["check", "config.toml", "--unset", "model.init"]);
    insta::assert_snapshot!(format!("{}{}: {}", all.concat(), ran.code(), ran.stderr()));
}

#[test]
fn other_classes_and_another_normalization_of_the_start_are_told() {
    let sandbox = Sandbox::new();
    for (folder, class) in [("a", "cat"), ("a", "dog"), ("b", "cat"), ("b", "fox")] {
        (0..4).for_each(|number| png(&sandbox.path(&format!("{folder}/{class}/{number}.png")), 8, 8, 40 * number));
    }
    let config =
        "name = \"x\"\n[data]\nsource = \"folder\"\ndir = \"a\"\nimage_size = [8, 8]\n[model]\nkind = \"linear\"\n[train]\nepochs = 1\n";
    sandbox.write("c.toml", config);
    sandbox.ok(&["train", "c.toml", "--run-dir", "first", "--no-report"]);
    sandbox.ok(&["export", "first", "--output", "first.safetensors"]);
    for init in ["first", "first.safetensors"] {
        let init = format!("model.init={init}");
        let told = |set: &str| sandbox.ok(&["check", "c.toml", "--set", &init, "--set", set]).stderr();
        let same = told("seed=1");
        assert!(!same.contains("starts anew") && !same.contains("normalization"), "{same}");
        let other = told("data.dir=b");
        let note = "layer `dense1`, the last, starts anew: the initial weights have the class `dog` where the data have `fox`";
        assert!(other.contains(note) && !other.contains("normalization"), "{other}");
        let other = told("data.normalization=lite");
        let warning = "warning: the network of `model.init` was trained with `data.normalization` = \"unit\", and here it is another; set it to \"unit\"";
        assert!(other.contains(warning) && !other.contains("starts anew"), "{other}");
    }
}
