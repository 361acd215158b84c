//! A run and an export of an earlier version, from a fixture.

use std::fs;
use std::path::{Path, PathBuf};

use regulus::model::Weights;
use serde_json::Value;

use crate::support::Sandbox;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/older_run").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

fn near(found: &Weights, expected: &Weights, tolerance: f32) {
    assert_eq!(found.iter().count(), expected.iter().count());
    for (name, expected) in expected.iter() {
        let found = &found.get(name).unwrap().numbers;
        for (found, expected) in found.iter().zip(&expected.numbers) {
            assert!((found - expected).abs() <= tolerance, "{name}: {found} against {expected}");
        }
    }
}

#[test]
fn a_run_of_an_earlier_version_is_resumed_evaluated_and_exported_with_the_same_result() {
    let sandbox = Sandbox::new();
    copy(&fixture("run"), &sandbox.path("run"));
    let loss = |value: &Value| value["data_loss"].as_f64().unwrap();
    let then: Value = serde_json::from_slice(&fs::read(fixture("evaluate_interrupted.json")).unwrap()).unwrap();
    let now = &sandbox.ok(&["evaluate", "run", "--json"]).json()[0];
    assert!((loss(now) / loss(&then) - 1.0).abs() < 1e-6, "{now} against {then}");
    let resumed = sandbox.ok(&["resume", "run"]).stderr();
    // Other vector instructions round differently.
    let is_same = !resumed.contains("which round differently");
    let trained = Weights::from_file(&sandbox.path("run/checkpoints/last/trained.safetensors")).unwrap();
    near(&trained, &Weights::from_file(&fixture("resumed.safetensors")).unwrap(), if is_same { 0.0 } else { 1e-3 });
    let then: Value = serde_json::from_slice(&fs::read(fixture("evaluate.json")).unwrap()).unwrap();
    let now = &sandbox.ok(&["evaluate", "run", "--json"]).json()[0];
    if is_same {
        let keys = ["accuracy", "data_loss", "confusion", "epoch", "calibration_error"];
        keys.iter().for_each(|key| assert_eq!(now[key], then[key], "{key}"));
    }
    sandbox.ok(&["export", "run", "--output", "model.safetensors"]);
    let exported = Weights::from_file(&sandbox.path("model.safetensors")).unwrap();
    near(&exported, &Weights::from_file(&fixture("export.safetensors")).unwrap(), if is_same { 0.0 } else { 1e-3 });
}

#[test]
fn an_export_of_an_earlier_version_is_evaluated_and_exported_again() {
    let sandbox = Sandbox::new();
    fs::copy(fixture("export.safetensors"), sandbox.path("old.safetensors")).unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digit.png"), sandbox.path("digit.png")).unwrap();
    let prediction = sandbox.ok(&["predict", "old.safetensors", "digit.png", "--json"]).json();
    sandbox.ok(&["export", "old.safetensors", "--output", "new.safetensors"]);
    assert_eq!(sandbox.ok(&["predict", "new.safetensors", "digit.png", "--json"]).json(), prediction);
    let [old, new] = ["old.safetensors", "new.safetensors"].map(|name| Weights::from_file(&sandbox.path(name)).unwrap());
    assert!(old == new);
}
