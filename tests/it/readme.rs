//! The commands in the README and the keys in `docs/config.md`.

use std::path::Path;

use crate::support::Sandbox;

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The commands in blocks marked `sh`. Blocks marked `console` take long, download or build.
fn commands(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines).map(|line| line.split(" #").next().unwrap().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_command_runs() {
    let sandbox = Sandbox::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(root.join("configs")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::create_dir_all(sandbox.path("configs")).unwrap();
        std::fs::copy(&path, sandbox.path("configs").join(path.file_name().unwrap())).unwrap();
    }
    std::fs::create_dir_all(sandbox.path("examples")).unwrap();
    std::fs::copy(root.join("examples/digit.png"), sandbox.path("examples/digit.png")).unwrap();
    let commands = commands(&read("README.md"));
    assert!(commands.len() >= 8, "{commands:?}");
    for command in commands {
        let arguments = command.strip_prefix("cargo run --release -- ").or(command.strip_prefix("regulus "));
        let arguments: Vec<&str> = arguments.unwrap_or_else(|| panic!("`{command}` is no regulus command")).split(' ').collect();
        let ran = sandbox.run(&arguments);
        assert_eq!(ran.code(), 0, "{command}\n{}", ran.stderr());
    }
}

#[test]
fn the_test_command_is_the_one_ci_runs() {
    for file in ["README.md", ".ci/run"] {
        assert!(read(file).contains("\ncargo test --release\n"), "{file}");
    }
}

#[test]
fn every_key_of_a_config_has_a_row() {
    let text = read("docs/config.md");
    let sandbox = Sandbox::new();
    let resolved = sandbox.ok(&["check", "small.toml"]).stdout();
    let mut section = String::new();
    for line in resolved.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            section = format!("{}.", line.trim_matches(['[', ']']));
        } else if let Some((key, _)) = line.split_once(" = ") {
            assert!(text.contains(&format!("\n| `{section}{key}` |")), "`{section}{key}` has no row");
        }
    }
}
