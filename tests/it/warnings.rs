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

#[test]
fn a_network_that_ends_in_relu_or_dropout_is_reported() {
    let sandbox = Sandbox::new();
    let layers = |last: &str| format!("model={{kind=\"layers\", layers=[\"flatten\", \"dense classes\", \"{last}\"]}}");
    for (last, expected) in [
        ("relu", "warning: the network ends in layer `relu1` (relu): logits below 0 become 0"),
        ("dropout 0.5", "warning: the network ends in layer `dropout1` (dropout): in training it sets logits to 0"),
    ] {
        for command in [["check", "small.toml"].as_slice(), &["train", "small.toml", "--run-dir", last]] {
            let ran = sandbox.ok(&[command, &["--set", &layers(last), "--set", "train.epochs=1"]].concat());
            assert!(ran.stderr().contains(expected), "{command:?}: {}", ran.stderr());
        }
    }
    let hidden = layers("relu\", \"dense classes");
    assert_eq!(sandbox.ok(&["check", "small.toml", "--set", &hidden]).stderr(), "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_network_that_does_not_fit_into_memory_is_reported_before_it_is_trained() {
    let sandbox = Sandbox::new();
    // 41 outputs and 2 gradients of 100,000 channels of 28×28 for 192 samples, 4 bytes each: 2.6 TB.
    let relus = ["\"relu\""; 40].join(", ");
    let wide = format!("model={{kind=\"layers\", layers=[\"conv 100000 1x1\", {relus}, \"global_average_pool\", \"dense classes\"]}}");
    let sets = [wide, "train.batch_size=full".to_owned()];
    let expected = "lower `train.batch_size` or `train.micro_batch`, or make layer `conv1` smaller";
    let ran = sandbox.ok(&["check", "small.toml", "--set", &sets[0], "--set", &sets[1]]);
    assert!(ran.stderr().contains("training needs at least 2.6 TB of memory, but this machine has "), "{}", ran.stderr());
    assert!(ran.stderr().contains(expected), "{}", ran.stderr());
    // A run is made with the same warning. It is not trained here.
    let experiment = regulus::config::Experiment::load(&sandbox.path("small.toml"), &sets).unwrap();
    let launch = regulus::launch::Launch::new(experiment, Some(&sandbox.path("run")), &|_, _| {}).unwrap();
    assert!(launch.warnings.iter().any(|warning| warning.ends_with(expected)), "{:?}", launch.warnings);
}
