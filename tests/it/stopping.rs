//! Early stopping, plateaus, step limits and divergence.

use serde_json::Value;

use crate::support::Sandbox;

fn summary(lines: &[Value]) -> &Value {
    &lines.last().unwrap()["summary"]
}

#[test]
fn early_stopping_ends_training_and_keeps_the_best_epoch() {
    let sandbox = Sandbox::new();
    // At this rate the validation loss soon stops falling.
    let sets = ["--set", "early_stopping.patience=2", "--set", "train.epochs=60", "--set", "optimizer.learning_rate=0.02"];
    let ran = sandbox.ok(&[["train", "small.toml", "--json", "--run-dir", "r"].as_slice(), &sets].concat());
    let lines = ran.json();
    let validation: Vec<f64> =
        lines.iter().filter(|line| line["split"] == "validation").map(|line| line["data_loss"].as_f64().unwrap()).collect();
    let summary = summary(&lines);
    assert_eq!(summary["status"], "early_stopped");
    let best = usize::try_from(summary["best_epoch"].as_u64().unwrap()).unwrap();
    assert_eq!(validation.len(), best + 2, "two epochs of patience after the best: {validation:?}");
    assert!(validation.iter().all(|loss| *loss >= validation[best - 1]));
    let restored = summary["validation"]["data_loss"].as_f64().unwrap();
    assert!((restored - validation[best - 1]).abs() < 1e-12, "the summary is of the best epoch's weights");
    let evaluated = sandbox.ok(&["evaluate", "r", "--split", "validation", "--json"]).json();
    assert_eq!(evaluated[0]["data_loss"], summary["validation"]["data_loss"]);
}

#[test]
fn a_plateau_lowers_the_rate() {
    let sandbox = Sandbox::new();
    let sets = ["schedule.kind=plateau", "schedule.patience=1", "schedule.factor=0.5", "train.epochs=12", "optimizer.learning_rate=0.03"];
    let mut arguments = vec!["train", "small.toml", "--json", "--run-dir", "r"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    let lines = sandbox.ok(&arguments).json();
    let rows: Vec<(f64, f64)> = lines
        .iter()
        .filter(|line| line["split"] == "validation")
        .map(|line| (line["data_loss"].as_f64().unwrap(), line["learning_rate"].as_f64().unwrap()))
        .collect();
    // With a patience of one, each epoch without a new best loss halves the rate of the next one.
    let mut best = f64::INFINITY;
    let mut expected = 0.03;
    for (loss, rate) in &rows {
        assert!((rate - expected).abs() < 1e-12, "{rows:?}");
        if *loss < best {
            best = *loss;
        } else {
            expected *= 0.5;
        }
    }
    assert!(expected < 0.03, "some epoch did not improve: {rows:?}");
}

#[test]
fn max_steps_ends_in_the_middle_of_an_epoch() {
    let sandbox = Sandbox::new();
    let ran = sandbox.ok(&["train", "small.toml", "--json", "--run-dir", "r", "--set", "train.max_steps=15"]);
    let lines = ran.json();
    let summary = summary(&lines);
    assert_eq!((&summary["status"], &summary["steps"]), (&"completed".into(), &15.into()));
    let rows: Vec<u64> = lines.iter().filter(|line| line["split"] == "train").map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(rows, [13, 15]);
}

#[test]
fn divergence_is_reported_and_the_last_good_checkpoint_stays() {
    let sandbox = Sandbox::new();
    let sets = ["--set", "optimizer.kind=sgd", "--set", "optimizer.learning_rate=1e6", "--set", "checkpoint.every_steps=1"];
    let ran = sandbox.run(&[["train", "small.toml", "--run-dir", "r"].as_slice(), &sets].concat());
    assert_eq!(ran.code(), 4, "{}", ran.stderr());
    let stderr = ran.stderr();
    assert!(stderr.contains("training diverged:") && stderr.contains("learning rate 1e6, lambda 0.5"), "{stderr}");
    let summary: Value = serde_json::from_slice(&std::fs::read(sandbox.path("r/summary.json")).unwrap()).unwrap();
    assert_eq!(summary["status"], "diverged");
    assert!(stderr.contains(&format!("at step {} ", summary["steps"])), "{stderr}");
    let resumed = sandbox.run(&["resume", "r"]);
    assert_eq!(resumed.code(), 2);
    assert!(resumed.stderr().contains("diverged and would diverge again"), "{}", resumed.stderr());
    sandbox.ok(&["evaluate", "r"]);
}
