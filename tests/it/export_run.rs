//! `export --to`. `tests/mlflow_server.py` exports to a real server.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::Sandbox;

fn trained() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--run-dir", "run"]);
    sandbox
}

#[test]
fn the_table_has_every_number_of_metrics_jsonl() {
    let sandbox = trained();
    let ran = sandbox.ok(&["export", "run", "--to", "csv"]);
    assert_eq!(ran.stdout(), format!("wrote {}\n", std::path::Path::new("run").join("metrics.csv").display()));
    let mut table = csv::Reader::from_path(sandbox.path("run/metrics.csv")).unwrap();
    let header = table.headers().unwrap().clone();
    let lines: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    let text = fs::read_to_string(sandbox.path("run/metrics.jsonl")).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), rows.len()), (6, 6));
    for (line, row) in lines.iter().zip(&rows) {
        let known = row.as_object().unwrap().iter().filter(|(name, value)| *name != "lambdas" && !value.is_null());
        // `balanced_accuracy` and `macro_f1` are of validation rows.
        let others = if row["split"] == "train" { 2 } else { 0 };
        assert_eq!(known.clone().count() + others, header.len());
        for (name, value) in known {
            let cell = &line[header.iter().position(|column| column == name).unwrap_or_else(|| panic!("no column {name}"))];
            let equal = value.as_f64().map_or(value == cell, |value| cell.parse::<f64>().unwrap().to_bits() == value.to_bits());
            assert!(equal, "{name}: {cell} and {value}");
        }
    }
    let lines = sandbox.ok(&["export", "run", "--to", "csv", "--output", "tables/a.csv", "--json"]).json();
    assert_eq!(lines[0]["output"], "tables/a.csv");
    assert_eq!(fs::read(sandbox.path("tables/a.csv")).unwrap(), fs::read(sandbox.path("run/metrics.csv")).unwrap());
}

#[test]
fn a_file_that_is_named_by_a_dash_goes_to_standard_output_alone() {
    let sandbox = trained();
    sandbox.ok(&["export", "run", "--to", "csv", "--output", "table.csv"]);
    let ran = sandbox.ok(&["export", "run", "--to", "csv", "-o", "-"]);
    assert_eq!(ran.stdout(), fs::read_to_string(sandbox.path("table.csv")).unwrap());
    assert_eq!(ran.stderr(), "wrote to standard output\n");
    sandbox.ok(&["report", "run", "--output", "page.html"]);
    assert_eq!(sandbox.ok(&["report", "run", "-o", "-"]).stdout(), fs::read_to_string(sandbox.path("page.html")).unwrap());
    sandbox.ok(&["evaluate", "run", "--predictions", "all.csv"]);
    let ran = sandbox.ok(&["evaluate", "run", "--predictions", "-"]);
    assert_eq!(ran.stdout(), fs::read_to_string(sandbox.path("all.csv")).unwrap());
    assert!(ran.stderr().contains("balanced accuracy"), "{}", ran.stderr());
    fs::create_dir(sandbox.path("other")).unwrap();
    for entry in fs::read_dir(sandbox.path("run")).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), sandbox.path("other").join(entry.file_name())).unwrap();
    }
    let ran = sandbox.ok(&["compare", "run", "other", "--html", "-"]);
    assert!(ran.stdout().starts_with("<!DOCTYPE html>") && ran.stdout().ends_with("</html>") && ran.stderr().contains("data loss (test)"));
    let ran = sandbox.ok(&["init", "--output", "-"]);
    sandbox.write("new.toml", ran.stdout());
    sandbox.ok(&["check", "new.toml", "--config-only"]);
    assert!(!sandbox.path("-").exists());
    for command in [["export", "run", "--output"], ["report", "run", "--output"], ["evaluate", "run", "--predictions"]] {
        let ran = sandbox.run(&[command.as_slice(), &["-", "--json"]].concat());
        assert!(ran.code() == 2 && ran.stderr().contains("both write to standard output; leave one out"), "{}", ran.stderr());
    }
    let ran = sandbox.run(&["report", "run", "--output", "-", "--open"]);
    assert!(ran.code() == 2 && ran.stderr().contains("`--open` needs a file"), "{}", ran.stderr());
}

/// λ in every command and on every page, as it was written.
#[test]
fn numbers_have_one_notation() {
    let sandbox = Sandbox::new();
    let grid = ["--grid", "penalty.0.lambda=1e-8,20000000.0", "--set", "train.epochs=1", "--set", "optimizer.kind=sgd"];
    let ran =
        sandbox
            .ok(&[["sweep", "small.toml", "--sweep-dir", "artifacts/s", "--set", "optimizer.learning_rate=1e-9"].as_slice(), &grid]
                .concat());
    let table: Vec<String> = ran.stdout().lines().take(3).map(str::to_owned).collect();
    assert!(table[1].starts_with("1e-8 ") && table[2].starts_with("2e7 "), "{table:?}");
    sandbox.ok(&["train", "small.toml", "--set", "penalty.0.lambda=1e-8", "--set", "train.epochs=1", "--run-dir", "artifacts/r"]);
    sandbox.ok(&["train", "small.toml", "--set", "penalty.0.lambda=0.5", "--set", "train.epochs=1", "--run-dir", "artifacts/q"]);
    let compared = sandbox.ok(&["compare", "artifacts/r", "artifacts/q", "--html", "page.html"]).stdout();
    let runs = sandbox.ok(&["runs", "--filter", "λ=1e-8"]).stdout();
    let checked = sandbox.ok(&["check", "artifacts/r/config.toml", "--config-only"]).stdout();
    let read = |name: &str| fs::read_to_string(sandbox.path(name)).unwrap();
    let texts =
        [ran.stdout(), compared, runs, checked, read("page.html"), read("artifacts/s/report.html"), read("artifacts/r/report.html")];
    for (index, text) in texts.iter().enumerate() {
        let text = shown(text);
        assert!(
            text.contains("1e-8") && !text.contains("0.00000001") && !text.contains("1.000e-8") && !text.contains("10⁻"),
            "{index}: {text}"
        );
    }
    for text in [&texts[0], &texts[5]] {
        let text = shown(text);
        assert!(text.contains("2e7") && !text.contains("20000000"), "{text}");
    }
}

/// A page without its numbers for programs, `value="…"`: measured seconds may hold any digits.
fn shown(page: &str) -> String {
    let mut parts = page.split(" value=\"");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('"').map_or(part, |(_, rest)| rest))
}

#[test]
fn an_event_file_that_was_left_out_is_written_later_with_the_same_content() {
    let sandbox = trained();
    let file = fs::read_dir(sandbox.path("run")).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.display().to_string().contains("tfevents")).unwrap();
    let expected = fs::read(&file).unwrap();
    for _ in 0..2 {
        let ran = sandbox.ok(&["export", "run", "--to", "tensorboard"]);
        assert!(ran.stdout().ends_with(".regulus\n") && fs::read(&file).unwrap() == expected);
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn options_that_do_not_fit_and_servers_that_do_not_answer_are_errors() {
    let sandbox = trained();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases: [(&[&str], i32, &str); 8] = [
        (
            &["--to", "mlflow"],
            2,
            "`--to mlflow` needs the address of a server; give `--uri http://HOST:PORT`, or set `MLFLOW_TRACKING_URI`",
        ),
        (&["--to", "mlflow", "--uri", "databricks"], 2, "`databricks` is not the address of an MLflow server"),
        (&["--to", "mlflow", "--uri", &format!("http://{closed}")], 1, "can't be reached"),
        (&["--to", "csv", "--uri", "http://localhost"], 2, "`--uri` and `--experiment` are for `--to mlflow`; leave them out"),
        (&["--to", "tensorboard", "--output", "a"], 2, "`--output` is for files of networks and for `--to csv`; leave it out"),
        (&["--to", "csv", "--format", "burnpack"], 2, "cannot be used with"),
        (&["--to", "csv", "--output", "run/metrics.jsonl"], 2, "belongs to the run"),
        (&["--uri", "http://localhost"], 2, "--to <WHAT>"),
    ];
    for (arguments, code, message) in cases {
        let ran = sandbox.run_with(&[("MLFLOW_TRACKING_URI", "")], &[&["export", "run"], arguments].concat());
        assert!(ran.code() == code && ran.stderr().contains(message), "{arguments:?}: {}\n{}", ran.code(), ran.stderr());
    }
    for (folder, code) in [("absent", 3), ("small.toml", 2)] {
        assert_eq!(sandbox.run(&["export", folder, "--to", "csv"]).code(), code);
    }
}

/// A server that answers every request with this status and body, and records the headers `Authorization`.
fn server(status: &'static str, body: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (uri, seen) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                let (name, value) = line.split_once(':').unwrap_or_default();
                match name.to_lowercase().as_str() {
                    "authorization" => log.lock().unwrap().push(value.trim().to_owned()),
                    "content-length" => length = value.trim().parse().unwrap(),
                    _ => {}
                }
                line.clear();
            }
            let _ = reader.read_exact(&mut vec![0; length]);
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        }
    });
    (uri, seen)
}

#[test]
fn the_message_of_a_server_is_printed_and_credentials_come_from_the_environment() {
    let sandbox = trained();
    let export = |uri: &str, variables: &[(&str, &str)]| sandbox.run_with(variables, &["export", "run", "--to", "mlflow", "--uri", uri]);
    let (uri, seen) = server("400 Bad Request", r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"no such thing"}"#);
    let ran = export(&uri, &[("MLFLOW_TRACKING_TOKEN", "secret")]);
    assert_eq!(ran.code(), 1);
    assert!(ran.stderr().contains(&format!("the MLflow server `{uri}` refused a request (status 400): no such thing")), "{}", ran.stderr());
    assert_eq!(*seen.lock().unwrap(), ["Bearer secret"]);
    let (uri, seen) = server("401 Unauthorized", "You are not authenticated");
    let ran = export(&uri, &[("MLFLOW_TRACKING_USERNAME", "Aladdin"), ("MLFLOW_TRACKING_PASSWORD", "open sesame")]);
    assert!(
        ran.code() == 1 && ran.stderr().contains("wants other credentials (status 401); set `MLFLOW_TRACKING_USERNAME`"),
        "{}",
        ran.stderr()
    );
    assert_eq!(*seen.lock().unwrap(), ["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]);
    let (uri, _) = server("200 OK", "<html>a proxy</html>");
    assert!(export(&uri, &[]).stderr().contains("does not answer as MLflow does: <html>a proxy</html>"));
}
