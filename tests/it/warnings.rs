//! Warnings of training.

use serde_json::Value;

use crate::support::Sandbox;

fn warnings(value: &Value) -> Vec<String> {
    serde_json::from_value(value["warnings"].clone()).unwrap()
}

#[test]
fn weights_that_collapse_under_a_large_lambda_are_reported() {
    let sandbox = Sandbox::new();
    let sets = ["penalty.0.lambda=1e6", "optimizer.learning_rate=0.01", "train.epochs=8"];
    let train = |run, more: &[&'static str]| {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        sandbox.ok(&["train", "small.toml", "--run-dir", run].into_iter().chain(sets).chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let stderr = train("r", &[]).stderr();
    assert!(stderr.contains("warning: the penalized weights have collapsed: ‖w‖² is "), "{stderr}");
    assert!(
        stderr.contains("warning: accuracy on the validation split is ") && stderr.contains("no more than the share of its largest class"),
        "{stderr}"
    );
    assert!(stderr.contains(" and 4 more are never predicted on the validation split"), "{stderr}");
    let summary = sandbox.json("r/summary.json");
    assert_eq!(warnings(&summary).len(), 3);
    let json = train("j", &["--json"]);
    assert_eq!(json.stderr(), "", "with --json warnings are in its lines");
    assert_eq!(warnings(json.json().last().unwrap()), warnings(&summary));
}

#[test]
fn a_warm_up_longer_than_the_run_is_reported_at_its_start() {
    let sandbox = Sandbox::new();
    let set = ["--set", "schedule.warmup_steps=39"];
    let expected = "`schedule.warmup_steps` is 39, but the run has only 39 steps: the learning rate never reaches its full value";
    for command in ["train", "check"] {
        let ran = sandbox.ok(&[[command, "small.toml"], set].concat());
        assert!(ran.stderr().contains(expected), "{command}: {}", ran.stderr());
    }
    let lines = sandbox.ok(&[["train", "small.toml"].as_slice(), &set, &["--json"]].concat()).json();
    assert_eq!(warnings(&lines[0]), [expected]);
    let shorter = sandbox.ok(&["check", "small.toml", "--set", "schedule.warmup_steps=38"]);
    assert_eq!(shorter.stderr(), "");
}

#[test]
fn the_printed_summary_states_the_limit_that_ended_the_run() {
    let sandbox = Sandbox::new();
    let limited = sandbox.ok(&["train", "small.toml", "--run-dir", "r", "--set", "train.max_steps=15"]).stdout();
    assert!(limited.contains("2 epochs, 15 steps: ended by `train.max_steps`"), "{limited}");
    assert_eq!(sandbox.json("r/summary.json")["ended_by"], "max_steps");
    sandbox.ok(&["train", "small.toml", "--run-dir", "s", "--set", "train.max_steps=39"]);
    assert_eq!(sandbox.json("s/summary.json")["ended_by"], "epochs", "a limit that is not reached ends nothing");
}
