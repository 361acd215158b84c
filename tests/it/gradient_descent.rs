//! Full-batch and stochastic gradient descent.

use crate::support::Sandbox;

fn weights(sandbox: &Sandbox, run: &str) -> Vec<f32> {
    let bytes = std::fs::read(sandbox.path(run).join("checkpoints/last/model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = file.names();
    names.sort_unstable();
    let data = names.into_iter().flat_map(|name| file.tensor(name).unwrap().data().to_vec());
    data.collect::<Vec<u8>>().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

#[test]
fn a_full_batch_in_micro_batches_gives_the_same_steps() {
    let sandbox = Sandbox::new();
    let common = ["train", "small.toml", "--set", "model.dropout=0", "--set", "train.batch_size=full", "--set", "optimizer.kind=sgd"];
    let more = ["--set", "optimizer.learning_rate=0.1", "--set", "optimizer.clip_norm=0.5"];
    for (run, micro) in [("whole", "1000"), ("micro", "50")] {
        let micro = format!("train.micro_batch={micro}");
        let own = ["--set", micro.as_str(), "--run-dir", run];
        sandbox.ok(&[common.as_slice(), &more, &own].concat());
    }
    let (whole, micro) = (weights(&sandbox, "whole"), weights(&sandbox, "micro"));
    let difference: f32 = whole.iter().zip(&micro).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference < 1e-6, "{difference}");
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(sandbox.path("micro/summary.json")).unwrap()).unwrap();
    assert_eq!(summary["steps"], 3, "one step per epoch");
}

#[test]
fn a_batch_of_one_takes_a_step_for_each_sample() {
    let sandbox = Sandbox::new();
    let ran = sandbox.ok(&["train", "small.toml", "--json", "--set", "train.batch_size=1", "--set", "train.epochs=1", "--run-dir", "r"]);
    assert_eq!(ran.json().last().unwrap()["summary"]["steps"], 193);
}

#[test]
fn every_optimizer_and_schedule_trains() {
    let sandbox = Sandbox::new();
    for (number, set) in [
        ["optimizer.kind=sgd", "schedule.kind=step"],
        ["optimizer.kind=adamw", "schedule.kind=cosine"],
        ["optimizer.kind=rmsprop", "schedule.kind=linear"],
        ["optimizer.kind=adam", "schedule.warmup_steps=5"],
        ["optimizer.kind=rmsprop", "optimizer.centered=true"],
        ["model.initializer=kaiming", "data.normalization=standard"],
    ]
    .into_iter()
    .enumerate()
    {
        let run = format!("r{number}");
        let ran = sandbox.ok(&["train", "small.toml", "--json", "--set", set[0], "--set", set[1], "--run-dir", &run]);
        let rows = ran.json();
        let losses: Vec<f64> = rows.iter().filter(|row| row["split"] == "train").map(|row| row["data_loss"].as_f64().unwrap()).collect();
        assert!(losses[2] < losses[0], "{set:?}: {losses:?}");
    }
}
