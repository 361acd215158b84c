//! The same training run on every backend with a device on this machine.

use serde_json::Value;

use regulus_kernels::simd::Path;

use crate::support::{Sandbox, cpu_backends, present_backends};

/// Data losses, penalties and ‖w‖² of every epoch and split, and the final losses.
fn losses(sandbox: &Sandbox, backend: &str) -> Vec<f64> {
    let kind = format!("backend.kind={backend}");
    losses_with(sandbox, backend, &[], &["--set", &kind])
}

/// As [`losses`], with environment variables and more arguments.
fn losses_with(sandbox: &Sandbox, run: &str, variables: &[(&str, &str)], more: &[&str]) -> Vec<f64> {
    let sets = ["--set", "data.train_limit=96", "--set", "train.epochs=2", "--set", "optimizer.clip_norm=1"];
    let arguments = [["train", "small.toml", "--json", "--run-dir", run].as_slice(), &sets, more].concat();
    let lines = sandbox.run_with(variables, &arguments).json();
    let number = |value: &Value| value.as_f64().unwrap();
    let mut losses = Vec::new();
    for row in lines.iter().filter(|line| line["event"] == "epoch") {
        losses.extend(["data_loss", "penalty", "weight_norm_squared"].map(|key| number(&row[key])));
    }
    let summary = &lines.last().unwrap()["summary"];
    losses.extend(["train", "validation", "test"].map(|split| number(&summary[split]["data_loss"])));
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
fn stock_operations_and_every_set_of_vector_instructions_reach_the_same_losses() {
    let sandbox = Sandbox::new();
    for backend in cpu_backends() {
        let kind = format!("backend.kind={backend}");
        for (number, sets) in
            [["--set", "model.padding=valid"], ["--set", "model.padding=same"], ["--set", "optimizer.kind=adamw"]].iter().enumerate()
        {
            let fused = [sets.as_slice(), &["--set", &kind]].concat();
            let stock = [fused.as_slice(), &["--set", "backend.kernels=stock"]].concat();
            let expected = losses_with(&sandbox, &format!("{backend}-{number}-stock"), &[], &stock);
            for path in Path::all() {
                let found = losses_with(&sandbox, &format!("{backend}-{number}-{}", path.name), &[("REGULUS_SIMD", path.name)], &fused);
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found / expected - 1.0).abs() < 1e-4, "{backend}, {sets:?}, {}: {found} against {expected}", path.name);
                }
            }
        }
    }
}

#[test]
fn unsupported_vector_instructions_are_an_error() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run_with(&[("REGULUS_SIMD", "mmx")], &["train", "small.toml"]);
    assert_eq!(ran.code(), 2);
    assert!(ran.stderr().contains("`REGULUS_SIMD` is `mmx`; expected one of") && ran.stderr().contains("`scalar`"), "{}", ran.stderr());
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
