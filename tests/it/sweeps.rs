//! `regulus sweep`: trials, folds, the choice, interruptions.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Sandbox, png};

/// The lines of `trials.csv` without the column of seconds.
pub(crate) fn trials(sandbox: &Sandbox, sweep: &str) -> Vec<String> {
    let text = fs::read_to_string(sandbox.path(sweep).join("trials.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let seconds = header.iter().position(|name| name == "seconds").unwrap();
    let line = |record: csv::StringRecord| {
        record.iter().enumerate().filter(|(at, _)| *at != seconds).map(|(_, field)| field.to_owned()).collect::<Vec<_>>().join("|")
    };
    reader.records().map(|record| line(record.unwrap())).collect()
}

/// The study without seconds.
pub(crate) fn study(sandbox: &Sandbox, sweep: &str) -> Value {
    let mut study = sandbox.json(&format!("{sweep}/study.json"));
    for key in ["seconds", "sha256"] {
        study.as_object_mut().unwrap().remove(key);
    }
    for key in ["seconds", "images_per_second"] {
        study["refit"].as_object_mut().unwrap().remove(key);
    }
    study
}

#[test]
fn a_sweep_is_the_trainings_of_the_command_line_whatever_runs_at_once() {
    let sandbox = Sandbox::new();
    let sweep = |dir: &str, jobs: &str| {
        let arguments =
            ["sweep", "small.toml", "--grid", "penalty.0.lambda=0,3,1000", "--seeds", "2", "--sweep-dir", dir, "--jobs", jobs, "--json"];
        sandbox.ok(&arguments).json()
    };
    let events = sweep("one", "1");
    assert_eq!((events[0]["event"].as_str(), events[0]["trainings"].as_u64()), (Some("begin"), Some(6)));
    sweep("three", "3");
    assert_eq!(trials(&sandbox, "one"), trials(&sandbox, "three"));
    assert_eq!(study(&sandbox, "one"), study(&sandbox, "three"));
    let found = study(&sandbox, "one");
    let losses: Vec<f64> = found["trials"].as_array().unwrap().iter().map(|trial| trial["mean"].as_f64().unwrap()).collect();
    assert!(losses[2] > losses[0] && found["minimum"] != 2, "λ = 1000 is far too large: {losses:?}");
    assert_eq!(found["chosen"], found["minimum"]);
    let minimum = usize::try_from(found["minimum"].as_u64().unwrap()).unwrap();
    assert_eq!(found["trials"][minimum]["difference"], 0.0);
    assert_eq!(found["trials"][1]["settings"]["penalty.0.lambda"], 3);

    // The second seed of the second trial, by itself: the split stays that of the first seed.
    let seed = sandbox.json("one/sweep.json")["seeds"][1].as_u64().unwrap();
    let split_seed = sandbox.json("one/sweep.json")["split_seed"].as_u64().unwrap();
    let sets = ["penalty.0.lambda=3".to_owned(), format!("seed={seed}"), format!("data.split_seed={split_seed}")];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    sandbox.ok(&[&["train", "small.toml", "--run-dir", "alone"], sets.as_slice()].concat());
    let rows = fs::read_to_string(sandbox.path("alone/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(rows.lines().last().unwrap()).unwrap();
    let fit = sandbox.json(&format!("one/fits/trial0001-seed{seed}.json"));
    assert_eq!((&fit["validation_loss"], &fit["validation"]["accuracy"]), (&last["data_loss"], &last["accuracy"]));

    // The chosen trial is trained again on the validation images, too.
    let refit = sandbox.json("one/refit/manifest.json");
    assert_eq!(refit["dataset"]["validation"], 0);
    assert_eq!(found["refit"]["test"], sandbox.json("one/refit/summary.json")["test"]);
    let manifest = sandbox.json("alone/manifest.json");
    let counts = |manifest: &Value| manifest["dataset"]["train"].as_u64().unwrap() + manifest["dataset"]["validation"].as_u64().unwrap();
    assert_eq!(counts(&refit), counts(&manifest));
}

#[test]
fn cross_validation_holds_out_every_image_once_and_a_diverged_trial_is_a_row() {
    let sandbox = Sandbox::new();
    let arguments = ["sweep", "small.toml", "--grid", "optimizer.learning_rate=0.01,1e30", "--folds", "3", "--sweep-dir", "cv"];
    let ran = sandbox.ok(&arguments);
    assert!(ran.stdout().contains("diverged") && ran.stdout().contains("chosen: optimizer.learning_rate=0.01"), "{}", ran.stdout());
    let fits: Vec<Value> = fs::read_dir(sandbox.path("cv/fits"))
        .unwrap()
        .map(|entry| serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap())
        .collect();
    assert_eq!(fits.len(), 6);
    let of_first: Vec<&Value> = fits.iter().filter(|fit| fit["trial"] == 0).collect();
    let held_out: u64 = of_first.iter().map(|fit| fit["validation_samples"].as_u64().unwrap()).sum();
    let all = of_first[0]["validation_samples"].as_u64().unwrap() + of_first[0]["train_samples"].as_u64().unwrap();
    assert_eq!(held_out, all);
    let study = sandbox.json("cv/study.json");
    assert_eq!((study["trials"][1]["state"].as_str(), &study["trials"][1]["mean"]), (Some("diverged"), &Value::Null));
    assert!(study["trials"][1]["message"].as_str().unwrap().contains("is not finite"), "{study}");
    assert_eq!(trials(&sandbox, "cv").len(), 6);
}

#[test]
fn one_standard_error_takes_the_largest_lambda_that_is_near() {
    let sandbox = Sandbox::new();
    let sweep = |rule: &str, dir: &str| {
        let grid = "penalty.0.lambda=0,0.001,0.002,0.004,5000";
        let ran = sandbox.ok(&[
            "sweep",
            "small.toml",
            "--grid",
            grid,
            "--folds",
            "4",
            "--rule",
            rule,
            "--sweep-dir",
            dir,
            "--set",
            "train.epochs=2",
        ]);
        (sandbox.json(&format!("{dir}/study.json")), ran.stdout())
    };
    let (minimum, _) = sweep("minimum", "minimum");
    let (near, printed) = sweep("one-standard-error", "near");
    assert_eq!(minimum["trials"], near["trials"]);
    // By the definition, from the differences and errors that are stated.
    let number = |trial: usize, key: &str| near["trials"][trial][key].as_f64().unwrap();
    let expected = (0..5).rev().find(|trial| number(*trial, "difference") <= number(*trial, "standard_error")).unwrap();
    assert_eq!(near["chosen"].as_u64().unwrap(), expected as u64, "{printed}");
    assert!(expected < 4 && minimum["chosen"] == minimum["minimum"], "λ = 5000 is far too large: {printed}");
    // The error is computed from the folds here: s·√(1/4 + 1/3).
    let loss = |trial: usize, fold: usize| {
        sandbox.json(&format!("near/fits/trial{trial:04}-seed3-fold{fold}.json"))["validation_loss"].as_f64().unwrap()
    };
    let best = usize::try_from(near["minimum"].as_u64().unwrap()).unwrap();
    let other = usize::from(best == 0);
    let differences: Vec<f64> = (1..=4).map(|fold| loss(other, fold) - loss(best, fold)).collect();
    let mean = differences.iter().sum::<f64>() / 4.0;
    let deviation = (differences.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
    assert!((number(other, "standard_error") - deviation * (0.25_f64 + 1.0 / 3.0).sqrt()).abs() < 1e-12);
    assert!((number(other, "difference") - mean).abs() < 1e-12);
}

#[test]
fn a_validation_folder_is_joined_with_the_training_images_and_other_image_sizes_are_read() {
    let sandbox = Sandbox::new();
    for (split, count) in [("train", 10), ("val", 4), ("test", 3)] {
        for number in 0..count {
            png(&sandbox.path(&format!("shades/{split}/dark/{number}.png")), 20, 20, 10 + number);
            png(&sandbox.path(&format!("shades/{split}/light/{number}.png")), 20, 20, 200 + number);
        }
    }
    let config = "name = \"shades\"\n[data]\nsource = \"folder\"\ndir = \"shades\"\nimage_size = [12, 12]\n[model]\nkind = \"linear\"\n[train]\nepochs = 2\n";
    sandbox.write("shades.toml", config);
    sandbox.ok(&[
        "sweep",
        "shades.toml",
        "--grid",
        "data.image_size=[12,12],[8,8]",
        "--grid",
        "optimizer.learning_rate=0.001,0.01",
        "--sweep-dir",
        "s",
    ]);
    let refit = sandbox.json("s/refit/manifest.json");
    assert_eq!(
        (&refit["dataset"]["train"], &refit["dataset"]["validation"], &refit["dataset"]["test"]),
        (&28.into(), &0.into(), &6.into())
    );
    let folds = sandbox.run(&["sweep", "shades.toml", "--grid", "optimizer.learning_rate=0.001,0.01", "--folds", "2", "--sweep-dir", "f"]);
    assert!(folds.code() == 3 && folds.stderr().contains("validation folder; move its images to `train`"), "{}", folds.stderr());
}

#[test]
fn a_sweep_in_which_all_diverge_says_so() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["sweep", "small.toml", "--grid", "optimizer.learning_rate=1e30,1e35", "--sweep-dir", "s"]);
    assert!(
        ran.code() == 4 && ran.stderr().contains("no trial was completed with a loss that ranks it; `s/trials.csv` says why"),
        "{}",
        ran.stderr()
    );
    assert!(ran.stdout().contains("diverged") && sandbox.json("s/study.json")["chosen"].is_null(), "{}", ran.stdout());
}

#[test]
fn a_sweep_whose_leave_one_out_losses_are_unreliable_says_what_to_do() {
    let sandbox = Sandbox::new();
    // With nearly no penalty the answer for an image depends on that image alone.
    let sweep = ["sweep", "small.toml", "--criterion", "loo", "--set", "train.epochs=20", "--set", "data.validation=0"];
    let ran = sandbox.run(&[sweep.as_slice(), &["--grid", "penalty.0.lambda=1e-5,1e-4", "--sweep-dir", "s"]].concat());
    assert!(ran.code() == 2 && ran.stdout().contains("unreliable"), "{}", ran.stdout());
    assert!(ran.stderr().ends_with("Try larger values of λ, or `--criterion evidence`\n"), "{}", ran.stderr());
}

#[test]
fn random_search_and_keys_that_do_not_apply() {
    let sandbox = Sandbox::new();
    let space = ["--grid", "penalty.0.lambda=log:0.01:100", "--grid", "model.kind=linear,mlp", "--grid", "model.hidden=4,8"];
    let base = ["sweep", "small.toml", "--unset", "model", "--random", "4", "--set", "train.epochs=1"];
    let base_of_grid = ["sweep", "small.toml", "--unset", "model", "--set", "train.epochs=1"];
    sandbox.ok(&[base.as_slice(), &space, &["--sweep-dir", "random"]].concat());
    let plan = sandbox.json("random/sweep.json");
    assert_eq!(plan["trials"].as_array().unwrap().len(), 4);
    // A linear network has no hidden units, so its trials with both numbers of them are one.
    sandbox.ok(&[base_of_grid.as_slice(), &space[2..], &["--sweep-dir", "grid"]].concat());
    let trials = sandbox.json("grid/sweep.json")["trials"].clone();
    let has_hidden = |trial: &Value| trial.as_array().unwrap().iter().any(|setting| setting[0] == "model.hidden");
    let found: Vec<bool> = trials.as_array().unwrap().iter().map(has_hidden).collect();
    assert_eq!(found, [false, true, true], "{trials}");
    let states: Vec<Value> =
        sandbox.json("random/study.json")["trials"].as_array().unwrap().iter().map(|trial| trial["state"].clone()).collect();
    assert!(states.iter().all(|state| state == "completed"), "{states:?}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_sweep_goes_on_where_it_was() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let sandbox = Sandbox::new();
    let arguments = |dir: &'static str| {
        [
            "sweep",
            "small.toml",
            "--grid",
            "penalty.0.lambda=0,1,3",
            "--seeds",
            "2",
            "--set",
            "train.epochs=20",
            "--jobs",
            "2",
            "--sweep-dir",
            dir,
        ]
    };
    sandbox.ok(&arguments("whole"));
    let mut child = sandbox.command(&arguments("stopped")).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.by_ref().find(|line| line.as_ref().unwrap().starts_with("2/6")).unwrap().unwrap();
    // The next ones have begun by then.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(75));
    let paths: Vec<PathBuf> = fs::read_dir(sandbox.path("stopped/fits")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let with = |end: &str| paths.iter().filter(|path| path.extension().is_some_and(|own| own == end)).count();
    assert!((2..6).contains(&with("json")) && with("checkpoint") > 0, "{paths:?}");
    assert!(!sandbox.path("stopped/study.json").exists());
    let resumed = sandbox.ok(&["resume", "stopped"]);
    assert!(!resumed.stderr().contains("1/6:"), "an ended training is not repeated: {}", resumed.stderr());
    assert_eq!(trials(&sandbox, "stopped"), trials(&sandbox, "whole"));
    assert_eq!(study(&sandbox, "stopped"), study(&sandbox, "whole"));
    assert!(
        fs::read_dir(sandbox.path("stopped/fits")).unwrap().all(|entry| entry.unwrap().path().extension().is_some_and(|end| end == "json"))
    );
    let evaluated = sandbox.run(&["evaluate", "stopped"]);
    assert!(
        evaluated.code() == 2 && evaluated.stderr().contains("use the run of the chosen trial, `stopped/refit`"),
        "{}",
        evaluated.stderr()
    );
    // Once more: nothing is left to do.
    sandbox.ok(&["resume", "stopped"]);
    assert_eq!(study(&sandbox, "stopped"), study(&sandbox, "whole"));
}

#[test]
fn a_sweep_that_can_not_be_made_is_refused() {
    let sandbox = Sandbox::new();
    let refused = |more: &[&str]| {
        let ran = sandbox.run(&[&["sweep", "small.toml", "--sweep-dir", "s"], more].concat());
        format!("{}\n    {} {}", more.join(" "), ran.code(), ran.stderr().lines().last().unwrap_or_default())
    };
    let messages = [
        refused(&["--grid", "penalty.0.lambda=0,1", "--set", "data.validation=0"]),
        refused(&["--grid", "penalty.0.lamda=0,1"]),
        refused(&["--grid", "penalty.0.lambda=0,-1"]),
        refused(&["--grid", "penalty.0.lambda=log:0.1:10"]),
        refused(&["--unset", "penalty"]),
        refused(&["--grid", "seed=1,2"]),
        refused(&["--grid", "penalty.0.lambda=0,1", "--grid", "penalty.0.lambda=2,3"]),
        refused(&["--grid", "penalty.0.lambda=0,1", "--set", "early_stopping.patience=3"]),
        refused(&["--grid", "penalty.0.lambda=0,1", "--set", "schedule.kind=plateau"]),
        refused(&["--grid", "penalty.0.lambda=0,1", "--set", "penalty.0.schedule.kind=adaptive", "--unset", "penalty.0.lambda"]),
        refused(&["--grid", "data.train_limit=100,200"]),
        refused(&["--grid", "penalty.0.lambda=0,1", "--rule", "one-standard-error"]),
        refused(&["--grid", "model.hidden=4,8", "--folds", "2", "--rule", "one-standard-error"]),
        refused(&["--grid", "penalty.0.lambda=linear:0:1:99999999999"]),
        refused(&["--grid", "penalty.0.lambda=linear:0:1:60000", "--seeds", "2"]),
        refused(&["--grid", "penalty.0.lambda=log:1:1.0001:4"]),
        refused(&["--set", "penalty.0.kind=decoupled"]),
        refused(&["--random", "3"]),
        refused(&["--folds", "1000", "--grid", "penalty.0.lambda=0,1"]),
    ];
    insta::assert_snapshot!(messages.join("\n"));
    assert!(!sandbox.path("s").exists());
    sandbox.write("taken/file", "");
    let ran = sandbox.run(&["sweep", "small.toml", "--grid", "penalty.0.lambda=0,1", "--sweep-dir", "taken"]);
    assert_eq!(ran.code(), 2, "{}", ran.stderr());
    let not_a_sweep = sandbox.run(&["resume", "taken", "--jobs", "2"]);
    assert_eq!(not_a_sweep.code(), 2, "{}", not_a_sweep.stderr());
    let message = "`taken` is neither a run folder nor the folder of a sweep";
    assert!(not_a_sweep.stderr().contains(message), "{}", not_a_sweep.stderr());
    let one = sandbox.run(&["sweep", "small.toml", "--folds", "1"]);
    assert!(
        one.code() == 2 && one.stderr().contains("expected a whole number >= 2") && !one.stderr().contains("18446"),
        "{}",
        one.stderr()
    );
    // A folder of the user in the way of the last training.
    sandbox.write("foreign/refit/notes.txt", "mine");
    fs::remove_dir_all(sandbox.path("s")).unwrap_or_default();
    let sweep = ["--grid", "penalty.0.lambda=0,1", "--random", "9", "--set", "train.epochs=1"];
    let ran = sandbox.ok(&[&["sweep", "small.toml", "--sweep-dir", "s"], sweep.as_slice()].concat());
    assert!(ran.stderr().contains("9 random combinations make 2 trials"), "{}", ran.stderr());
    fs::remove_dir_all(sandbox.path("s/refit")).unwrap();
    fs::rename(sandbox.path("foreign/refit"), sandbox.path("s/refit")).unwrap();
    let ran = sandbox.run(&["resume", "s"]);
    let message = "`s/refit` holds files that are not of this sweep; move them away, then go on with `regulus resume s`";
    assert!(ran.code() == 2 && ran.stderr().contains(message), "{}", ran.stderr());
}
