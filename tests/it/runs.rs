//! `regulus runs`: the list of run folders and sweeps.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::support::Sandbox;

/// Each listed run by its path.
fn listed(sandbox: &Sandbox, arguments: &[&str]) -> BTreeMap<String, Value> {
    let lines = sandbox.ok(&[&["runs", "--json"], arguments].concat()).json();
    lines.into_iter().map(|line| (line["run"].as_str().unwrap().to_owned(), line)).collect()
}

/// The paths of listed runs, in their order.
fn order(sandbox: &Sandbox, arguments: &[&str]) -> Vec<String> {
    let lines = sandbox.ok(&[&["runs", "--json"], arguments].concat()).json();
    lines.iter().map(|line| line["run"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() { copy(&entry.path(), &target) } else { fs::copy(entry.path(), target).map(drop).unwrap() }
    }
}

/// All files below a folder with the time of their last change.
fn files(folder: &Path) -> BTreeMap<String, SystemTime> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        found.insert(entry.path().display().to_string(), entry.metadata().unwrap().modified().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        }
    }
    found
}

#[test]
fn runs_and_sweeps_are_listed_with_the_numbers_of_their_files() {
    let sandbox = Sandbox::new();
    let train = |run: &str, sets: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        sandbox.ok(&[["train", "small.toml", "--no-report", "--run-dir", run].as_slice(), &sets].concat())
    };
    train("artifacts/weak", &["penalty.0.lambda=0.1"]);
    train("artifacts/deep/er/strong", &["penalty.0.lambda=2", "seed=4", "train.epochs=1"]);
    sandbox.ok(&["train", "small.toml", "--no-report", "--run-dir", "artifacts/plain", "--unset", "penalty", "--set", "data.validation=0"]);
    let sweep = ["sweep", "small.toml", "--grid", "penalty.0.lambda=0.1,1", "--set", "train.epochs=1", "--sweep-dir", "artifacts/sweep"];
    sandbox.ok(&sweep);
    let before = files(&sandbox.path(""));
    let all = listed(&sandbox, &[]);
    assert_eq!(files(&sandbox.path("")), before, "nothing is written");
    let paths = ["artifacts/deep/er/strong", "artifacts/plain", "artifacts/sweep", "artifacts/sweep/refit", "artifacts/weak"];
    assert_eq!(all.keys().collect::<Vec<_>>(), paths);
    for path in ["artifacts/deep/er/strong", "artifacts/plain", "artifacts/sweep/refit", "artifacts/weak"] {
        let (line, summary) = (&all[path], sandbox.json(&format!("{path}/summary.json")));
        assert_eq!((&line["kind"], &line["status"], &line["split"]), (&"run".into(), &"completed".into(), &"test".into()), "{path}");
        assert_eq!(line["data_loss"], summary["test"]["data_loss"], "{path}");
        assert_eq!(line["metrics"]["accuracy"], summary["test"]["accuracy"], "{path}");
        assert_eq!((&line["lambdas"], &line["epochs"]), (&summary["lambdas"], &summary["epochs"]), "{path}");
        assert_eq!(line["started"], sandbox.json(&format!("{path}/manifest.json"))["started"], "{path}");
        assert!((0.0..600.0).contains(&line["age"].as_f64().unwrap()), "{line}");
    }
    assert_eq!(all["artifacts/weak"]["penalties"], serde_json::json!(["l2 on kernels"]));
    assert_eq!(all["artifacts/plain"]["penalties"], serde_json::json!([]));
    let (found, study) = (&all["artifacts/sweep"], sandbox.json("artifacts/sweep/study.json"));
    let chosen = &study["trials"][usize::try_from(study["chosen"].as_u64().unwrap()).unwrap()];
    assert_eq!((&found["kind"], &found["status"], &found["split"]), (&"sweep".into(), &"completed".into(), &"validation".into()));
    assert_eq!((&found["data_loss"], &found["metrics"]["accuracy"]), (&chosen["mean"], &chosen["validation"]["accuracy"]));
    assert_eq!(found["lambdas"][0], chosen["settings"]["penalty.0.lambda"]);

    let table = sandbox.ok(&["runs", "--sort", "lambda"]).stdout();
    let weak = table.lines().find(|line| line.starts_with("artifacts/weak ")).unwrap();
    let summary = sandbox.json("artifacts/weak/summary.json");
    let of_test = |key: &str| summary["test"][key].as_f64().unwrap();
    let (loss, accuracy) = (format!(" {:.4} ", of_test("data_loss")), format!(" {:.2} %", 100.0 * of_test("accuracy")));
    for words in ["mnist_mini", "l2 on kernels", " 0.1 ", " 3 ", "test", &loss, &accuracy] {
        assert!(weak.contains(words), "{words} is not in {weak}");
    }
    assert!(table.starts_with("all have: name small, status completed\n\n"), "{table}");
    assert!(table.contains("artifacts/sweep (sweep)"), "{table}");

    assert_eq!(
        order(
            &sandbox,
            &[
                "--sort",
                "lambda",
                "--filter",
                "kind=run",
                "--filter",
                "status=completed",
                "--filter",
                "name=small",
                "--filter",
                "penalty.0.kind=l2",
                "--reverse"
            ]
        )[0],
        "strong"
    );
    assert_eq!(order(&sandbox, &["--filter", "seed=4"]), ["strong"]);
    assert_eq!(order(&sandbox, &["--filter", "penalty=none"]), ["plain"]);
    assert_eq!(order(&sandbox, &["--filter", "ER/STR"]), ["strong"]);
    assert_eq!(order(&sandbox, &["artifacts/deep"]), ["strong"]);
    let losses = |line: &Value| line["data_loss"].as_f64().unwrap();
    let mut expected: Vec<&Value> = all.values().collect();
    expected.sort_by(|one, other| losses(one).total_cmp(&losses(other)));
    let expected: Vec<String> = expected.iter().map(|line| line["run"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(order(&sandbox, &["--sort", "loss"]), expected);
    let ran = sandbox.run(&["runs", "--sort", "acuracy"]);
    assert!(ran.code() == 2 && ran.stderr().contains("no run has `acuracy`; did you mean `accuracy`?"), "{}", ran.stderr());
    let ran = sandbox.ok(&["runs", "--filter", "status=diverged"]);
    assert_eq!(
        (ran.stdout(), ran.stderr()),
        (String::new(), "none of the 5 runs and sweeps in `artifacts` matches `--filter status=diverged`\n".to_owned())
    );
    // Columns by their titles, and statuses as the table shows them.
    assert_eq!(order(&sandbox, &["--sort", "λ", "--reverse"]), order(&sandbox, &["--sort", "lambda", "--reverse"]));
    assert_eq!(order(&sandbox, &["--filter", "λ=2"]), ["strong"]);
    fs::remove_file(sandbox.path("artifacts/plain/summary.json")).unwrap();
    assert!(sandbox.ok(&["runs"]).stdout().lines().any(|line| line.starts_with("artifacts/plain ") && line.contains(" cut off ")));
    for filter in ["status=cut off", "status=cut_off", "cut off", "Cut_Off"] {
        assert_eq!(order(&sandbox, &["--filter", filter]), ["plain"], "{filter}");
    }
    let ran = sandbox.run(&["runs", "nowhere"]);
    assert!(
        ran.code() == 3 && ran.stderr().contains("`nowhere`") && ran.stderr().contains("expected a folder with runs"),
        "{}",
        ran.stderr()
    );
}

#[test]
fn damaged_and_half_written_folders_are_named() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--no-report", "--run-dir", "runs/whole", "--set", "train.epochs=1"]);
    let whole = sandbox.path("runs/whole");
    let changed = |name: &str, change: &dyn Fn(&Path)| {
        let path = sandbox.path("runs").join(name);
        copy(&whole, &path);
        change(&path);
    };
    changed("manifest_cut", &|path| fs::write(path.join("manifest.json"), "{\"version\": \"0.").unwrap());
    changed("manifest_gone", &|path| fs::remove_file(path.join("manifest.json")).unwrap());
    changed("summary_other", &|path| {
        let summary = fs::read_to_string(path.join("summary.json")).unwrap();
        fs::write(path.join("summary.json"), summary.replacen("\"epochs\": 1", "\"epochs\": 2", 1)).unwrap();
    });
    changed("summary_gone", &|path| fs::remove_file(path.join("summary.json")).unwrap());
    changed("config_cut", &|path| fs::write(path.join("config.toml"), "name = \"sm").unwrap());
    changed("config_binary", &|path| fs::write(path.join("config.toml"), [0xff, 0xfe, 0]).unwrap());
    sandbox.write("runs/begun/config.toml", "name = \"small\"");
    sandbox.write("runs/begun/lock", "");
    sandbox.write("runs/sweep_cut/sweep.json", "{");
    sandbox.write("runs/web/manifest.json", "{}");
    sandbox.write("runs/web/index.html", "");
    sandbox.write("runs/.hidden/manifest.json", "{}");
    let damaged = listed(&sandbox, &["runs"]);
    let statuses: Vec<(&str, &str)> = damaged.iter().map(|(path, line)| (&path[5..], line["status"].as_str().unwrap())).collect();
    let expected = [
        ("begun", "damaged"),
        ("config_binary", "damaged"),
        ("config_cut", "damaged"),
        ("manifest_cut", "damaged"),
        ("manifest_gone", "damaged"),
        ("summary_gone", "cut_off"),
        ("summary_other", "damaged"),
        ("sweep_cut", "damaged"),
        ("whole", "completed"),
    ];
    assert_eq!(statuses, expected);
    // What has no summary has the last row of its metrics.
    let rows = fs::read_to_string(sandbox.path("runs/summary_gone/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(rows.lines().last().unwrap()).unwrap();
    let line = &damaged["runs/summary_gone"];
    assert_eq!(
        (&line["data_loss"], &line["metrics"]["accuracy"], &line["split"]),
        (&last["data_loss"], &last["accuracy"], &"validation".into())
    );
    let ran = sandbox.ok(&["runs", "runs"]);
    for (name, status) in expected {
        let warning = format!("warning: `runs/{name}` is not whole: ");
        assert_eq!(ran.stderr().contains(&warning), status == "damaged", "{name}: {}", ran.stderr());
        assert!(ran.stdout().lines().any(|line| line.starts_with(&format!("runs/{name} "))), "{}", ran.stdout());
    }
    for problem in ["it has no `manifest.json`", "its content does not match its `sha256`", "config_cut"] {
        assert!(ran.stderr().contains(problem), "{problem} is not in {}", ran.stderr());
    }
}

#[cfg(unix)]
#[test]
fn a_run_in_training_is_running_until_it_is_interrupted_or_killed() {
    let sandbox = Sandbox::new();
    let begin = |run: &str| {
        let arguments = ["train", "small.toml", "--run-dir", run, "--set", "train.epochs=100000"];
        let child = sandbox.command(&arguments).stderr(std::process::Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while fs::read_to_string(sandbox.path(run).join("metrics.jsonl")).map_or(0, |rows| rows.lines().count()) < 2 {
            assert!(begun.elapsed() < Duration::from_mins(1));
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    };
    let status = |run: &str| {
        let line = &listed(&sandbox, &["artifacts"])[&format!("artifacts/{run}")];
        assert!(line["epochs"].as_u64().unwrap() > 0 && line["data_loss"].is_number() && line["lambdas"][0] == 0.5, "{line}");
        line["status"].as_str().unwrap().to_owned()
    };
    let (mut stopped, mut killed) = (begin("artifacts/stopped"), begin("artifacts/killed"));
    // Looking does not take the lock away from those who train.
    for _ in 0..20 {
        assert_eq!((status("stopped").as_str(), status("killed").as_str()), ("running", "running"));
    }
    assert!(std::process::Command::new("kill").args(["-INT", &stopped.id().to_string()]).status().unwrap().success());
    assert_eq!(stopped.wait().unwrap().code(), Some(75));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!((status("stopped").as_str(), status("killed").as_str()), ("interrupted", "cut_off"));
}

#[cfg(unix)]
#[test]
fn links_are_followed_once_and_never_in_a_circle() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--no-report", "--run-dir", "elsewhere/one", "--set", "train.epochs=1"]);
    fs::create_dir(sandbox.path("artifacts")).unwrap();
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(sandbox.path(target), sandbox.path(name)).unwrap();
    link("elsewhere", "artifacts/a");
    link("elsewhere", "artifacts/b");
    link("artifacts", "artifacts/circle");
    link("artifacts", "elsewhere/back");
    link("nowhere", "artifacts/broken");
    assert_eq!(listed(&sandbox, &[]).into_keys().collect::<Vec<_>>(), ["artifacts/a/one"]);
}

#[test]
fn hundreds_of_runs_are_listed_at_once() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--no-report", "--run-dir", "one"]);
    fs::remove_dir_all(sandbox.path("one/checkpoints")).unwrap();
    for number in 0..800 {
        copy(&sandbox.path("one"), &sandbox.path(&format!("artifacts/{}/{number:03}", number % 7)));
    }
    let begun = Instant::now();
    let ran = sandbox.ok(&["runs", "--sort", "accuracy", "--filter", "penalty.0.lambda=0.5"]);
    let took = begun.elapsed();
    assert_eq!(ran.stdout().lines().filter(|line| line.starts_with("artifacts/")).count(), 800);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn runs_of_earlier_versions_are_listed() {
    let sandbox = Sandbox::new();
    let older = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/older_run");
    copy(&older, &sandbox.path("artifacts"));
    let all = listed(&sandbox, &[]);
    assert_eq!(all.len(), 3);
    let run = &all["artifacts/cnn_evidence/run"];
    let rows = fs::read_to_string(sandbox.path("artifacts/cnn_evidence/run/metrics.jsonl")).unwrap();
    assert_eq!((&run["dataset"], &run["status"]), (&"mnist_mini".into(), &"interrupted".into()));
    assert_eq!(run["epochs"].as_u64(), serde_json::from_str::<Value>(rows.lines().last().unwrap()).unwrap()["epoch"].as_u64());
}

#[test]
fn a_sweep_has_the_label_of_its_runs_and_the_value_of_its_criterion() {
    let sandbox = Sandbox::new();
    for criterion in ["loo", "evidence"] {
        let dir = format!("artifacts/{criterion}");
        let sets = ["--set", "train.epochs=1", "--set", "data.train_limit=60", "--set", "model.dropout=0", "--set", "penalty.0.scope=all"];
        let sweep = ["sweep", "small.toml", "--grid", "penalty.0.lambda=10,100", "--criterion", criterion, "--sweep-dir", &dir];
        sandbox.ok(&[sweep.as_slice(), &sets].concat());
    }
    let all = listed(&sandbox, &[]);
    let table = sandbox.ok(&["runs"]).stdout();
    for (criterion, split) in [("loo", "leave-one-out"), ("evidence", "−evidence")] {
        let (sweep, study) = (&all[&format!("artifacts/{criterion}")], sandbox.json(&format!("artifacts/{criterion}/study.json")));
        let chosen = &study["trials"][usize::try_from(study["chosen"].as_u64().unwrap()).unwrap()];
        assert_eq!((&sweep["criterion"], &sweep["criterion_value"]), (&criterion.into(), &chosen["mean"]));
        assert_eq!((&sweep["data_loss"], &sweep["split"]), (&Value::Null, &Value::Null));
        assert_eq!(sweep["penalties"], serde_json::json!(["l2 on all"]));
        // A filter sees the chosen settings, as the row shows them.
        let lambda = chosen["settings"]["penalty.0.lambda"].as_f64().unwrap();
        for (lambda, is_listed) in [(lambda, true), (110.0 - lambda, false)] {
            let found = sandbox.ok(&["runs", "--json", "--filter", &format!("penalty.0.lambda={lambda}")]).stdout();
            assert_eq!(found.contains(&format!("\"artifacts/{criterion}\"")), is_listed, "{found}");
        }
        assert_eq!(sweep["penalties"], all[&format!("artifacts/{criterion}/refit")]["penalties"]);
        let line = table.lines().find(|line| line.starts_with(&format!("artifacts/{criterion} (sweep)"))).unwrap();
        let words = format!(" {split}  {:>6.4} ", chosen["mean"].as_f64().unwrap());
        assert!(line.contains(&words), "{words} is not in {line}");
    }
}

#[test]
fn a_sweep_is_planned_until_a_training_has_begun() {
    let sandbox = Sandbox::new();
    let grid = ["--grid", "penalty.0.lambda=0,1", "--set", "train.epochs=1"];
    sandbox.ok(&[["sweep", "plan", "small.toml", "--sweep-dir", "artifacts/s"].as_slice(), &grid].concat());
    let status = || listed(&sandbox, &[])["artifacts/s"]["status"].as_str().unwrap().to_owned();
    assert_eq!(status(), "planned");
    sandbox.ok(&["sweep", "run", "artifacts/s", "--index", "0"]);
    assert_eq!(status(), "interrupted");
    sandbox.ok(&["resume", "artifacts/s", "--no-report"]);
    assert_eq!(status(), "completed");
}

#[test]
fn the_table_fits_100_columns() {
    let sandbox = Sandbox::new();
    let run = |run: &str, sets: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        sandbox.ok(&[["train", "small.toml", "--no-report", "--set", "train.epochs=1", "--run-dir", run].as_slice(), &sets].concat());
    };
    let table = |folder: &str| {
        let ran = sandbox.ok(&["runs", folder]);
        assert!(ran.stdout().lines().all(|line| line.chars().count() <= 100), "{}", ran.stdout());
        (ran.stdout(), ran.stderr())
    };
    run("short/a", &[]);
    run("short/b", &[]);
    let (out, note) = table("short");
    let titles: Vec<&str> = out.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(titles, ["run", "name", "status", "dataset", "penalty", "λ", "epochs", "split", "loss", "accuracy", "age"]);
    assert!(out.lines().nth(1).unwrap().starts_with("short/a  small  completed  mnist_mini  l2 on kernels  ") && note.is_empty(), "{out}");
    run("long/of_a_folder_with_a_long_name/a", &[]);
    run("long/of_a_folder_with_a_long_name/b", &["penalty.0.lambda=3"]);
    let (out, note) = table("long");
    assert!(out.starts_with("all have: name small, status completed") && note.is_empty(), "{out}{note}");
    assert!(out.lines().nth(2).unwrap().starts_with("run  ") && !out.lines().nth(2).unwrap().contains("status"), "{out}");
    run("long/of_a_folder_with_a_long_name/c", &["name=other", "penalty.0.kind=elastic_net", "train.epochs=2", "data.validation=0"]);
    sandbox.ok(&["train", "small.toml", "--no-report", "--unset", "penalty", "--run-dir", "long/of_a_folder_with_a_long_name/d"]);
    sandbox.ok(&["sweep", "small.toml", "--grid", "penalty.0.lambda=1,2", "--sweep-dir", "long/of_a_folder_with_a_long_name/e"]);
    let (out, note) = table("long");
    assert_eq!(note, "left out, so that the table fits 100 columns: `penalty`; `--json` has all\n", "{out}");
    assert!(!out.contains("elastic_net") && out.contains("  other  "), "{out}");
}
