//! Determinism: the same config gives the same bits on any number of threads, interrupted or not.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Sandbox, cpu_backends};

/// Arguments of a run that is long enough to be interrupted and uses everything with a state or randomness: dropout, shuffling, all schedules of λ, a
/// proximal step with Adam's moments, augmentation, mixup and averaging.
fn training<'a>(backend: &'a str, run: &'a str) -> Vec<&'a str> {
    let sets = [
        backend,
        "checkpoint.every_steps=5",
        "train.epochs=20",
        "penalty.0.schedule.kind=cosine",
        "penalty.0.scope=conv1.weight",
        "optimizer.sam_rho=0.02",
        "augment={crop_scale=0.5, rotation=5.0, shift=1, border=\"reflect\", flip=\"horizontal\", brightness=0.2, contrast=0.2, cutout=4, mixup=0.2}",
        "averaging.kind=ema",
        "penalty.1.kind=group_lasso",
        "penalty.1.lambda=0.3",
        "penalty.1.scope=dense*.weight",
        "penalty.1.proximal=true",
        "penalty.2={kind=\"l2\", lambda=1, scope=\"conv2.weight\", schedule={kind=\"evidence\", burn_in_epochs=2, every_epochs=3}}",
        "penalty.3={kind=\"l2\", lambda=1, scope=\"dense2.*\", schedule={kind=\"evidence\", structure=\"diagonal\", burn_in_epochs=2}}",
        "penalty.4={kind=\"l2\", scope=\"dense1.weight\", schedule={kind=\"adaptive\"}}",
        "penalty.5={kind=\"decoupled\", schedule={kind=\"cpr\", warm_start_steps=20, multiplier_rate=100, bound_factor=0.9}}",
    ];
    ["train", "small.toml", "--run-dir", run].into_iter().chain(sets.into_iter().flat_map(|set| ["--set", set])).collect()
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for backend in cpu_backends() {
        let sandbox = Sandbox::new();
        let kind = format!("backend.kind={backend}");
        for (run, threads) in [("one", "backend.threads=1"), ("two", "backend.threads=2"), ("five", "backend.threads=5")] {
            sandbox.ok(&[training(&kind, run).as_slice(), &["--set", threads]].concat());
        }
        let expected = sandbox.results("one");
        assert_eq!(expected.len(), 4 + 40 + 1);
        assert!(sandbox.results("two") == expected, "{backend}: 2 threads");
        assert!(sandbox.results("five") == expected, "{backend}: 5 threads");
    }
}

/// Arguments of a run with the convolutions of the reference network: 32 and 64 channels use kernels that fewer channels do not use.
fn reference<'a>(backend: &'a str, run: &'a str) -> Vec<&'a str> {
    let sets = [
        backend,
        "model.channels=[32, 64]",
        "checkpoint.every_steps=3",
        "train.epochs=12",
        "optimizer.sam_rho=0.02",
        "augment.mixup=0.2",
        "averaging.kind=ema",
        "penalty.0.schedule.kind=cosine",
    ];
    ["train", "small.toml", "--run-dir", run].into_iter().chain(sets.into_iter().flat_map(|set| ["--set", set])).collect()
}

#[test]
fn the_number_of_threads_changes_no_bit_of_the_reference_network() {
    for backend in cpu_backends() {
        for path in regulus_kernels::simd::Path::all() {
            let sandbox = Sandbox::new();
            let kind = format!("backend.kind={backend}");
            for (run, threads) in [("one", "backend.threads=1"), ("two", "backend.threads=2"), ("three", "backend.threads=3")] {
                let arguments = [reference(&kind, run).as_slice(), &["--set", threads, "--set", "train.epochs=3"]].concat();
                let ran = sandbox.run_with(&[("REGULUS_SIMD", path.name)], &arguments);
                assert_eq!(ran.code(), 0, "{}", ran.stderr());
            }
            let expected = sandbox.results("one");
            assert_eq!(expected.len(), 4 + 6 + 1);
            assert!(sandbox.results("two") == expected, "{backend}, {}: 2 threads", path.name);
            assert!(sandbox.results("three") == expected, "{backend}, {}: 3 threads", path.name);
        }
    }
}

/// Arguments of a run of a network of layers, with batch normalization, a skip connection, strides, groups and every pool.
fn layers<'a>(backend: &'a str, run: &'a str) -> Vec<&'a str> {
    let model = r#"model={kind="layers", layers=[
        "conv 16 3x3 stride 2 padding 1 bias false", "batch_norm", "relu as stem",
        "conv 16 3x3 padding 1 groups 16 bias false", "batch_norm", "relu6", "conv 16 1x1", "batch_norm", "add stem", "relu",
        "max_pool 3 stride 2 padding 1", "conv 24 3x3", "gelu", "average_pool 2", "dropout 0.2", "global_average_pool",
        "dense 16", "batch_norm", "relu", "dense classes"]}"#;
    let sets = [
        backend,
        model,
        "checkpoint.every_steps=5",
        "train.epochs=20",
        "train.batch_size=20",
        "averaging.kind=ema",
        "augment={flip=\"alternating\", shift=1}",
    ];
    let unset = ["model.channels", "model.hidden", "model.dropout"];
    let arguments = unset.into_iter().flat_map(|key| ["--unset", key]).chain(sets.into_iter().flat_map(|set| ["--set", set]));
    ["train", "small.toml", "--run-dir", run].into_iter().chain(arguments).collect()
}

#[test]
fn the_number_of_threads_changes_no_bit_of_a_network_of_layers() {
    for backend in cpu_backends() {
        let mut all = Vec::new();
        for implementation in ["fused", "winograd2", "direct", "stock"] {
            let sandbox = Sandbox::new();
            let kind = format!("backend={{kind=\"{backend}\", kernels=\"{implementation}\"}}");
            let runs =
                [("one", "backend.threads=1"), ("two", "backend.threads=2"), ("three", "backend.threads=3"), ("five", "backend.threads=5")];
            for (run, threads) in runs {
                sandbox.ok(&[layers(&kind, run).as_slice(), &["--set", threads, "--set", "train.epochs=3"]].concat());
            }
            let expected = sandbox.results("one");
            for (run, threads) in &runs[1..] {
                assert!(sandbox.results(run) == expected, "{backend}, {implementation}: {threads}");
            }
            assert!(!all.contains(&expected), "{backend}: {implementation} has the bits of another implementation");
            all.push(expected);
        }
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_network_of_layers_ends_as_the_uninterrupted_one() {
    interrupted_and_whole(layers);
}

#[cfg(unix)]
#[test]
fn an_interrupted_network_resumes_with_the_kernels_of_its_config() {
    interrupted_and_whole(|backend, run| [layers(backend, run).as_slice(), &["--set", "backend.kernels=direct"]].concat());
}

#[cfg(unix)]
#[test]
fn an_interrupted_network_resumes_with_the_precision_of_its_config() {
    if crate::precision::is_available() {
        interrupted_and_whole(|backend, run| [layers(backend, run).as_slice(), &["--set", "backend.precision=bf16"]].concat());
    }
}

/// Waits until the run has a checkpoint of at least `steps` steps.
fn wait_for_step(sandbox: &Sandbox, run: &str, steps: u64, child: &mut Child) {
    let begun = Instant::now();
    loop {
        let position = std::fs::read(sandbox.path(run).join("checkpoints/last/position.json")).unwrap_or_default();
        let step = serde_json::from_slice::<serde_json::Value>(&position).ok().and_then(|position| position["step"].as_u64());
        if step.is_some_and(|step| step >= steps) {
            return;
        }
        assert!(child.try_wait().unwrap().is_none(), "the training ended before it could be interrupted");
        assert!(begun.elapsed() < Duration::from_mins(2), "no checkpoint of {steps} steps");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_ends_as_the_uninterrupted_one() {
    interrupted_and_whole(training);
}

#[cfg(unix)]
#[test]
fn an_interrupted_reference_network_ends_as_the_uninterrupted_one() {
    interrupted_and_whole(reference);
}

#[cfg(unix)]
fn interrupted_and_whole(training: for<'a> fn(&'a str, &'a str) -> Vec<&'a str>) {
    for backend in cpu_backends() {
        let sandbox = Sandbox::new();
        let kind = format!("backend.kind={backend}");
        sandbox.ok(&training(&kind, "whole"));
        let expected = sandbox.results("whole");
        for (run, first, second) in [("terminated", "-TERM", "-INT"), ("killed", "-KILL", "-KILL")] {
            let mut arguments = training(&kind, run);
            for (name, steps) in [(first, 15), (second, 40)] {
                let mut child = sandbox.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                wait_for_step(&sandbox, run, steps, &mut child);
                signal(&child, name);
                let code = child.wait().unwrap().code();
                assert_eq!(code, (name != "-KILL").then_some(75), "{name}");
                arguments = vec!["resume", run];
            }
            sandbox.ok(&["resume", run]);
            assert!(sandbox.results(run) == expected, "{backend}, {run}");
            let again = sandbox.ok(&["resume", run]);
            assert!(again.stderr().contains("had ended already"), "{}", again.stderr());
        }
    }
}

#[test]
fn a_damaged_checkpoint_is_replaced_by_the_previous_one() {
    let sandbox = Sandbox::new();
    let backend = format!("backend.kind={}", cpu_backends()[0]);
    sandbox.ok(&training(&backend, "whole"));
    let expected = sandbox.results("whole");
    sandbox.ok(&training(&backend, "run"));
    std::fs::remove_file(sandbox.path("run/summary.json")).unwrap();
    let weights = sandbox.path("run/checkpoints/last/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, &bytes).unwrap();

    let ran = sandbox.ok(&["resume", "run"]);
    let stderr = ran.stderr();
    assert!(
        stderr.contains("warning:") && stderr.contains("is damaged: its SHA-256") && stderr.contains("using the checkpoint before it"),
        "{stderr}"
    );
    assert!(sandbox.results("run") == expected);

    let whole = std::fs::read_to_string(sandbox.path("run/checkpoints/last.previous/position.json")).unwrap();
    assert!(whole.contains("\"step\""), "the complete checkpoint was kept, not the damaged one");
    let previous = sandbox.ok(&["evaluate", "run", "--checkpoint", "last"]);
    assert_eq!(previous.stderr(), "");

    for checkpoint in ["last", "last.previous"] {
        std::fs::write(sandbox.path("run/checkpoints").join(checkpoint).join("position.json"), "{}").unwrap();
    }
    let ran = sandbox.run(&["evaluate", "run", "--checkpoint", "last"]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("position.json` is damaged: its SHA-256"), "{}", ran.stderr());
}

#[test]
fn damaged_files_of_a_run_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--run-dir", "run"]);
    let change = |file: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(sandbox.path(file)).unwrap();
        assert!(text.contains(from), "{file}");
        std::fs::write(sandbox.path(file), text.replacen(from, to, 1)).unwrap();
        text
    };
    for (file, from, to, command) in [
        ("run/manifest.json", "\"0\"", "\"8\"", ["evaluate", "run"]),
        ("run/summary.json", "\"steps\": 39", "\"steps\": 38", ["resume", "run"]),
    ] {
        let text = change(file, from, to);
        let ran = sandbox.run(&command);
        assert_eq!(ran.code(), 3, "{file}");
        assert!(ran.stderr().contains("is damaged: its content does not match its `sha256`"), "{}", ran.stderr());
        std::fs::write(sandbox.path(file), text).unwrap();
    }
    std::fs::remove_file(sandbox.path("run/summary.json")).unwrap();
    let text = change("run/metrics.jsonl", "\"epoch\":1", "\"epoch\":7");
    let ran = sandbox.run(&["resume", "run"]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("metrics.jsonl` is damaged: its rows before the last checkpoint have changed"), "{}", ran.stderr());
    std::fs::write(sandbox.path("run/metrics.jsonl"), text + "{\"half\":").unwrap();
    sandbox.ok(&["resume", "run"]);
    let rows = std::fs::read_to_string(sandbox.path("run/metrics.jsonl")).unwrap();
    assert!(rows.lines().count() == 6 && !rows.contains("half"), "rows after the checkpoint are removed");
}

#[test]
fn an_interrupted_start_can_be_repeated() {
    let sandbox = Sandbox::new();
    for left in ["run/lock", "run/config.toml", "run/.config.toml.123", "run/.manifest.json.123"] {
        sandbox.write(left, "half");
    }
    sandbox.ok(&["train", "small.toml", "--run-dir", "run", "--set", "train.epochs=1"]);
    // Without a lock the folder is not a run folder: the config may be a file of the user.
    let own = sandbox.write("own/config.toml", crate::support::SMALL);
    let ran = sandbox.run(&["train", "own/config.toml", "--run-dir", "own"]);
    assert_eq!(ran.code(), 2);
    assert_eq!(std::fs::read_to_string(own).unwrap(), crate::support::SMALL);
}

#[test]
fn a_run_without_a_checkpoint_starts_again() {
    let sandbox = Sandbox::new();
    let backend = format!("backend.kind={}", cpu_backends()[0]);
    sandbox.ok(&training(&backend, "run"));
    let expected = sandbox.results("run");
    std::fs::remove_dir_all(sandbox.path("run/checkpoints")).unwrap();
    std::fs::remove_file(sandbox.path("run/summary.json")).unwrap();
    let ran = sandbox.run(&["evaluate", "run"]);
    assert_eq!(ran.code(), 2);
    assert!(ran.stderr().contains("has no checkpoint `last`; it ended or was cut off before the first"), "{}", ran.stderr());
    let resumed = sandbox.ok(&["resume", "run"]);
    assert!(resumed.stderr().contains("there is no checkpoint yet: the run begins anew"), "{}", resumed.stderr());
    assert!(sandbox.results("run") == expected);
}

#[test]
fn a_resolved_config_replays_its_run() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--run-dir", "a"]);
    sandbox.ok(&["train", "a/config.toml", "--run-dir", "b"]);
    assert!(sandbox.results("a") == sandbox.results("b"));
    sandbox.ok(&["train", "a/config.toml", "--run-dir", "c", "--set", "seed=4"]);
    assert!(sandbox.results("a") != sandbox.results("c"));
}

#[cfg(unix)]
#[test]
fn a_run_in_use_is_locked() {
    let sandbox = Sandbox::new();
    let backend = format!("backend.kind={}", cpu_backends()[0]);
    let arguments = [training(&backend, "run").as_slice(), &["--set", "train.epochs=500"]].concat();
    let mut child = sandbox.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_step(&sandbox, "run", 5, &mut child);
    let ran = sandbox.run(&["resume", "run"]);
    assert_eq!(ran.code(), 2);
    assert!(ran.stderr().contains("is in use by another process"), "{}", ran.stderr());
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(75));
}

#[test]
fn a_run_of_version_0_1_0_resumes_with_stock_operations() {
    let sandbox = Sandbox::new();
    let backend = format!("backend.kind={}", cpu_backends()[0]);
    let short = ["--set", "train.epochs=3", "--set", "backend.kernels=stock"];
    for run in ["whole", "old"] {
        sandbox.ok(&[training(&backend, run).as_slice(), &short].concat());
    }
    let without = |text: &str| {
        text.lines().filter(|line| !line.contains("kernels = \"stock\"") && !line.contains("padding")).collect::<Vec<_>>().join("\n")
    };
    let config = without(&std::fs::read_to_string(sandbox.path("old/config.toml")).unwrap());
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(sandbox.path("old/manifest.json")).unwrap()).unwrap();
    for key in ["kernels", "sha256"] {
        manifest.as_object_mut().unwrap().remove(key).unwrap();
    }
    manifest.as_object_mut().unwrap().remove("graph").unwrap();
    let input = serde_json::json!({ "channels": 1, "height": 28, "width": 28 });
    manifest["architecture"] = serde_json::json!({
        "kind": "cnn", "input": input, "channels": [4, 6], "kernel_size": 3, "hidden": 16, "classes": 10
    });
    manifest["config_sha256"] = regulus::checksum::sha256(config.as_bytes()).into();
    sandbox.write("old/config.toml", config);
    sandbox.write("old/manifest.json", manifest.to_string());
    sandbox.ok(&["evaluate", "old"]);

    std::fs::remove_dir_all(sandbox.path("old/checkpoints")).unwrap();
    std::fs::remove_file(sandbox.path("old/summary.json")).unwrap();
    sandbox.ok(&["resume", "old"]);
    assert!(sandbox.results("old") == sandbox.results("whole"));
}
