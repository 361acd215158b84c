//! EfficientNet-Lite0 against the Python package `efficientnet-lite-pytorch` in float64: tensors, logits, and weights after ten training steps.
//!
//! The numbers are made by `tests/fixtures/efficientnet.py`.

use std::collections::BTreeMap;
use std::path::Path;

use regulus::config::{Model, ModelKind};
use regulus_model::graph::Shape;
use regulus_model::{Graph, Weights};
use serde::Deserialize;

use crate::networks::{Case, TOLERANCE, Training, assert_lands, assert_near, config, device, logits, pixels, weights_of};
use crate::support::{Sandbox, backends_and_kernels};

/// Float32 is off by up to 4e-5 in PyTorch.
const LOGITS: f64 = 1e-4;

#[derive(Deserialize)]
struct Fixture {
    #[serde(flatten)]
    training: Training,
    tensors: BTreeMap<String, Vec<usize>>,
    lite0: Vec<Expected>,
    trained: Case,
    start_lambda: f64,
    head_lambda: f64,
    tuned: BTreeMap<String, Vec<f64>>,
    tuned_penalty: f64,
}

#[derive(Deserialize)]
struct Expected {
    height: usize,
    width: usize,
    logits: Vec<f64>,
    training_logits: Vec<f64>,
}

fn fixture() -> Fixture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/efficientnet.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Without dropout.
fn lite0([height, width]: [usize; 2], classes: usize) -> Graph {
    let model = Model { kind: ModelKind::EfficientnetLite0, ..Model::default() };
    model.graph(Shape { channels: 3, height, width }, classes).unwrap()
}

#[test]
fn efficientnet_lite0_has_the_tensors_of_the_package() {
    let graph = lite0([224, 224], 1000);
    let found: BTreeMap<String, Vec<usize>> =
        graph.parameters().map(|parameter| (parameter.name.clone(), parameter.shape.clone())).collect();
    assert_eq!(found, fixture().tensors);
}

/// Sides that are multiples of 32, and odd ones, for which the zeros around differ from layer to layer.
#[test]
fn efficientnet_lite0_has_the_logits_of_the_package() {
    for Expected { height, width, logits: expected, training_logits } in fixture().lite0 {
        let graph = lite0([height, width], 10);
        let images = pixels(1000, expected.len() / 10, height * width);
        for (backend, kernels) in backends_and_kernels() {
            let what = format!("{backend}, {kernels}, {height}×{width}");
            let [evaluated, training] = logits(&graph, &images, &device(backend, kernels));
            assert_near(&evaluated, &expected, LOGITS, &format!("{what}, logits"));
            assert_near(&training, &training_logits, LOGITS, &format!("{what}, training logits"));
        }
    }
}

#[test]
fn a_narrow_efficientnet_lands_where_pytorchs_does_after_ten_steps() {
    let Fixture { training, trained, .. } = fixture();
    assert_lands("efficientnet_lite0", &trained, &training, "dropout = 0", &[]);
}

/// The program fine-tunes from a file: frozen blocks with their running statistics, `l2_sp` and `l2` on different kernels, and a learning rate for the head.
#[test]
fn fine_tuning_lands_where_pytorchs_does_after_ten_steps() {
    let Fixture { training, trained, start_lambda, head_lambda, tuned, tuned_penalty, .. } = fixture();
    let [start_lambda, head_lambda] = [start_lambda, head_lambda];
    for (backend, kernels) in backends_and_kernels() {
        let what = format!("{backend}, {kernels}");
        let sandbox = Sandbox::new();
        let keys = "dropout = 0\ninit = \"start.safetensors\"\nfreeze = [\"_conv_stem.*\", \"_bn0.*\", \"_blocks.0.*\", \"_blocks.1.*\"]";
        config(&sandbox, ["efficientnet_lite0", keys], &trained, &training, [backend, kernels]);
        let graph = trained.graph(ModelKind::EfficientnetLite0);
        let start = weights_of(&graph);
        sandbox.write("start.safetensors", start.to_safetensors(&BTreeMap::new()));
        let penalties = format!(
            "penalty=[{{kind=\"l2_sp\", lambda={start_lambda}, scope=\"_blocks.*_conv.weight\"}}, {{kind=\"l2\", lambda={head_lambda}, scope=\"_fc.weight\"}}]"
        );
        let sets =
            [&penalties, "optimizer.group=[{scope=\"_fc.*\", factor=10}]", "data.shuffle=false", "train.max_steps=10", "train.epochs=4"];
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        sandbox.ok(&[&["train", "config.toml", "--no-report", "--run-dir", "run"], sets.as_slice()].concat());
        let after = Weights::from_file(&sandbox.path("run/checkpoints/last/model.safetensors")).unwrap();
        assert_eq!(after.iter().count(), tuned.len());
        for (name, expected) in &tuned {
            let largest = expected.iter().fold(0.0_f64, |largest, number| largest.max(number.abs()));
            let found: Vec<f64> = after.get(name).unwrap().numbers.iter().copied().map(f64::from).collect();
            assert_near(&found, expected, TOLERANCE * largest, &format!("{what}, {name} after ten steps"));
            if name.starts_with("_blocks.1.") {
                assert_eq!(after.get(name), start.get(name), "{what}, {name} is frozen");
            }
        }
        let penalty = sandbox.json("run/summary.json")["penalty"].as_f64().unwrap();
        assert!((penalty / tuned_penalty - 1.0).abs() < 1e-5, "{what}: {penalty}, expected {tuned_penalty}");
    }
}
