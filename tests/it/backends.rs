//! The same training on every backend that has a device here.

use serde_json::Value;

use crate::support::{Sandbox, present_backends};

/// Data losses, penalties and rates of every epoch and split, and the measures at the end.
fn losses(sandbox: &Sandbox, backend: &str) -> Vec<f64> {
    let kind = format!("backend.kind={backend}");
    let sets = ["--set", &kind, "--set", "data.train_limit=96", "--set", "train.epochs=2", "--set", "optimizer.clip_norm=1"];
    let lines = sandbox.ok(&[["train", "small.toml", "--json", "--run-dir", backend].as_slice(), &sets].concat()).json();
    let number = |value: &Value| value.as_f64().unwrap();
    let mut losses = Vec::new();
    for row in lines.iter().filter(|line| line["event"] == "epoch") {
        losses.extend(["data_loss", "penalty", "weight_norm_squared"].map(|key| number(&row[key])));
    }
    let summary = &lines.last().unwrap()["summary"];
    losses.extend(["train", "validation", "test"].map(|part| number(&summary[part]["data_loss"])));
    losses
}

#[test]
fn a_training_reaches_the_same_losses_on_every_backend() {
    let sandbox = Sandbox::new();
    let backends = present_backends();
    let expected = losses(&sandbox, backends[0]);
    assert_eq!(expected.len(), 4 * 3 + 3);
    for backend in &backends[1..] {
        for (found, expected) in losses(&sandbox, backend).iter().zip(&expected) {
            assert!((found / expected - 1.0).abs() < 1e-4, "{backend}: {found} against {expected} on {}", backends[0]);
        }
    }
}

#[test]
fn a_run_can_be_measured_on_another_backend() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--run-dir", "r"]);
    let loss = |backend: &str| sandbox.ok(&["evaluate", "r", "--json", "--backend", backend]).json()[0]["data_loss"].as_f64().unwrap();
    let backends = present_backends();
    let expected = loss(backends[0]);
    for backend in &backends[1..] {
        let found = loss(backend);
        assert!((found / expected - 1.0).abs() < 1e-5, "{backend}: {found} against {expected}");
    }
}
