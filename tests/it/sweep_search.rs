//! `regulus sweep`: the section `[sweep]`, pruning, TPE, repeats and the formats of the table.

use std::fs;

use serde_json::Value;

use crate::support::Sandbox;

/// A study without seconds.
pub(crate) fn study(sandbox: &Sandbox, sweep: &str) -> Value {
    let mut study = sandbox.json(&format!("{sweep}/study.json"));
    for key in ["seconds", "sha256", "refit"] {
        study.as_object_mut().unwrap().remove(key);
    }
    study
}

/// The result of each training, by the name of its file.
pub(crate) fn fits(sandbox: &Sandbox, sweep: &str) -> Vec<(String, Value)> {
    let mut fits: Vec<(String, Value)> = fs::read_dir(sandbox.path(&format!("{sweep}/fits")))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap()))
        .collect();
    fits.sort_by(|(one, _), (other, _)| one.cmp(other));
    fits
}

#[test]
fn the_section_is_the_options_and_an_option_replaces_its_key() {
    let sandbox = Sandbox::new();
    let config = fs::read_to_string(sandbox.path("small.toml")).unwrap();
    let section = "\n[sweep]\ngrid = [\"penalty.0.lambda=0,3\"]\nfolds = 3\nrule = \"one_standard_error\"\n";
    sandbox.write("swept.toml", format!("{config}{section}"));
    sandbox.ok(&["sweep", "swept.toml", "--sweep-dir", "section"]);
    sandbox.ok(&[
        "sweep",
        "small.toml",
        "--grid",
        "penalty.0.lambda=0,3",
        "--folds",
        "3",
        "--rule",
        "one-standard-error",
        "--sweep-dir",
        "options",
    ]);
    assert_eq!(study(&sandbox, "section"), study(&sandbox, "options"));
    sandbox.ok(&["sweep", "swept.toml", "--grid", "penalty.0.lambda=5,7", "--folds", "2", "--set", "sweep.seeds=2", "--sweep-dir", "both"]);
    let plan = sandbox.json("both/sweep.json");
    assert_eq!((&plan["sweep"]["folds"], plan["seeds"].as_array().unwrap().len()), (&2.into(), 2));
    assert_eq!(plan["trials"][1][0][1], 7);
    assert!(!plan["config"].as_str().unwrap().contains("[sweep]"));
    // Other commands say that they do not use it.
    let trained = sandbox.ok(&["train", "swept.toml", "--run-dir", "run"]);
    assert!(trained.stderr().contains("`regulus sweep` uses the section `[sweep]`"), "{}", trained.stderr());
}

#[test]
fn a_section_that_can_not_be_used_is_refused() {
    let sandbox = Sandbox::new();
    let refused = |more: &[&str]| {
        let ran = sandbox.run(&[&["sweep", "small.toml", "--sweep-dir", "s"], more].concat());
        format!("{}\n    {} {}", more.join(" "), ran.code(), ran.stderr().lines().last().unwrap_or_default())
    };
    let lambda = "sweep.grid=[\"penalty.0.lambda=0,1\"]";
    let messages = [
        refused(&["--set", "sweep.folds=1"]),
        refused(&["--set", "sweep.fold=3"]),
        refused(&["--set", "sweep.rule=best"]),
        refused(&["--set", "sweep.grid=[\"penalty.0.lambda\"]"]),
        refused(&["--set", lambda, "--set", "sweep.random=3", "--set", "sweep.tpe=3"]),
        refused(&["--set", "sweep.tpe=3"]),
        refused(&["--grid", "penalty.0.lambda=0,1", "--tpe", "3", "--pruner", "halving"]),
        refused(&["--grid", "train.epochs=2,3", "--pruner", "halving"]),
        refused(&["--grid", "penalty.0.lambda=0,1", "--pruner", "top-k", "--set", "train.epochs=1"]),
        refused(&["--grid", "penalty.0.lambda=0,1", "--pruner", "halving", "--set", "sweep.pruner_epochs=3"]),
        refused(&["--grid", "penalty.0.lambda=1,2", "--set", "penalty.0.kind=l1", "--criterion", "loo"]),
        refused(&["--grid", "penalty.0.lambda=0", "--criterion", "evidence"]),
        refused(&["--grid", "penalty.0.lambda=0", "--curvature"]),
        refused(&["--grid", "penalty.0.lambda=0,1", "--criterion", "loo", "--folds", "3"]),
        refused(&["--grid", "penalty.0.lambda=0,1", "--criterion", "evidence", "--rule", "one-standard-error"]),
        refused(&["--grid", "penalty.0.lambda=0,1", "--path", "--random", "3"]),
        refused(&["--grid", "model.hidden=4,8", "--path"]),
        refused(&["--set", "sweep=3"]),
        refused(&["--grid", "sweep.folds=2,3"]),
        refused(&["--grid", "checkpoint.every_steps=0,5"]),
        refused(&["--grid", "penalty.0.lambda=0,1,2", "--pruner", "top-k"]),
        refused(&["--grid", "penalty.0.lambda=1", "--pruner", "halving"]),
    ];
    insta::assert_snapshot!(messages.join("\n"));
    assert!(!sandbox.path("s").exists());
    for (set, problem) in [
        ("sweep.folds=1", "`sweep.folds` is 1"),
        ("sweep.grid=[\"penalty.0.lambda=-1,1\"]", "`penalty.0.lambda` is -1"),
        ("sweep.grid=[\"foo.bar=1,2\"]", "unknown key `foo"),
    ] {
        for more in [&["--config-only"][..], &[]] {
            let check = sandbox.run(&[&["check", "small.toml", "--set", set], more].concat());
            assert!(check.code() == 2 && check.stderr().contains(problem), "{set} {more:?}: {} {}", check.code(), check.stderr());
        }
    }
    sandbox.ok(&["check", "small.toml", "--config-only", "--set", "sweep.grid=[\"penalty.0.lambda=0,1\"]", "--set", "sweep.folds=2"]);
}

#[test]
fn curvature_is_computed_beside_validation_losses_and_does_not_change_them() {
    let sandbox = Sandbox::new();
    let sweep = |name: &str, more: &[&str]| {
        let grid = ["--set", "model={kind=\"linear\"}", "--grid", "penalty.0.lambda=0,1,10", "--no-report"];
        sandbox.ok(&[&["sweep", "small.toml", "--sweep-dir", name], grid.as_slice(), more].concat());
    };
    sweep("without", &[]);
    sweep("with", &["--curvature"]);
    sweep("evidence", &["--criterion", "evidence", "--set", "data.validation=0"]);
    let all = |name: &str, key: &str| -> Vec<Value> {
        study(&sandbox, name)["trials"].as_array().unwrap().iter().map(|trial| trial[key].clone()).collect()
    };
    assert_eq!(all("with", "mean"), all("without", "mean"));
    for key in ["evidence", "leave_one_out_loss", "gamma"] {
        let values = all("with", key);
        // Without a penalty there is none.
        assert!(values[0].is_null() && values[1..].iter().all(Value::is_f64), "{key}: {values:?}");
        assert!(all("without", key).iter().all(Value::is_null));
    }
    assert_eq!(all("evidence", "evidence"), all("evidence", "mean"));
    let header = fs::read_to_string(sandbox.path("with/trials.csv")).unwrap();
    assert!(header.contains("log_evidence,gamma,leave_one_out_loss,unreliable,validation_loss"), "{header}");
}

#[test]
fn halving_trains_the_best_further_to_the_same_bits() {
    let sandbox = Sandbox::new();
    let arguments = |dir: &'static str, jobs: &'static str, pruner: &'static str| {
        let grid = "penalty.0.lambda=0,1,10,100,1000,10000";
        [
            "sweep",
            "small.toml",
            "--set",
            "sweep.pruner_epochs=1",
            "--set",
            "train.epochs=5",
            "--grid",
            grid,
            "--seeds",
            "2",
            "--pruner",
            pruner,
            "--jobs",
            jobs,
            "--sweep-dir",
            dir,
        ]
    };
    sandbox.ok(&arguments("whole", "2", "none"));
    let printed = sandbox.ok(&arguments("one", "1", "halving"));
    assert!(printed.stdout().contains("pruned") && printed.stdout().contains("epochs"), "{}", printed.stdout());
    assert!(
        printed.stderr().contains("`halving` can end the trial that would have won: with its defaults in 29 of 100 sweeps"),
        "{}",
        printed.stderr()
    );
    sandbox.ok(&arguments("three", "3", "halving"));
    assert_eq!(study(&sandbox, "one"), study(&sandbox, "three"));
    // 6 trials for 1 epoch, 2 for 3, 1 to the end.
    let epochs = |fits: &[(String, Value)]| {
        let mut epochs: Vec<u64> = fits.iter().map(|(_, fit)| fit["epochs"].as_u64().unwrap()).collect();
        epochs.sort_unstable();
        epochs
    };
    let (whole, pruned) = (fits(&sandbox, "whole"), fits(&sandbox, "one"));
    assert_eq!(epochs(&pruned), [1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 5, 5]);
    for ((name, fit), (_, reference)) in pruned.iter().zip(&whole) {
        let curve = fit["curve"].as_array().unwrap();
        assert_eq!(curve[..], reference["curve"].as_array().unwrap()[..curve.len()], "{name}");
        assert_eq!(fit["state"], if curve.len() == 5 { "completed" } else { "pruned" });
    }
    // By hand: the two trials with the lowest sum of losses after the first epoch, and the better of them after the third.
    let loss = |trial: usize, epoch: usize| (0..2).map(|seed| whole[2 * trial + seed].1["curve"][epoch - 1].as_f64().unwrap()).sum::<f64>();
    let mut order: Vec<usize> = (0..6).collect();
    order.sort_by(|one, other| loss(*one, 1).total_cmp(&loss(*other, 1)));
    let best = if loss(order[0], 3) <= loss(order[1], 3) { order[0] } else { order[1] };
    assert_eq!(study(&sandbox, "one")["chosen"], best);
    sandbox.ok(&arguments("top", "2", "top-k"));
    assert_eq!(epochs(&fits(&sandbox, "top")), [1, 1, 1, 1, 1, 1, 5, 5, 5, 5, 5, 5]);
}

#[test]
fn tpe_chooses_the_same_trials_whatever_runs_at_once() {
    let sandbox = Sandbox::new();
    let sweep = |dir: &str, jobs: &str| {
        let base = ["sweep", "small.toml", "--set", "train.epochs=1", "--tpe", "15", "--sweep-dir", dir, "--jobs", jobs];
        let space = ["--grid", "penalty.0.lambda=log:0.01:1000", "--grid", "train.batch_size=linear:4:40"];
        sandbox.ok(&[base.as_slice(), &space].concat());
        (study(&sandbox, dir), sandbox.json(&format!("{dir}/sweep.json"))["trials"].clone())
    };
    let (one, trials) = sweep("one", "1");
    assert_eq!((one, trials.clone()), sweep("three", "3"));
    let trials = trials.as_array().unwrap();
    assert_eq!(trials.len(), 15);
    let batches: Vec<u64> = trials.iter().map(|trial| trial[1][1].as_u64().unwrap()).collect();
    assert!(batches.iter().all(|size| (4..=40).contains(size)) && batches.iter().any(|size| *size != batches[0]), "{batches:?}");
    // The first ten are those of random search; the others are not.
    let base = ["sweep", "small.toml", "--set", "train.epochs=1", "--random", "15", "--sweep-dir", "random"];
    sandbox.ok(&[base.as_slice(), &["--grid", "penalty.0.lambda=log:0.01:1000", "--grid", "train.batch_size=linear:4:40"]].concat());
    let random = sandbox.json("random/sweep.json")["trials"].clone();
    assert_eq!(random.as_array().unwrap()[..10], trials[..10]);
    assert_ne!(random.as_array().unwrap()[10..], trials[10..]);
}

#[test]
fn repeats_are_other_splits_and_their_error_is_corrected() {
    let sandbox = Sandbox::new();
    let base = ["sweep", "small.toml", "--grid", "penalty.0.lambda=0,1000", "--sweep-dir"];
    sandbox.ok(&[base.as_slice(), &["folds", "--folds", "3", "--repeats", "2"]].concat());
    let all = fits(&sandbox, "folds");
    assert_eq!(all.len(), 12);
    let found = study(&sandbox, "folds");
    let loss = |trial: usize, split: usize| all[6 * trial + split].1["validation_loss"].as_f64().unwrap();
    assert!(loss(0, 0).to_bits() != loss(0, 3).to_bits(), "the folds of the second repeat are others");
    let (best, other) = if found["minimum"] == 0 { (0, 1) } else { (1, 0) };
    let differences: Vec<f64> = (0..6).map(|split| loss(other, split) - loss(best, split)).collect();
    let mean = differences.iter().sum::<f64>() / 6.0;
    let deviation = (differences.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 5.0).sqrt();
    let error = found["trials"][other]["standard_error"].as_f64().unwrap();
    assert!((error - deviation * (1.0_f64 / 6.0 + 0.5).sqrt()).abs() < 1e-12);
    // Hold-out: the ratio of validation to training samples.
    sandbox.ok(&[base.as_slice(), &["hold-out", "--repeats", "3"]].concat());
    let all = fits(&sandbox, "hold-out");
    let found = study(&sandbox, "hold-out");
    let (validation, train) = (all[0].1["validation_samples"].as_f64().unwrap(), all[0].1["train_samples"].as_f64().unwrap());
    let naive = found["trials"][other]["naive_standard_error"].as_f64().unwrap();
    let ratio = found["trials"][other]["standard_error"].as_f64().unwrap() / naive;
    assert!((ratio - (1.0 + 3.0 * validation / train).sqrt()).abs() < 1e-9, "{ratio}");
    // Shared splits give the same trial the same loss; splits of its own do not.
    let twice = ["sweep", "small.toml", "--grid", "optimizer.clip_norm=1e8,1e9", "--sweep-dir"];
    let losses =
        |dir: &str| fits(&sandbox, dir).iter().map(|(_, fit)| fit["validation_loss"].as_f64().unwrap().to_bits()).collect::<Vec<_>>();
    sandbox.ok(&[twice.as_slice(), &["shared"]].concat());
    sandbox.ok(&[twice.as_slice(), &["own", "--reshuffle"]].concat());
    let (shared, own) = (losses("shared"), losses("own"));
    assert!(shared[0] == shared[1] && own[0] == shared[0] && own[0] != own[1], "{shared:?} {own:?}");
}

#[test]
fn tables_for_other_programs() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["sweep", "small.toml", "--grid", "penalty.0.lambda=0,3", "--folds", "2", "--sweep-dir", "s"]);
    let printed = |format: &str| sandbox.ok(&["resume", "s", "--format", format]).stdout();
    let (markdown, latex, csv) = (printed("markdown"), printed("latex"), printed("csv"));
    let found = study(&sandbox, "s");
    let mean = found["trials"][1]["mean"].as_f64().unwrap();
    assert!(
        markdown.starts_with("| penalty.0.lambda | validation loss |") && markdown.contains(&format!("| 3 | {mean:.4} |")),
        "{markdown}"
    );
    assert!(
        latex.starts_with("\\begin{tabular}{lrr") && latex.contains(&format!("3 & {mean:.4} &")) && latex.ends_with("\\end{tabular}\n"),
        "{latex}"
    );
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let record = reader.records().nth(1).unwrap().unwrap();
    assert_eq!(record[1].parse::<f64>().unwrap().to_bits(), mean.to_bits());
    assert!(csv.lines().count() == 3, "{csv}");
}

#[test]
fn the_choice_at_an_end_of_the_values_is_a_warning_and_moved_data_are_found() {
    let sandbox = Sandbox::new();
    let ran = sandbox.ok(&["sweep", "small.toml", "--grid", "penalty.0.lambda=1000,10000", "--sweep-dir", "s"]);
    assert!(ran.stderr().contains("penalty.0.lambda=1000 is at the smallest end of the values"), "{}", ran.stderr());
    let damaged = sandbox.path("s/fits").read_dir().unwrap().next().unwrap().unwrap().path();
    fs::write(&damaged, "{}").unwrap();
    let refused = sandbox.run(&["resume", "s"]);
    assert!(refused.code() == 3 && refused.stderr().contains("remove it to repeat this training"), "{}", refused.stderr());
    fs::remove_file(damaged).unwrap();
    sandbox.ok(&["resume", "s"]);
}
