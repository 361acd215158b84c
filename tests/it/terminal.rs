//! Output on a terminal: progress bars, colours, and Ctrl-C.

use std::process::Output;

use crate::support::{Sandbox, png};

/// Arguments of a long run that is interrupted.
const ENDLESS: [&str; 4] = ["--set", "train.epochs=100000", "--run-dir", "run"];

/// Runs the program on a terminal of `columns` columns and types Ctrl-C `interrupts` times. Returns exit code and output.
fn on_terminal(sandbox: &Sandbox, columns: usize, interrupts: usize, arguments: &[&str]) -> (Option<i32>, String) {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/terminal.py");
    let mut command = std::process::Command::new("python3");
    command.arg(script).args([columns.to_string(), interrupts.to_string()]).arg(env!("CARGO_BIN_EXE_regulus"));
    command.args(arguments).current_dir(sandbox.path("")).env_remove("NO_COLOR").env("TERM", "xterm");
    let Output { stdout, stderr, .. } = command.output().expect("python3 is there");
    let stderr = String::from_utf8(stderr).unwrap();
    let code = stderr.trim().strip_prefix("exit ").and_then(|code| code.parse().ok());
    (code, String::from_utf8(stdout).unwrap())
}

/// All drawn lines without control sequences.
fn drawn(written: &str) -> Vec<String> {
    written.split(['\r', '\n']).map(|line| console::strip_ansi_codes(line).into_owned()).collect()
}

/// The final content of the screen. A redrawn line replaces the one before.
fn on_screen(written: &str) -> String {
    let mut screen = vec![String::new()];
    for line in written.split_inclusive(['\r', '\n']) {
        let text = console::strip_ansi_codes(line.trim_end_matches(['\r', '\n'])).into_owned();
        let current = screen.last_mut().unwrap();
        if line.contains("\u{1b}[2K") {
            *current = text;
        } else if !text.is_empty() {
            current.push_str(&text);
        }
        if line.ends_with('\n') {
            screen.push(String::new());
        }
    }
    screen.join("\n")
}

#[test]
fn a_progress_bar_fits_any_width_and_is_gone_at_the_end() {
    let sandbox = Sandbox::new();
    for columns in [20, 40, 60, 80, 120, 200] {
        let run = format!("run{columns}");
        let (code, written) = on_terminal(&sandbox, columns, 0, &["train", "small.toml", "--set", "train.epochs=20", "--run-dir", &run]);
        assert_eq!(code, Some(0), "{written}");
        let bars: Vec<String> = drawn(&written).into_iter().filter(|line| line.contains(['█', '░'])).collect();
        let widest = bars.iter().map(|bar| console::measure_text_width(bar)).max();
        match columns {
            20 => assert_eq!(widest, None, "there is no room for a bar"),
            _ => assert_eq!(widest, Some(columns), "{bars:#?}"),
        }
        assert!(!on_screen(&written).contains(['█', '░']), "{written}");
        let message = drawn(&written).into_iter().filter(|line| line.starts_with("starting") || line.starts_with("epoch 1/20 ")).max();
        assert!(message.is_some_and(|line| columns > 20 || console::measure_text_width(line.trim_end()) <= columns || line.contains(':')));
    }
}

#[test]
fn ctrl_c_leaves_no_half_bar() {
    let sandbox = Sandbox::new();
    let (code, written) = on_terminal(&sandbox, 80, 1, &[["train", "small.toml"].as_slice(), &ENDLESS].concat());
    assert_eq!(code, Some(75), "{written}");
    let screen = on_screen(&written);
    assert!(screen.contains("\nnote: interrupted after saving"), "{screen}");
    assert!(!screen.contains(['█', '░']), "{screen}");
}

#[test]
fn a_second_ctrl_c_leaves_no_half_bar_either_and_a_cursor() {
    let sandbox = Sandbox::new();
    // A full-batch step is slow enough that the run does not end before the second Ctrl-C.
    let slow = [
        "--set",
        "train.batch_size=full",
        "--set",
        "model.channels=[64, 64]",
        "--set",
        "model.hidden=512",
        "--set",
        "data.train_limit=5000",
    ];
    let (code, written) = on_terminal(&sandbox, 80, 2, &[["train", "small.toml"].as_slice(), &ENDLESS, &slow].concat());
    assert!(matches!(code, Some(75 | 130 | -2)), "{code:?}: {written}");
    assert!(!on_screen(&written).contains(['█', '░']), "{written}");
    assert!(!written.contains("\u{1b}[?25l") || written.rfind("\u{1b}[?25h") > written.rfind("\u{1b}[?25l"), "{written}");
}

#[test]
fn mistakes_are_coloured_on_a_terminal_and_nowhere_else() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--set", "train.epochs=1", "--run-dir", "run"]);
    let (code, written) = on_terminal(&sandbox, 100, 0, &["evaluate", "run"]);
    assert_eq!(code, Some(0), "{written}");
    assert!(written.contains("\u{1b}[31m"), "{written}");
    let plain = console::strip_ansi_codes(&written).replace('\r', "");
    assert!(plain.contains("actual \\ predicted"), "{plain}");
    let piped = sandbox.ok(&["evaluate", "run"]).stdout();
    assert_eq!(plain, piped, "the same text");
    let (_, narrow) = on_terminal(&sandbox, 40, 0, &["evaluate", "run"]);
    assert!(!narrow.contains("actual \\ predicted") && narrow.contains("most frequent confusions"), "{narrow}");
}

#[test]
fn many_classes_give_the_most_frequent_confusions_instead_of_a_matrix() {
    let sandbox = Sandbox::new();
    // An untrained network, and classes with long, wide and unusual names.
    let name = |class: u32| match class {
        0 => "a\tb".to_owned(),
        1 => "猫".repeat(40),
        2 => "x".repeat(150),
        _ => format!("class {class}"),
    };
    for class in 0..40 {
        for image in 0..3 {
            png(&sandbox.path(&format!("set/train/{}/{image}.png", name(class))), 8, 8, u8::try_from(class * 6 + image).unwrap());
        }
    }
    sandbox.write("c.toml", "name = \"x\"\n[data]\nsource = \"folder\"\ndir = \"set\"\nimage_size = [8, 8]\n[model]\nkind = \"linear\"\n");
    sandbox.ok(&["train", "c.toml", "--set", "train.epochs=1", "--run-dir", "run"]);
    let (code, written) = on_terminal(&sandbox, 80, 0, &["evaluate", "run", "--split", "train"]);
    assert_eq!(code, Some(0), "{written}");
    assert!(!written.contains("actual \\ predicted") && !written.contains('\t'), "{written}");
    let list = written.split("most frequent confusions").nth(1).unwrap();
    assert_eq!(list.matches(" → ").count(), 1 + 10, "a heading and ten lines: {written}");
    let table = written.split("classes with the lowest F1").nth(1).unwrap().split("most frequent").next().unwrap();
    assert_eq!(table.lines().filter(|line| line.contains(" %")).count(), 20, "{table}");
    assert!(table.lines().all(|line| console::measure_text_width(line.trim_end()) <= 80), "{table}");
    let json = &sandbox.ok(&["evaluate", "run", "--split", "train", "--json"]).json()[0];
    assert_eq!(json["confusion"].as_array().unwrap().len(), 40);
    assert_eq!(json["top_confusions"].as_array().unwrap().len(), 10);
    assert_eq!(json["class_names"][0], "a\tb");
}

#[test]
fn a_screen_of_its_own_needs_a_terminal() {
    let sandbox = Sandbox::new();
    let refused = |arguments: &[&str]| {
        let ran = sandbox.run(arguments);
        assert_eq!((ran.code(), ran.stdout()), (2, String::new()), "{arguments:?}");
        ran.stderr()
    };
    let message = refused(&["train", "small.toml", "--tui", "--run-dir", "run"]);
    assert!(message.contains("`--tui` needs a terminal") && message.contains("leave it out"), "{message}");
    assert!(!sandbox.path("run").exists(), "before anything is written");
    let message = refused(&["train", "small.toml", "--tui", "--json", "--run-dir", "run"]);
    assert!(message.contains("--tui") && message.contains("--json"), "{message}");
    sandbox.ok(&["train", "small.toml", "--run-dir", "run", "--no-report", "--set", "train.epochs=1"]);
    let message = refused(&["resume", "run", "--epochs", "2", "--tui"]);
    assert!(message.contains("`--tui` needs a terminal"), "{message}");
    refused(&["resume", "run", "--epochs", "2", "--tui", "--json"]);
    sandbox.ok(&["sweep", "small.toml", "--grid", "penalty.0.lambda=1", "--set", "train.epochs=1", "--sweep-dir", "sweep", "--no-report"]);
    let message = refused(&["resume", "sweep", "--tui"]);
    assert!(message.contains("`--tui` is for runs, but `sweep` is a sweep; leave it out"), "{message}");
}

#[test]
fn a_screen_of_its_own_is_left_at_the_end_and_by_control_c() {
    let sandbox = Sandbox::new();
    let (code, written) = on_terminal(&sandbox, 80, 0, &["train", "small.toml", "--tui", "--run-dir", "whole"]);
    assert_eq!(code, Some(0), "{written}");
    let (screen, after) = written.split_once("\u{1b}[?1049h").unwrap().1.split_once("\u{1b}[?1049l").unwrap();
    assert!(screen.contains("small · mnist_mini") && after.contains("run folder: whole"), "{written}");
    assert!(after.contains("\u{1b}[?25h"), "the cursor is shown again: {after:?}");
    let (code, written) = on_terminal(&sandbox, 80, 1, &[["train", "small.toml", "--tui"].as_slice(), &ENDLESS].concat());
    assert_eq!(code, Some(75), "{written}");
    let after = written.split("\u{1b}[?1049l").nth(1).unwrap();
    assert!(after.contains("interrupted after saving"), "{written}");
}
