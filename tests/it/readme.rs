//! The configs of the README and of the manual, the reference in `docs/config.md`, the list of pages, and the links. Their commands are in
//! `manual_commands.rs`.

use std::path::Path;

use crate::support::Sandbox;

pub(crate) fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The README and the pages of the manual.
pub(crate) fn pages() -> Vec<String> {
    let docs = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    let mut names: Vec<String> = docs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "md"));
    names.sort();
    std::iter::once("README.md".to_owned()).chain(names.iter().map(|name| format!("docs/{name}"))).collect()
}

#[test]
fn whole_configs_in_the_docs_can_be_used() {
    let mut count = 0;
    for page in pages() {
        let text = read(&page);
        let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        for config in blocks.filter(|block| block.starts_with("name = ")) {
            let sandbox = Sandbox::new();
            sandbox.write("config.toml", config);
            sandbox.ok(&["check", "config.toml", "--config-only"]);
            count += 1;
        }
    }
    assert!(count >= 3, "{count}");
}

#[test]
fn the_manual_lists_every_page_once() {
    let summary = read("docs/SUMMARY.md");
    let mut listed: Vec<String> =
        summary.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(|page| format!("docs/{page}")).collect();
    listed.sort();
    let pages: Vec<String> = pages().into_iter().filter(|page| !matches!(page.as_str(), "README.md" | "docs/SUMMARY.md")).collect();
    assert_eq!(listed, pages);
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
    let others = ["CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md", "benches/choosing/README.md"].map(str::to_owned);
    for page in pages().into_iter().chain(others).map(|page| root.join(page)) {
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

/// Papers are linked in one form.
#[test]
fn every_number_of_arxiv_is_a_link() {
    let mut count = 0;
    for page in pages() {
        let text = read(&page).split_whitespace().collect::<Vec<_>>().join(" ");
        let mut parts = text.split("arXiv ");
        let mut before = parts.next().unwrap();
        for part in parts {
            let number: String = part.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            let is_link = before.ends_with('[') && part.starts_with(&format!("{number}](https://arxiv.org/abs/{number})"));
            assert!(is_link, "{page}: `arXiv {number}` is no link such as [arXiv {number}](https://arxiv.org/abs/{number})");
            before = part;
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

/// Sources that are not papers: each program is linked on the page that compares them.
#[test]
fn what_is_said_of_other_programs_has_its_source() {
    let page = read("docs/comparison.md");
    for host in
        ["keras.io", "lightning.ai", "huggingface.co/docs/timm", "docs.ultralytics.com", "optuna.readthedocs.io", "docs.pytorch.org"]
    {
        assert!(page.matches(&format!("](https://{host}/")).count() > 1, "{host}");
    }
}

/// Prose is read in editors and in differences, too. Tables, code and links can't be broken.
#[test]
fn prose_fits_160_columns() {
    for page in pages() {
        let mut is_code = false;
        for line in read(&page).lines() {
            is_code ^= line.starts_with("```");
            let is_prose = !is_code && !line.trim_start().starts_with(['|', '#']) && !line.contains("](http") && !line.starts_with("![");
            assert!(!is_prose || line.chars().count() <= 160, "{page}: {line}");
        }
    }
}

/// The anchor of a heading.
fn anchor_of(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    Some(heading.to_lowercase().chars().filter(|c| plain(*c)).map(|c| if c == ' ' { '-' } else { c }).collect())
}
