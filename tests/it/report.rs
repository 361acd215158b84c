//! Reports of runs and sweeps, and the files that they are made of.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::support::{Sandbox, png};

/// The numbers of a report by their keys.
fn numbers(report: &str) -> BTreeMap<String, f64> {
    let attribute = |text: &str, name: &str| Some(text.split_once(&format!("{name}=\""))?.1.split_once('"')?.0.to_owned());
    let tags = report.split("<data ").skip(1);
    tags.map(|tag| (attribute(tag, "data-key").unwrap(), attribute(tag, "value").unwrap().parse().unwrap())).collect()
}

/// The number of a JSON file at a key such as `best.test.accuracy`.
fn at<'a>(content: &'a Value, key: &str) -> &'a Value {
    key.split('.').fold(content, |content, part| match part.parse::<usize>() {
        Ok(index) if content.is_array() => &content[index],
        _ => &content[part],
    })
}

fn read(sandbox: &Sandbox, name: &str) -> String {
    fs::read_to_string(sandbox.path(name)).unwrap()
}

/// Checks that a report is one page that asks for nothing, and that its figures have text alternatives.
fn check_page(report: &str) {
    assert!(check_figures(report) > 3, "{} figures", check_figures(report));
}

/// Checks that a page asks for nothing. Returns the number of its figures with a text alternative.
fn check_figures(report: &str) -> usize {
    assert!(report.starts_with("<!DOCTYPE html>") && report.ends_with("</html>"));
    for word in ["<script", "http:", "https:", "@import", "url("] {
        assert!(!report.contains(word), "{word} in {report}");
    }
    for source in report.split(" src=\"").skip(1) {
        assert!(source.starts_with("data:image/png;base64,"));
    }
    report.matches("<svg role=\"img\" aria-label=\"").count()
}

/// Checks that the report says this.
fn says(report: &str, all: &[&str]) {
    for words in all {
        assert!(report.contains(words), "{words} is not in {report}");
    }
}

#[test]
fn a_report_of_a_run_has_the_numbers_of_its_summary_and_of_its_evaluation() {
    let sandbox = Sandbox::new();
    let ran = sandbox.ok(&["train", "small.toml", "--run-dir", "run"]);
    assert_eq!(ran.stdout().lines().last(), Some("report: run/report.html"));
    let report = read(&sandbox, "run/report.html");
    check_page(&report);
    let (found, summary, evaluation) = (numbers(&report), sandbox.json("run/summary.json"), sandbox.json("run/evaluation.json"));
    let mut compared = 0;
    for (key, value) in &found {
        let expected = match key.split_once('.') {
            Some(("evaluation", name)) => at(&evaluation["classification"], name),
            Some(("class", rest)) => at(&evaluation["classification"]["classes"], rest),
            Some(("confident_mistakes" | "highest_losses", _)) => at(&evaluation, key),
            Some(("confusion", _)) => continue,
            _ => at(&summary, key),
        };
        assert_eq!(Some(*value), expected.as_f64(), "{key}");
        compared += 1;
    }
    assert!(compared > 60, "{compared}: {found:?}");
    for key in ["test.accuracy", "test.data_loss", "best.validation.accuracy", "penalty", "lambdas.0", "weight_norm_squared"] {
        assert!(found.contains_key(key), "{key}");
    }
    let headings =
        ["Data loss", "Penalty, apart from the data loss", "Accuracy", "Learning rate", "λ of the last step", "‖w‖² of each kernel"];
    says(&report, &headings);
    says(&report, &["conv1.weight (36 weights)", "Confusion matrix", "Reliability diagram", "Most confident mistakes", "Highest loss"]);
    says(&report, &["conv1.weight: all 4 filters", "dropout", "name = &quot;small&quot;", "2,848 trained parameters"]);

    sandbox.ok(&["report", "run", "--output", "elsewhere/again.html"]);
    assert!(read(&sandbox, "elsewhere/again.html") == report, "the same files have the same report");
    let own = sandbox.run(&["report", "run", "--output", "run/summary.json"]);
    assert_eq!((own.code(), own.stderr().contains("`run/summary.json` belongs to the run; write to another file")), (2, true));
    sandbox.ok(&["train", "small.toml", "--run-dir", "plain", "--set", "train.epochs=1", "--no-report"]);
    assert!(!sandbox.path("plain/report.html").exists());
    let line = &sandbox.ok(&["report", "plain", "--json"]).json()[0];
    assert_eq!(line["report"], "plain/report.html");
    says(&read(&sandbox, "plain/report.html"), &["best and last"]);
}

#[test]
fn the_evaluation_is_what_evaluate_says() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--run-dir", "run", "--no-report"]);
    let evaluation = sandbox.json("run/evaluation.json");
    let measured = &sandbox.ok(&["evaluate", "run", "--predictions", "p.jsonl", "--json"]).json()[0];
    for (key, value) in evaluation["classification"].as_object().unwrap() {
        assert_eq!(value, &measured[key], "{key}");
    }
    assert_eq!((&evaluation["split"], &evaluation["checkpoint"]), (&"test".into(), &measured["checkpoint"]));
    let bins = measured["reliability"].as_array().unwrap();
    assert_eq!(bins.len(), 15);
    let gaps = bins.iter().filter_map(|bin| Some(bin["count"].as_f64()? * (bin["confidence"].as_f64()? - bin["accuracy"].as_f64()?).abs()));
    let error = gaps.sum::<f64>() / measured["count"].as_f64().unwrap();
    assert!((error - measured["calibration_error"].as_f64().unwrap()).abs() < 1e-12, "{error}");
    // The samples are the first of all predictions, sorted by the same numbers.
    let mut predictions: Vec<Value> = read(&sandbox, "p.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let key = |name: &'static str| move |one: &Value| one[name].as_f64().unwrap();
    predictions.sort_by(|one, other| key("loss")(other).total_cmp(&key("loss")(one)));
    let of_loss: Vec<f64> = predictions.iter().take(12).map(key("loss")).collect();
    assert_eq!(evaluation["highest_losses"].as_array().unwrap().iter().map(key("loss")).collect::<Vec<_>>(), of_loss);
    predictions.retain(|one| one["label"] != one["prediction"]);
    predictions.sort_by(|one, other| key("probability")(other).total_cmp(&key("probability")(one)));
    let of_mistakes: Vec<f64> = predictions.iter().take(12).map(key("probability")).collect();
    assert_eq!(evaluation["confident_mistakes"].as_array().unwrap().iter().map(key("probability")).collect::<Vec<_>>(), of_mistakes);
}

#[test]
fn names_of_folders_and_files_are_escaped() {
    let sandbox = Sandbox::new();
    let config = "name = \"x\"\n[data]\nsource = \"folder\"\ndir = \"d\"\nimage_size = [8, 8]\nvalidation = 0.5\n[model]\nkind = \"linear\"\n[train]\nepochs = 1\n";
    sandbox.write("c.toml", config);
    for (class, grey) in [("<script>alert(1)<", 40), ("b\" onload=\"x", 60)] {
        (0..6).for_each(|number| png(&sandbox.path(&format!("d/{class}/{number} <img src=x> & '.png")), 8, 8, grey));
    }
    sandbox.ok(&["train", "c.toml", "--run-dir", "run"]);
    let report = read(&sandbox, "run/report.html");
    check_page(&report);
    says(&report, &["&lt;script&gt;alert(1)&lt;", "b&quot; onload=&quot;x", "&lt;img src=x&gt; &amp; '.png"]);
    assert!(!report.contains("<img src=x") && !report.contains("\" onload=\""), "{report}");
}

#[test]
fn a_run_that_has_not_ended_or_has_diverged_has_a_report_of_what_there_is() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--run-dir", "run", "--no-report"]);
    for name in ["summary.json", "evaluation.json"] {
        fs::remove_file(sandbox.path("run").join(name)).unwrap();
    }
    sandbox.ok(&["report", "run"]);
    let report = read(&sandbox, "run/report.html");
    check_page(&report);
    says(
        &report,
        &["The run has not ended: this is what there is after 3 epochs", "Data loss", "‖w‖² of each kernel", "conv1.weight: all 4 filters"],
    );
    assert!(!report.contains("Confusion matrix"));
    // As runs of earlier versions, which had neither file.
    fs::remove_file(sandbox.path("run/weights.jsonl")).unwrap();
    sandbox.ok(&["report", "run"]);
    says(
        &read(&sandbox, "run/report.html"),
        &["There is no weights.jsonl: it was removed, or an earlier version of Regulus trained the run"],
    );

    let ran = sandbox.run(&[
        "train",
        "small.toml",
        "--run-dir",
        "diverged",
        "--set",
        "optimizer.kind=sgd",
        "--set",
        "optimizer.learning_rate=1e30",
    ]);
    assert_eq!(ran.code(), 4);
    let report = read(&sandbox, "diverged/report.html");
    says(&report, &["diverged", "No epoch is complete", "There is no checkpoint", "conv1.weight (36 weights)"]);
    let norms = report.split("<figcaption>‖w‖² of each kernel</figcaption>").nth(1).unwrap().split("</figure>").next().unwrap();
    let epochs: Vec<&str> = norms.split("y=\"234\">").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(epochs, ["0", "1"], "the axis has no epoch below 0");
}

#[test]
fn a_file_that_was_removed_is_not_taken_for_one_of_an_earlier_version() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--run-dir", "run", "--no-report", "--set", "train.epochs=1"]);
    for (file, kept) in [("weights.jsonl", "evaluation.json"), ("evaluation.json", "weights.jsonl")] {
        let content = fs::read(sandbox.path("run").join(file)).unwrap();
        fs::remove_file(sandbox.path("run").join(file)).unwrap();
        sandbox.ok(&["report", "run"]);
        let report = read(&sandbox, "run/report.html");
        says(&report, &[&format!("There is no {file}: it was removed. ")]);
        assert!(!report.contains(&format!("There is no {kept}")));
        fs::write(sandbox.path("run").join(file), content).unwrap();
    }
}

/// The images of the report that have no file, by the numbers that `evaluate --predictions` gives them.
#[test]
fn images_without_a_file_have_the_names_of_the_predictions() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--run-dir", "run", "--set", "train.epochs=1"]);
    sandbox.ok(&["evaluate", "run", "--predictions", "p.jsonl"]);
    let all: Vec<Value> = read(&sandbox, "p.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let worst = all.iter().max_by(|one, other| one["loss"].as_f64().unwrap().total_cmp(&other["loss"].as_f64().unwrap())).unwrap();
    let report = read(&sandbox, "run/report.html");
    let first = report.split("data-key=\"highest_losses.0.loss\"").nth(1).unwrap().split("</li>").next().unwrap();
    assert!(first.contains(&format!("<span class=\"soft\">{}</span>", worst["file"].as_str().unwrap())), "{worst}: {first}");
    says(&report, &["counted from 0"]);
}

#[test]
fn what_is_neither_a_run_nor_a_sweep_is_refused() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("empty")).unwrap();
    let refused = |folder: &str| {
        let ran = sandbox.run(&["report", folder]);
        (ran.code(), ran.stderr())
    };
    let (code, message) = refused("empty");
    assert_eq!((code, message.contains("`empty` is neither a run folder nor the folder of a sweep: it has no")), (2, true), "{message}");
    let (code, message) = refused("small.toml");
    assert_eq!((code, message.contains("`small.toml` is neither a run folder nor the folder of a sweep")), (2, true), "{message}");
    let (code, message) = refused("missing");
    assert_eq!(
        (code, message.contains("expected a run folder, such as `regulus train` makes, or the folder of a sweep")),
        (3, true),
        "{message}"
    );
}

#[test]
fn the_weights_of_every_epoch_are_recorded_once_also_by_a_resumed_run() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--run-dir", "whole", "--no-report"]);
    let whole = read(&sandbox, "whole/weights.jsonl");
    let rows: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.iter().map(|row| row["epoch"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    // ‖w‖² of the kernels is that of the metrics, and every weight is in a bin.
    let metrics: Vec<Value> = read(&sandbox, "whole/metrics.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kernels = ["conv1.weight", "conv2.weight", "dense1.weight", "dense2.weight"];
    for row in &rows[1..] {
        let squares: f64 = kernels.iter().map(|name| row["parameters"][name]["squares"].as_f64().unwrap()).sum();
        let logged = metrics.iter().find(|metrics| metrics["epoch"] == row["epoch"]).unwrap()["weight_norm_squared"].as_f64().unwrap();
        assert!((squares / logged - 1.0).abs() < 1e-9, "{squares} and {logged}");
        let counts = row["parameters"]["conv1.weight"]["histogram"].as_array().unwrap();
        assert_eq!((counts.len(), counts.iter().filter_map(Value::as_u64).sum::<u64>()), (40, 36));
        assert!(row["parameters"]["conv1.bias"]["histogram"].is_null());
    }

    let two = |run| ["train", "small.toml", "--run-dir", run, "--set", "train.epochs=2", "--no-report"];
    sandbox.ok(&two("cut"));
    assert!(whole.starts_with(&read(&sandbox, "cut/weights.jsonl")));
    // A kill between the line of an epoch and its checkpoint, and in the middle of a line.
    let third = whole.lines().nth(3).unwrap();
    sandbox.write("cut/weights.jsonl", format!("{}{third}\n{{\"epoch\":4", read(&sandbox, "cut/weights.jsonl")));
    let resumed = sandbox.ok(&["resume", "cut", "--epochs", "3"]);
    assert!(read(&sandbox, "cut/weights.jsonl") == whole && !resumed.stderr().contains("is incomplete"), "{}", resumed.stderr());
    assert!(sandbox.json("cut/evaluation.json")["classification"] == sandbox.json("whole/evaluation.json")["classification"]);

    sandbox.ok(&two("older"));
    fs::remove_file(sandbox.path("older/weights.jsonl")).unwrap();
    sandbox.ok(&["resume", "older", "--epochs", "3"]);
    assert_eq!(read(&sandbox, "older/weights.jsonl"), format!("{third}\n"));
    says(
        &read(&sandbox, "older/report.html"),
        &["weights.jsonl has nothing before epoch 3: an earlier version of Regulus trained these epochs, or lines were removed"],
    );

    sandbox.ok(&two("lost"));
    let first: Vec<&str> = whole.split_inclusive('\n').take(2).collect();
    sandbox.write("lost/weights.jsonl", first.concat());
    let resumed = sandbox.ok(&["resume", "lost", "--epochs", "3"]);
    assert!(resumed.stderr().contains("`lost/weights.jsonl` is incomplete"), "{}", resumed.stderr());
    says(&read(&sandbox, "lost/report.html"), &["weights.jsonl lacks some epochs"]);
}

#[test]
fn a_report_of_a_sweep_has_the_numbers_of_its_study() {
    let sandbox = Sandbox::new();
    let sweep = ["sweep", "small.toml", "--sweep-dir", "s", "--folds", "3", "--set", "data.validation=0", "--set", "train.epochs=1"];
    let ran = sandbox.ok(&[sweep.as_slice(), &["--grid", "penalty.0.lambda=0,1,100,20000", "--rule", "one-standard-error"]].concat());
    assert_eq!(ran.stdout().lines().last(), Some("report: s/report.html"));
    let report = read(&sandbox, "s/report.html");
    check_page(&report);
    let (found, study) = (numbers(&report), sandbox.json("s/study.json"));
    for trial in study["trials"].as_array().unwrap() {
        for key in ["mean", "difference", "standard_error", "validation.accuracy", "weight_norm_squared"] {
            let of_page = found.get(&format!("trials.{}.{key}", trial["trial"]));
            assert_eq!(of_page.copied(), at(trial, key).as_f64(), "{key} of {trial}");
        }
    }
    let refit = &study["refit"];
    assert_eq!(found.get("refit.test.accuracy").copied(), refit["test"]["accuracy"].as_f64());
    assert_eq!(found.get("test.data_loss").copied(), refit["test"]["data_loss"].as_f64());
    // t of two degrees of freedom.
    says(
        &report,
        &[
            "± 4.303 standard errors",
            "over 3 splits",
            "± one standard error",
            "within one standard error of the lowest",
            "Training and validation loss",
        ],
    );
    says(&report, &["with a report of its own", "‖w‖²"]);
    says(&read(&sandbox, "s/refit/report.html"), &["Confusion matrix"]);
    for name in ["weights.jsonl", "evaluation.json"] {
        assert!(sandbox.path("s/refit").join(name).is_file(), "{name}");
        let fits: Vec<String> =
            fs::read_dir(sandbox.path("s/fits")).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert!(fits.iter().all(|fit| fit.starts_with("trial") && fit.contains(".json")), "{fits:?}");
    }
    let own = sandbox.run(&["report", "s", "--output", "s/study.json"]);
    assert_eq!((own.code(), own.stderr().contains("`s/study.json` belongs to the sweep")), (2, true), "{}", own.stderr());

    // A sweep of which a training is missing.
    let fit = fs::read_dir(sandbox.path("s/fits")).unwrap().map(|file| file.unwrap().path()).max().unwrap();
    fs::remove_file(fit).unwrap();
    sandbox.ok(&["report", "s"]);
    let report = read(&sandbox, "s/report.html");
    says(&report, &["1 of 12 trainings have not ended", "not finished"]);
    let found = numbers(&report);
    assert_eq!(found.get("trials.0.mean").copied(), study["trials"][0]["mean"].as_f64());
    assert!(!found.contains_key("trials.3.mean"));
}

#[test]
fn a_report_of_several_keys_has_parallel_coordinates_and_messages() {
    let sandbox = Sandbox::new();
    let sweep = ["sweep", "small.toml", "--sweep-dir", "s", "--set", "train.epochs=1", "--set", "optimizer.kind=sgd", "--no-report"];
    sandbox.ok(&[sweep.as_slice(), &["--grid", "optimizer.learning_rate=0.01,1e30", "--grid", "penalty.0.lambda=0,1"]].concat());
    assert!(!sandbox.path("s/report.html").exists() && !sandbox.path("s/refit/report.html").exists());
    sandbox.ok(&["report", "s"]);
    let report = read(&sandbox, "s/report.html");
    check_page(&report);
    says(
        &report,
        &["4 trials as lines through optimizer.learning_rate, penalty.0.lambda, validation loss (nats). The chosen one has", "diverged"],
    );
    let study = sandbox.json("s/study.json");
    let message = study["trials"].as_array().unwrap().iter().find_map(|trial| trial["message"].as_str()).unwrap();
    says(&report, &[&message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")]);
    says(&report, &["With one training of each trial there is no standard error"]);
}

#[test]
fn a_report_of_a_sweep_by_leave_one_out_has_the_evidence_beside_it() {
    let sandbox = Sandbox::new();
    let sweep = ["sweep", "small.toml", "--sweep-dir", "s", "--set", "train.epochs=1", "--set", "data.validation=0", "--criterion", "loo"];
    sandbox.ok(&[sweep.as_slice(), &["--grid", "penalty.0.lambda=1,10", "--set", "model={kind=\"linear\"}"]].concat());
    let report = read(&sandbox, "s/report.html");
    check_page(&report);
    says(&report, &["Leave-one-out and evidence", "−log evidence/m", "λ with the lowest value", "Effective parameters", "over 240 images"]);
}

#[test]
fn a_random_search_over_two_keys_shows_the_criterion_over_each() {
    let sandbox = Sandbox::new();
    let grid = ["--grid", "penalty.0.lambda=log:0.1:10", "--grid", "optimizer.learning_rate=log:0.001:0.01"];
    sandbox.ok(&[["sweep", "small.toml", "--sweep-dir", "s", "--random", "3", "--set", "train.epochs=1"].as_slice(), &grid].concat());
    let report = read(&sandbox, "s/report.html");
    assert_eq!(check_figures(&report), 3, "one over each key, and all keys at once");
    says(&report, &["Validation loss by λ (penalty.0.lambda)", "Validation loss by optimizer.learning_rate"]);
}
