//! Interruption of long phases between training steps: they end soon, and nothing is lost.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Sandbox, cpu_backends};

/// The limit for the end of a phase. On an idle machine it takes a fraction of a second; the phases take several seconds.
const SOON: Duration = Duration::from_secs(3);

/// Runs the program and interrupts it `after` the output of `word`. Returns the time until it ended.
fn interrupt(sandbox: &Sandbox, arguments: &[&str], word: &str, after: Duration) -> Duration {
    let mut child = sandbox.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(word)), "it never printed {word:?}");
    std::thread::sleep(after);
    let begun = Instant::now();
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(75));
    begun.elapsed()
}

fn position(sandbox: &Sandbox, run: &str) -> [u64; 3] {
    let position = sandbox.json(&format!("{run}/checkpoints/last/position.json"));
    ["epoch", "batch", "step"].map(|key| position[key].as_u64().unwrap())
}

#[test]
fn an_interrupted_update_of_lambda_ends_at_once_and_is_repeated() {
    let sandbox = Sandbox::new();
    let sets = [
        &format!("backend.kind={}", cpu_backends()[0]),
        "data.train_limit=3000",
        "model={channels=[32, 64], hidden=128, dropout=0.2}",
        // The structure that takes longest, so that the update has not ended when it is interrupted.
        "penalty.0.schedule={kind=\"evidence\", burn_in_epochs=1, structure=\"kronecker\"}",
        "averaging={kind=\"swa\", from_epoch=1}",
        "train.epochs=2",
    ];
    let train = |run| ["train", "small.toml", "--run-dir", run].into_iter().chain(sets.into_iter().flat_map(|set| ["--set", set]));
    let lines = sandbox.ok(&train("whole").chain(["--json"]).collect::<Vec<_>>()).json();
    let phases: Vec<&Value> = lines.iter().filter(|line| line["event"] == "progress" && !line["phase"].is_null()).collect();
    assert!(phases.iter().any(|line| line["phase"] == "curvature of the loss" && line["seconds_left"].is_number()), "{phases:?}");
    let took = interrupt(&sandbox, &train("cut").collect::<Vec<_>>(), "updating λ", Duration::from_millis(500));
    assert!(took < SOON, "{took:?}");
    assert_eq!(position(&sandbox, "cut"), [0, 150, 150], "all steps of the epoch are saved, its end is not");
    assert!(std::fs::read_to_string(sandbox.path("cut/metrics.jsonl")).is_err(), "no epoch is reported before its end");
    sandbox.ok(&["resume", "cut"]);
    assert!(sandbox.results("cut") == sandbox.results("whole"));
}

#[test]
fn an_interrupted_final_measurement_ends_at_once_and_is_repeated() {
    let sandbox = Sandbox::new();
    let sets = [
        &format!("backend.kind={}", cpu_backends()[0]),
        "backend.kernels=stock",
        "data.train_limit=0",
        "data.validation=0",
        "model={channels=[64, 128], padding=\"same\"}",
        "train.max_steps=1",
    ];
    let train = |run| ["train", "small.toml", "--run-dir", run].into_iter().chain(sets.into_iter().flat_map(|set| ["--set", set]));
    sandbox.ok(&train("whole").collect::<Vec<_>>());
    let took = interrupt(&sandbox, &train("cut").collect::<Vec<_>>(), "measuring the network", Duration::from_millis(100));
    assert!(took < SOON, "{took:?}");
    assert_eq!(sandbox.json("cut/summary.json")["status"], "interrupted");
    assert_eq!(position(&sandbox, "cut"), [1, 0, 1]);
    sandbox.ok(&["resume", "cut"]);
    assert!(sandbox.results("cut") == sandbox.results("whole"));
}

#[test]
fn an_interrupted_step_of_many_micro_batches_is_repeated() {
    let sandbox = Sandbox::new();
    let sets = [
        &format!("backend.kind={}", cpu_backends()[0]),
        "backend.kernels=stock",
        "data.train_limit=0",
        "model={channels=[32, 64], hidden=128, dropout=0.2}",
        "train={epochs=2, batch_size=\"full\", micro_batch=50}",
        "optimizer.kind=sgd",
    ];
    let train = |run| ["train", "small.toml", "--run-dir", run].into_iter().chain(sets.into_iter().flat_map(|set| ["--set", set]));
    sandbox.ok(&train("whole").collect::<Vec<_>>());
    let took = interrupt(&sandbox, &train("cut").collect::<Vec<_>>(), "epoch 1/2", Duration::from_millis(300));
    assert!(took < SOON, "{took:?}");
    // On a slow machine the signal arrives in the first epoch's validation, after its only step.
    let position = position(&sandbox, "cut");
    assert!(position == [1, 0, 1] || position == [0, 1, 1], "{position:?}");
    sandbox.ok(&["resume", "cut"]);
    assert!(sandbox.results("cut") == sandbox.results("whole"));
}
