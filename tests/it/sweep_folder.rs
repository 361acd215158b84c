//! The files of a sweep: what the study says, a damaged journal, results under another name, what is saved before criteria are computed.

use std::fs;

use serde_json::Value;

use crate::support::Sandbox;
use crate::sweep_search::{fits, study};

#[test]
fn trials_with_splits_of_their_own_have_the_error_of_unpaired_ones() {
    let sandbox = Sandbox::new();
    let ran = sandbox.ok(&["sweep", "small.toml", "--grid", "penalty.0.lambda=0,1", "--folds", "3", "--reshuffle", "--sweep-dir", "s"]);
    let found = study(&sandbox, "s");
    let all = fits(&sandbox, "s");
    let variance = |trial: usize| {
        let losses: Vec<f64> = (0..3).map(|fold| all[3 * trial + fold].1["validation_loss"].as_f64().unwrap()).collect();
        let mean = losses.iter().sum::<f64>() / 3.0;
        losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / 2.0
    };
    let other = usize::from(found["minimum"] == 0);
    let deviation = (variance(0) + variance(1)).sqrt();
    let number = |key: &str| found["trials"][other][key].as_f64().unwrap();
    assert!((number("standard_error") - deviation * (1.0_f64 / 3.0 + 0.5).sqrt()).abs() < 1e-12);
    assert!((number("naive_standard_error") - deviation / 3.0_f64.sqrt()).abs() < 1e-12);
    assert!(ran.stderr().contains("standard errors are those of unpaired trials"), "{}", ran.stderr());
    let report = fs::read_to_string(sandbox.path("s/report.html")).unwrap();
    assert!(report.contains("each trial has splits of its own") && !report.contains("paired difference"));
    // The interval, with t of 2 degrees of freedom; what was searched, and the choice in words.
    let [low, high] = [0, 1].map(|end| found["trials"][other]["interval"][end].as_f64().unwrap());
    let half = 4.302_653 * number("standard_error");
    assert!((low - number("difference") + half).abs() < 1e-9 && (high - number("difference") - half).abs() < 1e-9, "{low} {high}");
    assert!(found["trials"][1 - other]["interval"].is_null());
    let chosen = usize::try_from(found["chosen"].as_u64().unwrap()).unwrap();
    assert_eq!(found["chosen_settings"], found["trials"][chosen]["settings"]);
    assert_eq!((found["reason"].as_str(), &found["searched"][0]["key"]), (Some("the lowest validation loss"), &"penalty.0.lambda".into()));
}

#[test]
fn a_damaged_journal_and_a_fit_under_another_name_are_not_kept_silently() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["sweep", "small.toml", "--grid", "penalty.0.lambda=0,1", "--sweep-dir", "s", "--set", "train.epochs=1"]);
    let journal = || fs::read_to_string(sandbox.path("s/journal.log")).unwrap();
    // Without times, which are those of the writing.
    let trials = |text: &str| -> Vec<(Value, Value)> {
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut trials: Vec<(Value, Value)> = lines.map(|line| (line["user_attrs"]["trial"].clone(), line["value"].clone())).collect();
        // Those of one process are in the order in which they end.
        trials.sort_by_key(|(trial, _)| trial.as_u64());
        trials
    };
    let whole = journal();
    for content in
        [format!("{whole}garbage\n"), whole.replacen("\"op_code\":4", "\"op\":4", 1), whole.split_once('\n').unwrap().1.to_owned()]
    {
        sandbox.write("s/journal.log", &content);
        let resumed = sandbox.ok(&["resume", "s"]);
        assert!(resumed.stderr().contains("`s/journal.log` was damaged and is written anew"), "{}", resumed.stderr());
        assert_eq!(trials(&journal()), trials(&whole));
        assert_eq!(fs::read_to_string(sandbox.path("s/journal.log.damaged")).unwrap(), content);
    }
    fs::copy(sandbox.path("s/fits/trial0001-seed3.json"), sandbox.path("s/fits/trial0000-seed3.json")).unwrap();
    let refused = sandbox.run(&["resume", "s"]);
    let message = "it is the result of another training, `trial0001-seed3`; remove it to repeat this training";
    assert!(refused.code() == 3 && refused.stderr().contains(message), "{}", refused.stderr());
}

#[cfg(unix)]
#[test]
fn a_training_is_saved_before_its_criteria_are_computed() {
    let sandbox = Sandbox::new();
    let sweep = |dir: &'static str| {
        let base = ["sweep", "small.toml", "--criterion", "loo", "--jobs", "1", "--no-report", "--set", "data.validation=0"];
        [base.as_slice(), &["--set", "data.train_limit=2000", "--grid", "penalty.0.lambda=3,10", "--sweep-dir", dir]].concat()
    };
    sandbox.ok(&sweep("whole"));
    let mut child = sandbox.command(&sweep("cut")).stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null()).spawn().unwrap();
    // Written after the last epoch, much less than 30 seconds after the beginning.
    let saved = sandbox.path("cut/fits/trial0000-seed3.checkpoint/last");
    while !saved.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(child.try_wait().unwrap().is_none(), "it ended without a checkpoint");
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(75));
    assert!(saved.exists() && !sandbox.path("cut/fits/trial0000-seed3.json").exists());
    sandbox.ok(&["resume", "cut"]);
    assert_eq!(study(&sandbox, "cut"), study(&sandbox, "whole"));
}
