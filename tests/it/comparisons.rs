//! `regulus compare`: settings, figures, paired differences and the page.

use std::fs;

use serde_json::Value;

use crate::support::{Sandbox, png};

/// Trains a run for each λ and seed: `runs/LAMBDA-SEED`.
fn trained(lambdas: &[&str], seeds: &[u64], more: &[&str]) -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::new();
    let mut runs = Vec::new();
    for lambda in lambdas {
        for seed in seeds {
            let run = format!("runs/{lambda}-{seed}");
            let sets = [format!("penalty.0.lambda={lambda}"), format!("seed={seed}"), "data.split_seed=7".to_owned()];
            let sets = sets.iter().map(String::as_str).chain(more.iter().copied()).flat_map(|set| ["--set", set]);
            sandbox.ok(&["train", "small.toml", "--no-report", "--run-dir", &run].into_iter().chain(sets).collect::<Vec<_>>());
            runs.push(run);
        }
    }
    (sandbox, runs)
}

fn compare<'a>(runs: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    std::iter::once("compare").chain(runs.iter().map(String::as_str)).chain(more.iter().copied()).collect()
}

fn figure(sandbox: &Sandbox, run: &str, key: &str) -> f64 {
    let summary = sandbox.json(&format!("{run}/summary.json"));
    key.split('.').fold(&summary, |value, part| &value[part]).as_f64().unwrap()
}

/// Mean and standard error of differences, s·√(1/n + r).
fn mean_and_error(differences: &[f64], ratio: f64) -> (f64, f64) {
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let variance = differences.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance * (1.0 / n + ratio)).sqrt())
}

fn is_near(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-12 * other.abs().max(1e-3)
}

#[test]
fn runs_of_the_same_seeds_have_paired_differences() {
    let (sandbox, mut runs) = trained(&["0.5", "40"], &[3, 4, 5], &["train.epochs=2"]);
    // In another order than by seed, and a run without a partner.
    runs.swap(3, 5);
    sandbox.ok(&["train", "small.toml", "--no-report", "--run-dir", "runs/alone", "--set", "train.epochs=1", "--set", "seed=9"]);
    runs.push("runs/alone".to_owned());
    let lines = sandbox.ok(&compare(&runs, &["--json"])).json();
    let (of_runs, differences): (Vec<&Value>, Vec<&Value>) = lines.iter().partition(|line| line["kind"] == "run");
    assert_eq!(of_runs.len(), 7);
    for (line, run) in of_runs.iter().zip(&runs) {
        assert_eq!(line["run"], run.as_str());
        for key in [
            "test.data_loss",
            "test.accuracy",
            "validation.data_loss",
            "train.accuracy",
            "penalty",
            "weight_norm_squared",
            "epochs",
            "best_epoch",
            "seconds",
        ] {
            assert_eq!(line["figures"][key].as_f64(), Some(figure(&sandbox, run, key)), "{key} of {run}");
        }
    }
    let keys: Vec<&String> = of_runs[0]["settings"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["data.split_seed", "penalty.0.lambda", "seed", "train.epochs"]);
    assert_eq!((&of_runs[0]["settings"]["seed"], &of_runs[6]["settings"]["data.split_seed"]), (&3.into(), &Value::Null));
    let found: Vec<&str> = differences.iter().map(|line| line["figure"].as_str().unwrap()).collect();
    let of_split = |split: &str| ["data_loss", "accuracy", "balanced_accuracy", "macro_f1"].map(|name| format!("{split}.{name}"));
    assert_eq!(found, [of_split("test"), of_split("validation")].concat());
    for line in &differences {
        let key = line["figure"].as_str().unwrap();
        let by_hand =
            [3, 4, 5].map(|seed| figure(&sandbox, &format!("runs/40-{seed}"), key) - figure(&sandbox, &format!("runs/0.5-{seed}"), key));
        let (mean, error) = mean_and_error(&by_hand, 0.0);
        let pairs: Vec<f64> = line["pairs"].as_array().unwrap().iter().map(|pair| pair["difference"].as_f64().unwrap()).collect();
        assert_eq!(pairs, by_hand, "{key}");
        assert!(is_near(line["mean"].as_f64().unwrap(), mean) && is_near(line["standard_error"].as_f64().unwrap(), error), "{line}");
        assert_eq!((&line["settings"]["penalty.0.lambda"], &line["minus"]["penalty.0.lambda"]), (&40.0.into(), &0.5.into()));
        assert_eq!(line["pairs"][0]["run"], "runs/40-3");
    }
    let text = sandbox.ok(&compare(&runs, &[])).stdout();
    let loss = &differences[0];
    let row = text.lines().find(|line| line.starts_with("penalty.0.lambda=40 ") && line.contains("data loss (test)")).unwrap();
    for words in
        [format!("{:+.4}", loss["mean"].as_f64().unwrap()), format!("{:.4}", loss["standard_error"].as_f64().unwrap()), " 3 ".to_owned()]
    {
        assert!(row.contains(&words), "{words} is not in {row}");
    }
}

#[test]
fn differences_over_other_splits_have_the_corrected_error() {
    let (sandbox, runs) = trained(&["0.5", "40"], &[3, 4, 5], &["train.epochs=1"]);
    for run in &runs {
        sandbox.ok(&[
            "train",
            &format!("{run}/config.toml"),
            "--no-report",
            "--unset",
            "data.split_seed",
            "--run-dir",
            &run.replace("runs", "splits"),
        ]);
    }
    let runs: Vec<String> = runs.iter().map(|run| run.replace("runs", "splits")).collect();
    let lines = sandbox.ok(&compare(&runs, &["--json"])).json();
    let line = lines.iter().find(|line| line["figure"] == "validation.data_loss").unwrap();
    let by_hand = [3, 4, 5].map(|seed| {
        let of = |lambda: &str| figure(&sandbox, &format!("splits/{lambda}-{seed}"), "validation.data_loss");
        of("40") - of("0.5")
    });
    let (mean, error) = mean_and_error(&by_hand, 47.0 / 193.0);
    assert!(is_near(line["mean"].as_f64().unwrap(), mean) && is_near(line["standard_error"].as_f64().unwrap(), error), "{line}, {error}");
}

#[test]
fn tables_have_every_format() {
    let (sandbox, runs) = trained(&["0.5", "40"], &[3], &["train.epochs=1"]);
    let of = |format: &str| sandbox.ok(&compare(&runs, &["--format", format])).stdout();
    let loss = figure(&sandbox, &runs[1], "test.data_loss");
    let markdown = of("markdown");
    assert!(markdown.starts_with("| setting | 0.5-3 | 40-3 |\n|---|---|---|\n| penalty.0.lambda | 0.5 | 40 |\n\n| figure |"), "{markdown}");
    assert!(markdown.contains("| data loss (test) | ") && markdown.contains(&format!(" {loss:.4} |")), "{markdown}");
    let latex = of("latex");
    assert!(latex.contains("\\lVert w\\rVert^2") && latex.contains("$\\lambda$ (l2 on kernels) & 0.5 & 40 \\\\"), "{latex}");
    let csv = of("csv");
    let mut tables = csv.split("\n\n");
    let mut reader = csv::Reader::from_reader(tables.next().unwrap().as_bytes());
    let at = reader.headers().unwrap().iter().position(|title| title == "test.data_loss").unwrap();
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!((records.len(), &records[1][0], records[1][at].parse::<f64>().unwrap()), (2, "runs/40-3", loss));
    assert_eq!(tables.next().unwrap().lines().count(), 1 + 8, "{csv}");
    // One pair has no standard error.
    let text = of("text");
    assert!(text.lines().last().unwrap().ends_with(" -"), "{text}");
}

#[test]
fn the_page_has_the_numbers_of_the_runs_and_their_curves() {
    let (sandbox, runs) = trained(&["0.5", "40"], &[3, 4], &[]);
    let ran = sandbox.ok(&compare(&runs, &["--html", "pages/compared.html"]));
    assert_eq!(ran.stderr(), "page: pages/compared.html\n");
    let page = fs::read_to_string(sandbox.path("pages/compared.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    for word in ["<script", "http:", "https:", "@import", "url("] {
        assert!(!page.contains(word), "{word} in {page}");
    }
    let lines = sandbox.ok(&compare(&runs, &["--json"])).json();
    let differences: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "difference").collect();
    let mut checked = 0;
    for tag in page.split("<data ").skip(1) {
        let attribute = |name: &str| tag.split_once(&format!("{name}=\"")).unwrap().1.split_once('"').unwrap().0;
        let (key, value) = (attribute("data-key"), attribute("value").parse::<f64>().unwrap());
        let mut parts = key.splitn(3, '.');
        let (kind, index, name) = (parts.next().unwrap(), parts.next().unwrap().parse::<usize>().unwrap(), parts.next().unwrap());
        let expected = match (kind, name.strip_prefix("lambda.")) {
            ("runs", Some(_)) => sandbox.json(&format!("{}/summary.json", runs[index]))["lambdas"][0].as_f64().unwrap(),
            ("runs", None) => figure(&sandbox, &runs[index], name),
            _ => differences[index][name].as_f64().unwrap(),
        };
        assert!((value - expected).abs() < f64::EPSILON, "{key}: {value}, {expected}");
        checked += 1;
    }
    assert!(checked > 50, "{checked}");
    for heading in ["Data loss, train", "Data loss, validation", "Validation: accuracy", "Penalty, apart from the data loss"] {
        let figure = page.split(&format!("<figcaption>{heading}</figcaption>")).nth(1).unwrap().split("</figure>").next().unwrap();
        assert!(
            figure.contains("role=\"img\" aria-label=\"") && ["0.5-3", "0.5-4", "40-3", "40-4"].iter().all(|run| figure.contains(run)),
            "{figure}"
        );
    }
    // Each settings has a line of its own style, and an entry that names its runs.
    let figure = page.split("<figcaption>Data loss, train</figcaption>").nth(1).unwrap().split("</figure>").next().unwrap();
    let entries: Vec<&str> = figure.split("<li>").skip(1).map(|entry| entry.split("</li>").next().unwrap()).collect();
    let names: Vec<&str> = entries.iter().map(|entry| entry.split("</svg>").nth(1).unwrap()).collect();
    assert_eq!(names, ["0.5-3, 0.5-4 (same settings)", "40-3, 40-4 (same settings)"]);
    for (style, count) in [("line c0", 2), ("line c1", 2), ("dashed", 0)] {
        let lines = figure.split("<ul").next().unwrap();
        assert_eq!(lines.matches(&format!("class=\"{style}\"")).count(), count, "{style}");
    }
    // The text alternative has the numbers of metrics.jsonl.
    let rows = fs::read_to_string(sandbox.path("runs/40-4/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(rows.lines().last().unwrap()).unwrap();
    let (exact, words) =
        (last["data_loss"].as_f64().unwrap(), page.split("Data loss, validation: ").nth(1).unwrap().split("40-4: from ").nth(1).unwrap());
    let shown: f64 = words.split(" to ").nth(1).unwrap().split(" at 3").next().unwrap().parse().unwrap();
    assert!((shown - exact).abs() < 1e-3 * exact, "{shown}, {exact}");
    let own = sandbox.run(&compare(&runs, &["--html", "runs/0.5-3/summary.json"]));
    assert!(own.code() == 2 && own.stderr().contains("`runs/0.5-3/summary.json` belongs to the run"), "{}", own.stderr());
}

#[test]
fn runs_that_can_not_be_compared_are_refused_and_doubts_are_named() {
    let (sandbox, runs) = trained(&["0.5"], &[3], &["train.epochs=1"]);
    let refused = |arguments: &[&str]| {
        let ran = sandbox.run(arguments);
        (ran.code(), ran.stderr())
    };
    (0..6).for_each(|number| png(&sandbox.path(&format!("p/{number}.png")), 12, 12, 40 * number));
    let denoise = "name = \"d\"\n[task]\nkind = \"denoise\"\npatch_size = 8\n[data]\nsource = \"folder\"\ndir = \"p\"\nvalidation = 0.4\n[model]\nkind = \"dncnn\"\ndepth = 3\nwidth = 4\n[train]\nepochs = 1\n";
    sandbox.write("d.toml", denoise);
    sandbox.ok(&["train", "d.toml", "--no-report", "--run-dir", "denoised"]);
    let (code, message) = refused(&["compare", &runs[0], "denoised"]);
    assert!(
        code == 2
            && message.contains("`runs/0.5-3` is a run of classification, `denoised` one of denoising; compare runs of the same task"),
        "{message}"
    );
    let (code, message) = refused(&["compare", &runs[0], "missing"]);
    assert!(code == 3 && message.contains("`missing`") && message.contains("expected a run folder"), "{message}");
    let (code, message) = refused(&["compare", &runs[0], "."]);
    assert!(code == 2 && message.contains("is not a run folder: it has no `config.toml`"), "{message}");
    let (code, message) = refused(&["compare", &runs[0], "./runs/0.5-3"]);
    assert!(code == 2 && message.contains("is given twice"), "{message}");
    let (code, message) = refused(&["compare", &runs[0]]);
    assert!(code == 2 && message.contains("RUN"), "{message}");
    assert_eq!(refused(&["compare", &runs[0], "denoised", "--json", "--format", "csv"]).0, 2);

    let copied = |name: &str| {
        fs::create_dir(sandbox.path(name)).unwrap();
        for file in ["config.toml", "manifest.json", "metrics.jsonl"] {
            fs::copy(sandbox.path(&runs[0]).join(file), sandbox.path(name).join(file)).unwrap();
        }
    };
    copied("cut");
    let ran = sandbox.ok(&["compare", &runs[0], "cut", "--html", "page.html"]);
    assert!(ran.stderr().contains("all settings are the same\n") && !ran.stdout().contains("setting"), "{}", ran.stderr());
    assert!(ran.stderr().contains("`cut`: the run has not ended, so that it has no final figures yet"), "{}", ran.stderr());
    assert!(ran.stdout().lines().any(|line| line.starts_with("status") && line.ends_with("cut off")), "{}", ran.stdout());
    let config = fs::read_to_string(sandbox.path("cut/config.toml")).unwrap();
    fs::write(sandbox.path("cut/config.toml"), config.replace("seed = 3", "seed = 8")).unwrap();
    let ran = sandbox.ok(&["compare", &runs[0], "cut"]);
    assert!(ran.stderr().contains("`cut`: config.toml was changed since the run began"), "{}", ran.stderr());
    fs::write(sandbox.path("cut/manifest.json"), "{").unwrap();
    let (code, message) = refused(&["compare", &runs[0], "cut"]);
    assert!(code == 3 && message.contains("`cut/manifest.json` is damaged"), "{message}");
    for class in ["a", "b"] {
        (0..4).for_each(|number| png(&sandbox.path(&format!("classes/{class}/{number}.png")), 8, 8, 30 * number));
    }
    let other = "name = \"o\"\n[data]\nsource = \"folder\"\ndir = \"classes\"\nimage_size = [8, 8]\n[model]\nkind = \"linear\"\n[train]\nepochs = 1\n";
    sandbox.write("o.toml", other);
    sandbox.ok(&["train", "o.toml", "--no-report", "--run-dir", "other"]);
    let ran = sandbox.ok(&["compare", &runs[0], "other"]);
    assert!(ran.stderr().contains("were not trained and measured on the same images"), "{}", ran.stderr());
}

#[test]
fn validation_figures_of_other_images_are_not_paired() {
    let (sandbox, runs) = trained(&["0.5"], &[3], &["train.epochs=1", "data.validation=0.1"]);
    let other = ["train", "small.toml", "--no-report", "--run-dir", "half", "--set", "train.epochs=1", "--set", "data.validation=0.5"];
    sandbox.ok(&[&other[..], &["--set", "penalty.0.lambda=0.5", "--set", "seed=3", "--set", "data.split_seed=7"]].concat());
    let ran = sandbox.ok(&["compare", &runs[0], "half", "--json"]);
    let paired: Vec<String> = ran.json().iter().filter_map(|line| Some(line["figure"].as_str()?.to_owned())).collect();
    assert_eq!(paired, ["test.data_loss", "test.accuracy", "test.balanced_accuracy", "test.macro_f1"]);
    let warning = "`half` has another `data.validation`, and so other validation images: validation figures are not paired";
    assert!(ran.stderr().contains(warning) || ran.stdout().contains(warning), "{}{}", ran.stderr(), ran.stdout());
}
