//! Extension of a run to more epochs.

use serde_json::Value;

use crate::support::Sandbox;

fn train(sandbox: &Sandbox, run: &str, sets: &[&str]) {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    sandbox.ok(&["train", "small.toml", "--run-dir", run].into_iter().chain(sets).collect::<Vec<_>>());
}

#[test]
fn an_extended_run_equals_a_run_that_was_longer_from_the_start() {
    let sandbox = Sandbox::new();
    let all = ["penalty.1={kind=\"l2\", lambda=1, scope=\"biases\", schedule={kind=\"evidence\", burn_in_epochs=2}}", "averaging.kind=ema"];
    train(&sandbox, "long", &[all.as_slice(), &["train.epochs=7"]].concat());
    train(&sandbox, "short", &all);
    sandbox.ok(&["resume", "short", "--epochs", "5"]);
    let stderr = sandbox.ok(&["resume", "short", "--epochs", "7"]).stderr();
    assert!(stderr.contains("training on from epoch 5 to epoch 7"), "{stderr}");
    assert!(sandbox.results("short") == sandbox.results("long"));
    let config = |run: &str| std::fs::read_to_string(sandbox.path(run).join("config.toml")).unwrap();
    assert_eq!(config("short"), config("long"));
    let extended = sandbox.json("short/manifest.json")["extended"].clone();
    let epochs: Vec<[Option<u64>; 2]> =
        extended.as_array().unwrap().iter().map(|one| ["from_epoch", "to_epoch"].map(|key| one[key].as_u64())).collect();
    assert_eq!(epochs, [[Some(3), Some(5)], [Some(5), Some(7)]]);
    for command in [["evaluate", "short"], ["export", "short"], ["resume", "short"]] {
        sandbox.ok(&command);
    }
    sandbox.ok(&["train", "short/config.toml", "--run-dir", "replayed"]);
    assert!(sandbox.results("replayed") == sandbox.results("long"));
}

#[test]
fn the_new_end_of_a_schedule_is_reported() {
    let sandbox = Sandbox::new();
    train(&sandbox, "r", &["schedule.kind=linear", "schedule.final_fraction=0.5", "penalty.0.schedule.kind=cosine"]);
    let stderr = sandbox.ok(&["resume", "r", "--epochs", "4"]).stderr();
    // The factor of step 40 of 52 is 1 − 0.5·39/51, that of the cosine ½·(1 + cos(π·39/51)) of λ = 0.5.
    let expected = "the linear schedule of the learning rate ends at step 52 now, not 39: it goes on from 0.0006176 at step 40 (it was 0.0005 at step 39) \
                    and falls to 0.0005 at the end";
    assert!(stderr.contains(expected), "{stderr}");
    assert!(stderr.contains("the cosine schedule of λ (l2 on kernels) ends at step 52 now, not 39: it goes on from 0.06525 "), "{stderr}");
    let text = std::fs::read_to_string(sandbox.path("r/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&last["epoch"], &last["learning_rate"]), (&4.into(), &5e-4.into()));
}

#[test]
fn early_stopping_counts_again_from_0() {
    let sandbox = Sandbox::new();
    let sets = ["early_stopping.patience=2", "train.epochs=60", "optimizer.learning_rate=0.03", "model.dropout=0"];
    train(&sandbox, "r", &sets);
    let before = sandbox.json("r/summary.json");
    assert_eq!(before["status"], "early_stopped");
    let epochs = before["epochs"].as_u64().unwrap();
    let stderr = sandbox.ok(&["resume", "r", "--epochs", "60"]).stderr();
    assert!(stderr.contains("early stopping counts again from 0: it stops after 2 epochs without a better validation loss"), "{stderr}");
    let after = sandbox.json("r/summary.json");
    assert!(after["epochs"].as_u64().unwrap() >= epochs + 2, "{after}");

    // A run that was interrupted before the first epoch of the extension also continues.
    train(&sandbox, "cut", &sets);
    let manifest = sandbox.path("cut/manifest.json");
    let mut value: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    value.as_object_mut().unwrap().remove("sha256");
    let sha256 = regulus::checksum::sha256(&std::fs::read(sandbox.path("cut/config.toml")).unwrap());
    value["extended"] =
        serde_json::json!([{ "from_epoch": epochs, "to_epoch": 60, "when": "2026-01-01T00:00:00Z", "config_sha256": sha256 }]);
    std::fs::write(&manifest, value.to_string()).unwrap();
    std::fs::remove_file(sandbox.path("cut/summary.json")).unwrap();
    sandbox.ok(&["resume", "cut"]);
    assert!(sandbox.results("cut") == sandbox.results("r"));
}

#[test]
fn an_interrupted_extension_leaves_a_valid_run() {
    let sandbox = Sandbox::new();
    for run in ["whole", "cut"] {
        train(&sandbox, run, &[]);
    }
    let expected = sandbox.results("cut");
    let old = std::fs::read(sandbox.path("cut/config.toml")).unwrap();
    sandbox.ok(&["resume", "cut", "--epochs", "4"]);
    let longer = sandbox.results("cut");
    // The manifest has the extension, the config does not.
    std::fs::remove_dir_all(sandbox.path("cut/checkpoints")).unwrap();
    let copied = std::process::Command::new("cp").arg("-r").args(["whole/checkpoints", "cut/"]).current_dir(sandbox.path("")).status();
    assert!(copied.unwrap().success());
    std::fs::copy(sandbox.path("whole/metrics.jsonl"), sandbox.path("cut/metrics.jsonl")).unwrap();
    std::fs::remove_file(sandbox.path("cut/summary.json")).unwrap();
    std::fs::write(sandbox.path("cut/config.toml"), old).unwrap();
    sandbox.ok(&["evaluate", "cut"]);
    sandbox.ok(&["resume", "cut"]);
    assert!(sandbox.results("cut") == expected);
    sandbox.ok(&["resume", "cut", "--epochs", "4"]);
    assert!(sandbox.results("cut") == longer);
}

#[test]
fn runs_that_cannot_be_extended_are_refused() {
    let sandbox = Sandbox::new();
    train(&sandbox, "done", &[]);
    train(&sandbox, "limited", &["train.max_steps=15"]);
    let diverging = ["train", "small.toml", "--run-dir", "diverged", "--set", "optimizer.kind=sgd", "--set", "optimizer.learning_rate=1e6"];
    assert_eq!(sandbox.run(&diverging).code(), 4);
    let refusals = [
        ("done", "3", "run `done` can't be trained on to 3 epochs: it has done 3 already; give a larger number"),
        ("limited", "9", "can't be trained on to 9 epochs: its `train.max_steps` is 15, which ends it earlier; train a new run without it"),
        ("diverged", "9", "diverged and would diverge again"),
        ("done", "0", "invalid value '0' for '--epochs <N>'"),
    ];
    for (run, epochs, expected) in refusals {
        let ran = sandbox.run(&["resume", run, "--epochs", epochs]);
        assert_eq!(ran.code(), 2, "{run}");
        assert!(ran.stderr().contains(expected), "{}", ran.stderr());
    }
    assert_eq!(sandbox.json("done/summary.json")["status"], "completed", "a refused command changes nothing");
    std::fs::remove_dir_all(sandbox.path("done/checkpoints")).unwrap();
    let ran = sandbox.run(&["resume", "done", "--epochs", "100"]);
    assert_eq!(ran.code(), 2);
    assert!(ran.stderr().contains("has no checkpoint `last`") && sandbox.path("done/summary.json").exists(), "{}", ran.stderr());
}
