//! EfficientNet-Lite0 against the Python package `efficientnet-lite-pytorch` in float64: tensors, logits, and weights after ten training steps.
//!
//! The numbers are made by `tests/fixtures/efficientnet.py`.

use std::collections::BTreeMap;
use std::path::Path;

use regulus::config::{Model, ModelKind};
use regulus_model::Graph;
use regulus_model::graph::Shape;
use serde::Deserialize;

use crate::networks::{Case, Training, assert_lands, assert_near, device, logits, pixels};
use crate::support::backends_and_kernels;

/// Float32 is off by up to 4e-5 in PyTorch.
const LOGITS: f64 = 1e-4;

#[derive(Deserialize)]
struct Fixture {
    #[serde(flatten)]
    training: Training,
    tensors: BTreeMap<String, Vec<usize>>,
    lite0: Vec<Expected>,
    trained: Case,
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
    assert_lands("efficientnet_lite0", &trained, &training, "dropout = 0");
}
