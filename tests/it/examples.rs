//! The examples, which `cargo test` builds.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::Sandbox;

fn run(sandbox: &Sandbox, name: &str, arguments: &[&str]) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_regulus")).with_file_name("examples").join(name);
    let output: Output =
        Command::new(&program).args(arguments).current_dir(sandbox.path("")).env("TMPDIR", sandbox.path("")).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(format!("{name}.rs"));
    let lines = std::fs::read_to_string(source).unwrap().lines().count();
    assert!(lines < 60, "{name} has {lines} lines");
    String::from_utf8(output.stdout).unwrap()
}

/// The number after `label`, up to a comma or the end of the line.
fn number_after(output: &str, label: &str) -> f64 {
    let rest = output.split(label).nth(1).unwrap_or_else(|| panic!("no {label:?} in {output}"));
    rest.split([',', '\n']).next().unwrap().trim().parse().unwrap()
}

#[test]
fn images_in_memory_are_learned_and_the_export_predicts() {
    let sandbox = Sandbox::new();
    let output = run(&sandbox, "train_in_memory", &[]);
    assert!(number_after(&output, "accuracy on the test split: ") > 0.95 && output.contains("the second image is vertical"), "{output}");
    let digit = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digit.png");
    let output = run(&sandbox, "predict", &["stripes.safetensors", digit.to_str().unwrap()]);
    let sum = ["horizontal: ", "vertical: "].map(|class| number_after(&output, class)).iter().sum::<f64>();
    assert!((sum - 1.0).abs() < 2e-4, "{output}");
    let program = sandbox.ok(&["predict", "stripes.safetensors", digit.to_str().unwrap(), "--json"]).json();
    let classes = program[0]["classes"].as_array().unwrap();
    let of_class = |name: &str| classes.iter().find(|class| class["class"] == name).unwrap()["probability"].as_f64().unwrap();
    assert!((of_class("vertical") - number_after(&output, "vertical: ")).abs() < 1e-4, "{program:?} against {output}");
}

#[test]
fn an_own_penalty_falls_where_its_lambda_is_larger() {
    let output = run(&Sandbox::new(), "own_penalty", &[]);
    let lines: Vec<&str> = output.lines().collect();
    // The penalty includes λ.
    let value = |line: &str, lambda: f64| number_after(line, "penalty ") / lambda;
    assert_eq!(lines.len(), 3, "{output}");
    assert!(value(lines[2], 10.0) < value(lines[1], 1.0), "{output}");
}

#[test]
fn every_backend_of_the_build_trains() {
    let output = run(&Sandbox::new(), "swap_backend", &[]);
    for line in output.lines() {
        assert!((0.5..2.6).contains(&number_after(line, "test loss ")), "{output}");
    }
    assert!(!output.is_empty());
}
