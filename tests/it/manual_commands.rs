//! The commands of the README and of the manual.
//!
//! Blocks marked `sh` are to be copied: a new user can run each line as it stands. Blocks marked `console` have words in capitals for what the reader has, or
//! need another program, a server or a download. Neither shows output.
//!
//! - Commands of `regulus` run in the order of the page, in one folder for each page, and must end with status 0. Words in capitals are files and folders there.
//! - Commands of `regulus` that need what a test can't have, as in `NEEDS`, end with `--help` instead: their names, options and values are read, and nothing is done.
//! - Commands of other programs, as in `OTHERS`, are not run. The files of the repository that they name must exist, their script must know their options, and
//!   `Cargo.toml` their features.

use std::path::Path;

use crate::readme::{pages, read};
use crate::support::{SMALL, Sandbox, png};

/// What is in commands that are only read, and what they need.
const NEEDS: [(&str, &str); 5] = [
    ("--open", "a browser"),
    ("--tui", "a terminal: `tests/tui_in_tmux.py` runs it"),
    ("--to mlflow", "a server: `tests/mlflow_server.py` runs it"),
    ("--submit", "Slurm: `tests/slurm/run` runs it"),
    ("data fetch", "the network: `fetch.rs` runs it with a server on this machine"),
];

/// Programs that are not run here: they build, install, download, measure for minutes, or need a cluster.
const OTHERS: [&str; 8] = ["cargo", "python3", "pip", "tensorboard", "kubectl", "rustup", "apt-get", "tests/sanitize/run"];

/// The folders of the repository that commands name files of.
const FOLDERS: [&str; 5] = ["benches/", "configs/", "docs/", "examples/", "tests/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The commands in blocks of these kinds, in order, each with whether it can be copied as it stands.
fn commands(text: &str) -> Vec<(bool, String)> {
    let mut commands = Vec::new();
    let mut block = None;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some("sh") => block = Some(true),
            Some("console") => block = Some(false),
            Some(_) => block = None,
            None => {
                let command = line.split(" #").next().unwrap().trim();
                commands.extend(block.filter(|_| !command.is_empty()).map(|is_whole| (is_whole, command.to_owned())));
            }
        }
    }
    commands
}

/// The words of a command. Double quotes keep spaces.
fn words(command: &str) -> Vec<String> {
    let parts = command.split('"').enumerate().map(|(index, part)| if index % 2 == 1 { part.replace(' ', "\0") } else { part.to_owned() });
    parts.collect::<String>().split(' ').map(|word| word.replace('\0', " ")).collect()
}

/// A folder with what the commands name: the configs, an image of a digit, photographs of two classes, and what the words in capitals are.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path("configs")).unwrap();
    for entry in std::fs::read_dir(root().join("configs")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, sandbox.path("configs").join(path.file_name().unwrap())).unwrap();
    }
    std::fs::create_dir_all(sandbox.path("examples")).unwrap();
    std::fs::copy(root().join("examples/digit.png"), sandbox.path("examples/digit.png")).unwrap();
    // Classes of photographs, and of digits.
    for (class, level) in [("photographs/cats", 60), ("photographs/dogs", 160), ("FOLDER/3", 60), ("FOLDER/7", 160)] {
        for index in 0..15_u8 {
            png(&sandbox.path(&format!("{class}/{index}.png")), 24, 20, level + index);
        }
    }
    for folder in ["PICTURES/train", "PICTURES/test", "pictures/train", "pictures/test"] {
        for index in 0..12_u8 {
            png(&sandbox.path(&format!("{folder}/{index}.png")), 44, 48, 20 * index);
        }
    }
    png(&sandbox.path("NOISY.png"), 30, 20, 90);
    sandbox.write("CONFIG", SMALL);
    sandbox
}

/// Makes the run folders and networks that a command names and that are not there yet.
fn prepare(sandbox: &Sandbox, arguments: &[String]) {
    let names = |name: &str| arguments.iter().any(|argument| argument == name) && !sandbox.path(name).exists();
    for run in ["RUN", "RUN_OR_SWEEP"].into_iter().filter(|run| names(run)) {
        sandbox.ok(&["train", "CONFIG", "--run-dir", run]);
    }
    if names("SWEEP") {
        sandbox.ok(&["sweep", "CONFIG", "--grid", "penalty.0.lambda=0,1", "--sweep-dir", "SWEEP"]);
    }
    if names("MODEL") {
        sandbox.ok(&["train", "configs/denoise.toml", "--set", "train.epochs=1", "--run-dir", "MODEL"]);
    }
}

/// Runs a command of this program, up to a redirection of its output. Returns whether it was run, not read only.
fn run(page: &str, sandbox: &Sandbox, command: &str, arguments: &str) -> bool {
    let home = sandbox.path("home").display().to_string();
    let mut arguments = words(arguments.split(" > ").next().unwrap());
    arguments.iter_mut().for_each(|argument| *argument = argument.replace('~', &home));
    let is_run = NEEDS.iter().all(|(part, _)| !command.contains(part));
    if is_run {
        prepare(sandbox, &arguments);
    } else {
        arguments.push("--help".to_owned());
    }
    let ran = sandbox.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ran.code(), 0, "{page}: {command}\n{}", ran.stderr());
    is_run
}

/// Checks what a command of another program names of the repository.
fn check_other(page: &str, command: &str) {
    let words = words(command);
    assert!(OTHERS.contains(&words[0].as_str()), "{page}: `{command}` is neither a command of regulus nor of {OTHERS:?}");
    for path in words.iter().filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder))) {
        assert!(root().join(path).exists(), "{page}: {command}: there is no {path}");
    }
    if words[0] == "python3" {
        let script = read(&words[1]);
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(script.contains(&format!("\"{option}\"")), "{page}: {command}: {} knows no {option}", words[1]);
        }
    }
    if words[0] == "cargo" {
        let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
        let features = words.iter().skip_while(|word| *word != "--features").nth(1).map_or("", String::as_str);
        for feature in features.split(',').filter(|feature| !feature.is_empty()) {
            assert!(manifest["features"].get(feature).is_some(), "{page}: {command}: there is no feature {feature}");
        }
        for example in words.iter().skip_while(|word| *word != "--example").skip(1).take(1) {
            assert!(root().join(format!("examples/{example}.rs")).exists(), "{page}: {command}: there is no example {example}");
        }
    }
}

#[test]
fn every_command_runs() {
    let (mut whole, mut filled, mut read_only, mut others) = (0, 0, 0, 0);
    for page in pages() {
        let sandbox = sandbox();
        for (is_whole, command) in commands(&read(&page)) {
            if let Some(arguments) = command.strip_prefix("cargo run --release -- ").or(command.strip_prefix("regulus ")) {
                let is_run = run(&page, &sandbox, &command, arguments);
                assert!(is_run || !is_whole, "{page}: `{command}` can't be copied as it stands, so that its block is `console`");
                *(if is_whole {
                    &mut whole
                } else if is_run {
                    &mut filled
                } else {
                    &mut read_only
                }) += 1;
            } else {
                assert!(!is_whole, "{page}: `{command}` is no regulus command, so that its block is `console`");
                check_other(&page, &command);
                others += 1;
            }
        }
    }
    assert!(
        whole > 40 && filled > 25,
        "{whole} commands as they stand, {filled} with words in capitals, {read_only} read, {others} of others"
    );
}
