//! The commands in the README, in `docs/commands.md`, `docs/choosing-lambda.md`, `docs/cluster.md`, `docs/report.md` and `docs/trackers.md`, the reference in `docs/config.md`, and the links of the docs.

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
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (page, least) in [
        ("README.md", 8),
        ("docs/commands.md", 10),
        ("docs/choosing-lambda.md", 1),
        ("docs/cluster.md", 4),
        ("docs/report.md", 2),
        ("docs/trackers.md", 3),
    ] {
        let sandbox = Sandbox::new();
        for entry in std::fs::read_dir(root.join("configs")).unwrap() {
            let path = entry.unwrap().path();
            std::fs::create_dir_all(sandbox.path("configs")).unwrap();
            std::fs::copy(&path, sandbox.path("configs").join(path.file_name().unwrap())).unwrap();
        }
        std::fs::create_dir_all(sandbox.path("examples")).unwrap();
        std::fs::copy(root.join("examples/digit.png"), sandbox.path("examples/digit.png")).unwrap();
        let commands = commands(&read(page));
        assert!(commands.len() >= least, "{page}: {commands:?}");
        for command in commands {
            let arguments = command.strip_prefix("cargo run --release -- ").or(command.strip_prefix("regulus "));
            let arguments: Vec<&str> = arguments.unwrap_or_else(|| panic!("`{command}` is no regulus command")).split(' ').collect();
            let ran = sandbox.run(&arguments);
            assert_eq!(ran.code(), 0, "{page}: {command}\n{}", ran.stderr());
        }
    }
}

/// The `--set` and `--unset` arguments in the introduction of `docs/config.md` work with a config that has a model and a penalty.
#[test]
fn the_overrides_of_the_reference_work() {
    let page = read("docs/config.md");
    let introduction = page.split("\n## ").next().unwrap();
    let examples: Vec<&str> =
        introduction.split('`').filter(|code| code.starts_with("--") && code.contains('=') && !code.contains("KEY")).collect();
    assert_eq!(examples.len(), 4, "{examples:?}");
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/mnist_l2.toml");
    let sandbox = Sandbox::new();
    for example in examples {
        let arguments: Vec<&str> = ["check", "--config-only", config].into_iter().chain(example.split(' ')).collect();
        sandbox.ok(&arguments);
    }
}

#[test]
fn the_test_command_is_the_one_ci_runs() {
    for file in ["README.md", ".ci/run"] {
        assert!(read(file).contains("\ncargo test --release\n"), "{file}");
    }
}

/// `REGULUS_UPDATE_DOCS=1 cargo test --release --test it reference_of_keys` writes the file.
#[test]
fn the_reference_of_keys_is_up_to_date() {
    let reference = regulus::config::reference_in_markdown();
    if std::env::var_os("REGULUS_UPDATE_DOCS").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md"), &reference).unwrap();
    }
    assert!(read("docs/config.md") == reference, "docs/config.md is out of date: run the tests with REGULUS_UPDATE_DOCS=1");
}

#[test]
fn the_links_of_the_docs_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    for page in pages.chain(["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"].map(|name| root.join(name))) {
        let text = std::fs::read_to_string(&page).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let linked = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(linked.exists(), "{}: `{target}` is not there", page.display());
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(&linked).unwrap();
                assert!(
                    text.lines().any(|line| anchor_of(line).is_some_and(|known| known == anchor)),
                    "{}: no heading for `{target}`",
                    page.display()
                );
            }
        }
    }
}

/// The anchor of a heading.
fn anchor_of(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    Some(heading.to_lowercase().chars().filter(|c| plain(*c)).map(|c| if c == ' ' { '-' } else { c }).collect())
}
