//! `regulus sweep --path`.

use std::fs;

use serde_json::Value;

use crate::support::Sandbox;
use crate::sweep_search::study;

#[test]
fn a_path_starts_from_the_weights_of_the_smaller_lambda() {
    let sandbox = Sandbox::new();
    let sweep = |dir: &str, jobs: &str| {
        let base = [
            "sweep",
            "small.toml",
            "--path",
            "--folds",
            "2",
            "--set",
            "sweep.path_finalists=2",
            "--set",
            "sweep.path_epochs=1",
            "--jobs",
            jobs,
            "--sweep-dir",
            dir,
        ];
        sandbox.ok(&[base.as_slice(), &["--grid", "penalty.0.lambda=100,1,0", "--format", "markdown"]].concat()).stderr()
    };
    let printed = sweep("one", "1");
    sweep("three", "3");
    let found = study(&sandbox, "one");
    assert_eq!(found, study(&sandbox, "three"));
    let fit = |name: &str| sandbox.json(&format!("one/fits/{name}.json"));
    let (first, second) = (fit("trial0002-seed3-fold1"), fit("trial0001-seed3-fold1"));
    assert_eq!((&first["is_warm"], &first["epochs"]), (&false.into(), &3.into()));
    assert_eq!((&second["is_warm"], &second["epochs"]), (&true.into(), &1.into()));
    // The same by hand.
    let train = |dir: &str, sets: &[&str]| {
        let base = [
            "train",
            "small.toml",
            "--run-dir",
            dir,
            "--set",
            "data.validation=fold 1/2",
            "--set",
            "data.split_seed=3",
            "--set",
            "train.keep=last",
        ];
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        sandbox.ok(&[base.as_slice(), &sets].concat());
        let rows = fs::read_to_string(sandbox.path(&format!("{dir}/metrics.jsonl"))).unwrap();
        serde_json::from_str::<Value>(rows.lines().last().unwrap()).unwrap()["data_loss"].clone()
    };
    assert_eq!(train("small", &["penalty.0.lambda=0"]), first["validation_loss"]);
    sandbox.ok(&["export", "small", "--output", "small.safetensors"]);
    assert_eq!(train("next", &["penalty.0.lambda=1", "model.init=small.safetensors", "train.epochs=1"]), second["validation_loss"]);
    // The finalists, from initial weights.
    let checks = found["path"].as_array().unwrap();
    // The first of the path, λ = 0, is always compared, and not trained again.
    assert_eq!((&checks[0]["trial"], &checks[0]["is_first"], &checks[1]["is_first"]), (&2.into(), &true.into(), &false.into()), "{found}");
    assert!(!sandbox.path("one/fits/trial0002-seed3-fold1-finalist.json").exists());
    let finalists = sandbox.json("one/sweep.json")["finalists"].as_array().unwrap().len();
    assert_eq!(
        (finalists, checks.len()),
        (2, if sandbox.json("one/sweep.json")["finalists"].as_array().unwrap().contains(&2.into()) { 2 } else { 3 })
    );
    let ended = fs::read_dir(sandbox.path("one/fits")).unwrap().count();
    assert_eq!(ended, 2 * (3 + checks.len() - 1), "whole trainings of the finalists but the first");
    let end = |trial: usize| if trial == 2 { "" } else { "-finalist" };
    let of = |check: &Value| usize::try_from(check["trial"].as_u64().unwrap()).unwrap();
    let mean = |trial: usize, end: &str| {
        (1..=2).map(|fold| fit(&format!("trial{trial:04}-seed3-fold{fold}{end}"))["validation_loss"].as_f64().unwrap()).sum::<f64>() / 2.0
    };
    for check in checks {
        assert!((check["from_start"].as_f64().unwrap() - mean(of(check), end(of(check)))).abs() < 1e-12);
        assert!((check["on_path"].as_f64().unwrap() - mean(of(check), "")).abs() < 1e-12);
    }
    let best = checks.iter().map(of).min_by(|one, other| mean(*one, end(*one)).total_cmp(&mean(*other, end(*other)))).unwrap();
    assert_eq!(found["chosen"], best);
    assert!(printed.contains("from initial weights: ") && printed.contains("(the first of the path)"), "{printed}");
    // The journal has the losses of the table, and those from initial weights beside them.
    let journal = fs::read_to_string(sandbox.path("one/journal.log")).unwrap();
    let lines: Vec<Value> = journal.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{journal}");
    for line in &lines {
        let trial = of(&line["user_attrs"]);
        assert!((line["value"].as_f64().unwrap() - mean(trial, "")).abs() < 1e-12, "{line}");
        let compared = checks.iter().find(|check| of(check) == trial);
        let from_start = line["user_attrs"]["from_initial_weights"].as_f64();
        assert_eq!(from_start.is_some(), compared.is_some(), "{line}");
        assert!(from_start.is_none_or(|loss| (loss - mean(trial, end(trial))).abs() < 1e-12), "{line}");
    }
    let left =
        fs::read_dir(sandbox.path("one/fits")).unwrap().filter(|entry| entry.as_ref().unwrap().path().extension().unwrap() != "json");
    assert_eq!(left.count(), 0, "the weights are removed");
}

#[test]
fn a_finalist_is_compared_with_the_first_of_the_path() {
    let sandbox = Sandbox::new();
    // From the weights of λ = 0 one epoch does not bring a far too large λ to its loss, so the path is led astray: with one finalist the first must be compared.
    let base =
        ["sweep", "small.toml", "--path", "--folds", "2", "--set", "sweep.path_finalists=1", "--set", "train.epochs=6", "--no-report"];
    let grid = ["--grid", "penalty.0.lambda=0.1,1,10,100", "--sweep-dir", "s"];
    sandbox.ok(&[base.as_slice(), &grid].concat());
    let found = study(&sandbox, "s");
    let checks = found["path"].as_array().unwrap();
    assert_eq!(checks[0]["trial"], 0);
    let lowest = checks.iter().min_by(|one, other| one["from_start"].as_f64().unwrap().total_cmp(&other["from_start"].as_f64().unwrap()));
    assert_eq!(found["chosen"], lowest.unwrap()["trial"]);
    assert!(found["reason"].as_str().unwrap().contains("from initial weights among"), "{found}");
}
