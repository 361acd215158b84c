//! The best and the last checkpoint, and the selection by `train.keep`.

use serde_json::Value;

use crate::support::Sandbox;

/// Arguments of a run whose validation loss rises before its end.
const RISES: [&str; 6] = ["--set", "train.epochs=14", "--set", "optimizer.learning_rate=0.03", "--set", "model.dropout=0"];

fn train(sandbox: &Sandbox, run: &str, sets: &[&str]) -> Value {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let arguments: Vec<&str> = ["train", "small.toml", "--run-dir", run].into_iter().chain(RISES).chain(sets).collect();
    sandbox.ok(&arguments);
    sandbox.json(&format!("{run}/summary.json"))
}

#[test]
fn the_summary_has_both_and_commands_use_the_selected_one() {
    let sandbox = Sandbox::new();
    let best = train(&sandbox, "best", &[]);
    let last = train(&sandbox, "last", &["train.keep=last"]);
    assert_eq!((&best["kept"], &last["kept"]), (&"best".into(), &"last".into()));
    assert_eq!((&best["best"], &best["last"]), (&last["best"], &last["last"]), "the selection changes no measure");
    assert!(best["best"]["epoch"].as_u64() < best["last"]["epoch"].as_u64(), "{best}");
    assert_eq!(best["best"]["epoch"], best["best_epoch"]);
    assert_eq!(best["last"]["epoch"], 14);
    for (run, summary) in [("best", &best), ("last", &last)] {
        let kept = &summary[run];
        for key in ["train", "validation", "test", "penalty", "weight_norm_squared", "zero_weights", "zero_channels", "lambdas"] {
            assert_eq!(summary[key], kept[key], "{run} {key}");
        }
        assert_eq!(summary["lambda"], 0.5);
        assert_eq!(sandbox.json(&format!("{run}/manifest.json"))["keep"], run);
        for (asked, which) in [(None, run), (Some("best"), "best"), (Some("last"), "last")] {
            let arguments = ["evaluate", run, "--split", "validation", "--json"].into_iter();
            let arguments: Vec<&str> = arguments.chain(asked.into_iter().flat_map(|asked| ["--checkpoint", asked])).collect();
            let evaluated = &sandbox.ok(&arguments).json()[0];
            assert_eq!((&evaluated["checkpoint"], &evaluated["epoch"]), (&which.into(), &summary[which]["epoch"]), "{run}, {asked:?}");
            assert_eq!(evaluated["data_loss"], summary[which]["validation"]["data_loss"]);
        }
    }
    let exported = |run: &str| {
        sandbox.ok(&["export", run]);
        std::fs::read(sandbox.path(run).join("model.safetensors")).unwrap()
    };
    assert!(exported("best") != exported("last"));
    let validation = |which: &str| best[which]["validation"]["data_loss"].as_f64().unwrap();
    assert!(validation("best") < validation("last"));
}

#[test]
fn the_printed_summary_shows_both_and_how_to_select_the_other() {
    let sandbox = Sandbox::new();
    let arguments: Vec<&str> = ["train", "small.toml", "--run-dir", "r", "--set", "train.keep=last"].into_iter().chain(RISES).collect();
    let stdout = sandbox.ok(&arguments).stdout();
    let best = sandbox.json("r/summary.json")["best_epoch"].clone();
    assert!(
        stdout.contains("best: data loss") && stdout.contains("last (kept): data loss") && stdout.contains("λ (l2 on kernels)"),
        "{stdout}"
    );
    let expected = format!(
        "`evaluate`, `predict` and `export` use the weights of epoch 14, the last; `--checkpoint best` selects those of epoch {best}, and `train.keep` = \"best\" makes them the default"
    );
    assert!(stdout.contains(&expected), "{stdout}");
    let without = sandbox.ok(&["train", "small.toml", "--run-dir", "w", "--set", "data.validation=0"]).stdout();
    assert!(without.contains("use the last weights"), "{without}");
    let summary = sandbox.json("w/summary.json");
    assert_eq!((&summary["kept"], &summary["best"], &summary["last"]), (&"last".into(), &Value::Null, &Value::Null));
}

#[test]
fn early_stopping_keeps_the_configured_checkpoint() {
    let sandbox = Sandbox::new();
    let summary = train(&sandbox, "r", &["early_stopping.patience=2", "train.keep=last", "train.epochs=60"]);
    assert_eq!(summary["status"], "early_stopped");
    let epochs = summary["epochs"].as_u64().unwrap();
    assert_eq!(summary["best_epoch"].as_u64(), Some(epochs - 2));
    assert_eq!(sandbox.ok(&["evaluate", "r", "--json"]).json()[0]["epoch"], epochs);
}

#[test]
fn best_without_a_validation_split_is_refused_before_anything_is_written() {
    let sandbox = Sandbox::new();
    for command in ["train", "check"] {
        let ran = sandbox.run(&[command, "small.toml", "--set", "train.keep=best", "--set", "data.validation=0"]);
        assert_eq!(ran.code(), 2);
        let stderr = ran.stderr();
        assert!(stderr.contains("`train.keep` is \"best\", which needs a validation split; set `data.validation`, or"), "{stderr}");
    }
    assert!(!sandbox.path("artifacts").exists());
}

#[test]
fn every_penalty_has_a_lambda_of_its_own() {
    let sandbox = Sandbox::new();
    let second = "penalty.1={kind=\"l1\", lambda=2, scope=\"conv*.weight\", schedule={kind=\"linear\"}}";
    let ran = sandbox.ok(&["train", "small.toml", "--run-dir", "r", "--json", "--set", second]);
    let lines = ran.json();
    assert_eq!(lines[0]["manifest"]["penalties"], serde_json::json!(["l2 on kernels", "l1 on conv*.weight"]));
    let rows: Vec<&Value> = lines.iter().filter(|line| line["split"] == "train").collect();
    // 13 steps in each of 3 epochs: the factor of the last of each is 1 − 12/38, 1 − 25/38 and 0.
    for (row, step) in rows.iter().zip([12.0, 25.0, 38.0]) {
        assert_eq!(row["lambda"], Value::Null, "λ of different penalties are not added");
        let lambdas: Vec<f64> = row["lambdas"].as_array().unwrap().iter().map(|lambda| lambda.as_f64().unwrap()).collect();
        assert!((lambdas[0] - 0.5).abs() < 1e-12 && (lambdas[1] - 2.0 * (1.0 - step / 38.0)).abs() < 1e-9, "{lambdas:?}");
    }
    let summary = sandbox.json("r/summary.json");
    assert_eq!((&summary["lambda"], summary["lambdas"].as_array().unwrap().len()), (&Value::Null, 2));
    let arguments = ["train", "small.toml", "--run-dir", "d", "--set", second, "--set", "optimizer.kind=sgd"];
    let diverged = sandbox.run(&[arguments.as_slice(), &["--set", "optimizer.learning_rate=1e6"]].concat());
    assert_eq!(diverged.code(), 4);
    assert!(diverged.stderr().contains("lambda 0.5 (l2 on kernels), "), "{}", diverged.stderr());
}

#[test]
fn updates_by_evidence_are_reported_for_each_penalty() {
    let sandbox = Sandbox::new();
    let schedule = "schedule={kind=\"evidence\", burn_in_epochs=1, every_epochs=1}";
    let sets = [
        format!("penalty.0={{kind=\"l2\", lambda=1, scope=\"conv*.weight\", {schedule}}}"),
        "penalty.1={kind=\"l2\", lambda=3, scope=\"biases\"}".to_owned(),
        format!("penalty.2={{kind=\"l2\", lambda=1, scope=\"dense*.weight\", {schedule}}}"),
    ];
    let arguments = ["train", "small.toml", "--run-dir", "r"].into_iter().chain(sets.iter().flat_map(|set| ["--set", set]));
    let ran = sandbox.ok(&arguments.collect::<Vec<_>>());
    let text = std::fs::read_to_string(sandbox.path("r/metrics.jsonl")).unwrap();
    let rows: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).filter(|row: &Value| row["split"] == "train").collect();
    for (row, next) in rows.iter().zip(&rows[1..]) {
        let found = row["evidence"].as_array().unwrap();
        assert_eq!((found.len(), &found[1]), (3, &Value::Null));
        let gammas: f64 = [0, 2].iter().map(|index| found[*index]["gamma"].as_f64().unwrap()).sum();
        assert!((gammas / row["gamma"].as_f64().unwrap() - 1.0).abs() < 1e-12);
        assert_eq!([&found[0]["lambda"], &found[2]["lambda"]], [&next["lambdas"][0], &next["lambdas"][2]], "used from the next step on");
    }
    let stderr = ran.stderr();
    let line = stderr.lines().find(|line| line.starts_with("epoch 1/3")).unwrap();
    assert!(line.contains("λ (l2 on conv*.weight) 1 → ") && line.contains("λ (l2 on dense*.weight) 1 → "), "{line}");
    assert!(!line.contains("biases"), "a λ that training does not determine is not printed: {line}");
    assert!(ran.stdout().contains("(l2 on dense*.weight)"), "{}", ran.stdout());
}

#[test]
fn a_run_without_lists_of_lambda_is_resumed() {
    let sandbox = Sandbox::new();
    for run in ["whole", "old"] {
        sandbox.ok(&["train", "small.toml", "--run-dir", run]);
    }
    let without = |text: &str, keys: &[&str]| {
        let mut value: Value = serde_json::from_str(text).unwrap();
        keys.iter().for_each(|key| drop(value.as_object_mut().unwrap().remove(*key)));
        value.to_string()
    };
    let read = |name: &str| std::fs::read_to_string(sandbox.path("old").join(name)).unwrap();
    let rows: Vec<String> = read("metrics.jsonl").lines().map(|line| without(line, &["lambdas", "evidence"])).collect();
    sandbox.write("old/metrics.jsonl", rows.join("\n") + "\n");
    sandbox.write("old/manifest.json", without(&read("manifest.json"), &["keep", "penalties", "sha256"]));
    let new = ["ended_by", "kept", "lambdas", "best", "last", "warnings", "sha256"];
    sandbox.write("old/summary.json", without(&read("summary.json"), &new));
    for checkpoint in ["best", "best.previous", "last", "last.previous"] {
        let folder = format!("checkpoints/{checkpoint}");
        std::fs::remove_file(sandbox.path("old").join(&folder).join("metrics.json")).unwrap();
        let sums = read(&format!("{folder}/SHA256SUMS"));
        let sums: Vec<&str> = sums.lines().filter(|line| !line.ends_with("  metrics.json")).collect();
        sandbox.write(&format!("old/{folder}/SHA256SUMS"), sums.join("\n") + "\n");
    }
    let again = sandbox.ok(&["resume", "old"]);
    assert!(again.stderr().contains("had ended already") && again.stdout().contains("validation"), "{}", again.stdout());
    assert!(sandbox.ok(&["evaluate", "old"]).stdout().starts_with("checkpoint best"));
    std::fs::remove_file(sandbox.path("old/summary.json")).unwrap();
    sandbox.ok(&["resume", "old"]);
    assert_eq!(sandbox.json("old/summary.json")["lambdas"], serde_json::json!([0.5]));
    assert_eq!(sandbox.json("old/summary.json")["best"], sandbox.json("whole/summary.json")["best"]);
}
