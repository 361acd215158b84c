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

/// The validation rows of a run: a measure and the data loss of each epoch.
fn measured(lines: &[Value], name: &str) -> Vec<(f64, f64)> {
    let rows = lines.iter().filter(|line| line["split"] == "validation");
    rows.map(|line| (line[name].as_f64().unwrap(), line["data_loss"].as_f64().unwrap())).collect()
}

#[test]
fn the_best_epoch_has_the_highest_measure_and_of_equal_ones_the_lowest_loss() {
    let sandbox = Sandbox::new();
    for measure in ["accuracy", "balanced_accuracy", "macro_f1"] {
        let best_by = format!("train.best_by={measure}");
        let sets = ["--set", &best_by, "--set", "train.epochs=12", "--set", "optimizer.learning_rate=0.02"];
        let ran = sandbox.ok(&[["train", "small.toml", "--json", "--run-dir", measure].as_slice(), &sets].concat());
        let lines = ran.json();
        let rows = measured(&lines, measure);
        let rank = |(value, loss): (f64, f64)| (-value, loss);
        let mut best = 0;
        (1..rows.len()).for_each(|epoch| best = if rank(rows[epoch]) < rank(rows[best]) { epoch } else { best });
        let lowest = (0..rows.len()).min_by(|one, other| rows[*one].1.total_cmp(&rows[*other].1)).unwrap();
        assert_eq!(rows.len(), 12);
        assert_ne!(best, lowest, "another epoch than that of the lowest loss: {rows:?}");
        let summary = summary(&lines);
        assert_eq!((&summary["best_epoch"], &summary["best_by"]), (&(best + 1).into(), &measure.into()), "{rows:?}");
        assert!((summary["validation"][measure].as_f64().unwrap() - rows[best].0).abs() < 1e-12);
        assert_eq!(sandbox.json(&format!("{measure}/manifest.json"))["best_by"], measure);
        let report = std::fs::read_to_string(sandbox.path(&format!("{measure}/report.html"))).unwrap();
        let title = measure.replace("macro_f1", "macro-F1").replace('_', " ");
        assert!(report.contains(&format!("best epoch (by {title})")), "{measure}");
    }
}

#[test]
fn early_stopping_waits_for_the_measure_and_a_resumed_run_goes_on_as_one() {
    let sandbox = Sandbox::new();
    let train = |run: &str, epochs: &str| {
        let sets = [
            "train.best_by=balanced_accuracy",
            "early_stopping.patience=3",
            "early_stopping.min_delta=0.01",
            "optimizer.learning_rate=0.02",
        ];
        let sets = sets.into_iter().chain([epochs]).flat_map(|set| ["--set", set]);
        sandbox.ok(&["train", "small.toml", "--json", "--run-dir", run].into_iter().chain(sets).collect::<Vec<_>>()).json()
    };
    let lines = train("whole", "train.epochs=60");
    let rows = measured(&lines, "balanced_accuracy");
    let (mut best, mut waited) = (f64::NEG_INFINITY, 0);
    for (index, (value, _)) in rows.iter().enumerate() {
        assert!(waited < 3, "it ends after epoch {index}: {rows:?}");
        (best, waited) = if *value > best + 0.01 { (*value, 0) } else { (best, waited + 1) };
    }
    assert_eq!((waited, &summary(&lines)["status"]), (3, &"early_stopped".into()), "{rows:?}");
    let said = sandbox.ok(&["resume", "whole"]).stdout();
    assert!(said.contains("the validation balanced accuracy no longer rose") && said.contains("by balanced accuracy"), "{said}");
}

#[test]
fn balanced_draws_and_class_weights_go_on_as_without_a_pause() {
    let sandbox = Sandbox::new();
    for set in ["train.sampling=balanced", "train.class_weights=balanced"] {
        let train = |run: &str, epochs: &str| {
            let sets = [set, "augment.shift=2", "train.best_by=macro_f1", epochs].into_iter().flat_map(|set| ["--set", set]);
            sandbox.ok(&["train", "small.toml", "--run-dir", run].into_iter().chain(sets).collect::<Vec<_>>());
        };
        let [whole, parts] = ["whole", "parts"].map(|name| format!("{name}-{}", set.replace('=', "-")));
        train(&whole, "train.epochs=4");
        train(&parts, "train.epochs=2");
        sandbox.ok(&["resume", &parts, "--epochs", "4"]);
        let weights = |run: &str, kind: &str| std::fs::read(sandbox.path(&format!("{run}/checkpoints/{kind}/model.safetensors"))).unwrap();
        for kind in ["last", "best"] {
            assert!(weights(&whole, kind) == weights(&parts, kind), "{set}, {kind}");
        }
    }
}
