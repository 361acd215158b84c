//! Data augmentation and test-time augmentation, from the config to predictions.

use std::fs;

use regulus_model::infer::{Predictor, probabilities};
use regulus_model::{Artifact, Task};
use serde_json::Value;

use crate::support::{Sandbox, cpu_backends};

/// A grey image with a bright left half, and its mirror image.
fn halves() -> [Vec<u8>; 2] {
    [0, 14].map(|first| (0..784).map(|at| if (first..first + 14).contains(&(at % 28)) { 230 } else { 20 }).collect())
}

#[test]
fn test_time_flips_and_shifts_are_the_same_in_training_evaluation_prediction_and_exports() {
    for (backend, kernels) in cpu_backends().into_iter().flat_map(|backend| ["fused", "stock"].map(|kernels| (backend, kernels))) {
        let sandbox = Sandbox::new();
        let backend = format!("backend={{kind=\"{backend}\", kernels=\"{kernels}\"}}");
        for (run, views) in
            [("plain", "augment.test_flip=false"), ("flipping", "augment.test_flip=true"), ("shifting", "augment.test_shift=2")]
        {
            sandbox.ok(&["train", "small.toml", "--run-dir", run, "--set", &backend, "--set", views, "--set", "train.keep=last"]);
        }
        // Training itself is the same.
        let weights = |run: &str| fs::read(sandbox.path(&format!("{run}/checkpoints/last/model.safetensors"))).unwrap();
        assert!(weights("plain") == weights("flipping") && weights("plain") == weights("shifting"));
        assert_eq!(
            (sandbox.json("plain/manifest.json").get("test_flip"), &sandbox.json("flipping/manifest.json")["test_flip"]),
            (None, &true.into())
        );
        assert_eq!(
            (sandbox.json("plain/manifest.json").get("test_shift"), &sandbox.json("shifting/manifest.json")["test_shift"]),
            (None, &2.into())
        );
        let validation = |run: &str| {
            let rows = fs::read_to_string(sandbox.path(run).join("metrics.jsonl")).unwrap();
            let last: Value = serde_json::from_str(rows.lines().last().unwrap()).unwrap();
            assert_eq!(last["split"], "validation");
            last["data_loss"].as_f64().unwrap()
        };
        assert!(["flipping", "shifting"].iter().all(|run| (validation("plain") - validation(run)).abs() > 1e-4));

        // The summary, the rows and `evaluate` have the same figures.
        let summary = sandbox.json("flipping/summary.json");
        for split in ["train", "validation", "test"] {
            let measured = &sandbox.ok(&["evaluate", "flipping", "--split", split, "--json"]).json()[0];
            for key in ["data_loss", "accuracy"] {
                assert_eq!(measured[key], summary[split][key], "{split} {key}");
            }
        }
        assert_eq!(summary["validation"]["data_loss"].as_f64(), Some(validation("flipping")));

        // Predictions of the run, of its export and without Burn.
        sandbox.ok(&["export", "flipping", "--output", "flipping.safetensors"]);
        let images = halves();
        for (name, image) in ["left.png", "right.png"].into_iter().zip(&images) {
            image::GrayImage::from_raw(28, 28, image.clone()).unwrap().save(sandbox.path(name)).unwrap();
        }
        let predict = |model: &str| {
            let lines = sandbox.ok(&["predict", model, "left.png", "right.png", "--top", "10", "--json"]).json();
            let of = |line: &Value| {
                let mut classes = [0.0; 10];
                for class in line["classes"].as_array().unwrap() {
                    classes[usize::try_from(class["label"].as_u64().unwrap()).unwrap()] = class["probability"].as_f64().unwrap();
                }
                classes
            };
            [of(&lines[0]), of(&lines[1])]
        };
        let close = |one: &[f64], other: &[f64]| {
            assert!(one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-6), "{one:?} is not {other:?}");
        };
        let [left, right] = predict("flipping");
        close(&left, &right);
        let plain = predict("plain");
        assert!(plain[0].iter().zip(&plain[1]).any(|(one, other)| (one - other).abs() > 1e-3), "{plain:?}");
        let of_file = predict("flipping.safetensors");
        close(&of_file[0], &left);
        let mut artifact = Artifact::open(&sandbox.path("flipping.safetensors")).unwrap();
        assert!(artifact.description.preprocessing.test_flip && artifact.description.task == Task::Classify);
        close(&Predictor::new(&artifact).unwrap().probabilities(&[&images[0]]).unwrap()[0], &left);
        artifact.description.preprocessing.test_flip = false;
        let logits = Predictor::new(&artifact).unwrap().logits(&[&images[0], &images[1]]).unwrap();
        let mean: Vec<f32> = logits[..10].iter().zip(&logits[10..]).map(|(one, other)| (one + other) / 2.0).collect();
        close(&probabilities(&mean), &left);

        sandbox.ok(&["export", "shifting", "--output", "shifting.safetensors"]);
        let [shifted, _] = predict("shifting");
        assert!(plain[0].iter().zip(&shifted).any(|(one, other)| (one - other).abs() > 1e-4), "{plain:?}");
        close(&predict("shifting.safetensors")[0], &shifted);
        let artifact = Artifact::open(&sandbox.path("shifting.safetensors")).unwrap();
        assert_eq!(artifact.description.preprocessing.test_shift, 2);
        close(&Predictor::new(&artifact).unwrap().probabilities(&[&images[0]]).unwrap()[0], &shifted);
    }
}
