//! The order of the modules: a module uses only modules above it.

use std::path::Path;

/// From the top down.
const ORDER: [&str; 30] = [
    "error",
    "atomic",
    "checksum",
    "clock",
    "seed",
    "config",
    "schedule",
    "metrics",
    "numbers",
    "backend",
    "data",
    "network",
    "objective",
    "task",
    "train",
    "session",
    "run",
    "tensorboard",
    "trained",
    "evaluate",
    "predict",
    "export",
    "launch",
    "search",
    "listing",
    "comparison",
    "report",
    "fetch",
    "mlflow",
    "cli",
];

#[test]
fn a_module_uses_only_modules_above_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    let mut modules_seen = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&source).unwrap();
        let module = relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if module == "lib" || module == "main" {
            continue;
        }
        let position = |name: &str| ORDER.iter().position(|module| *module == name);
        let own = position(&module).unwrap_or_else(|| panic!("`{module}` is missing in the order"));
        modules_seen.push(module.clone());
        let text = std::fs::read_to_string(&file).unwrap();
        let product = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for used in product.split("crate::").skip(1).flat_map(first_names) {
            let Some(other) = position(&used) else { continue };
            // `error` gathers the errors of every module, so that a command has one to return.
            assert!(other <= own || module == "error", "{}: `{module}` uses `{used}`, which is below it", relative.display());
        }
    }
    assert!(ORDER.iter().all(|module| modules_seen.iter().any(|seen| seen == module)));
    let architecture = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let listed: Vec<&str> =
        architecture.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line[2..].split(" |").next()).collect();
    for module in ORDER {
        assert!(listed.iter().any(|modules| modules.contains(&format!("`{module}`"))), "the table of ARCHITECTURE.md has no `{module}`");
    }
}

/// The modules after `crate::`; several in braces.
fn first_names(after: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    match after.strip_prefix('{') {
        Some(list) => list.split('}').next().unwrap().split(',').map(name).collect(),
        None => vec![name(after)],
    }
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn only_cli_prints_and_only_backend_knows_features() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(&source).unwrap().display().to_string();
        if !name.starts_with("cli") {
            for word in ["println!", "eprintln!", "stdout()", "stderr()"] {
                assert!(!text.contains(word), "{name} has {word}");
            }
        }
        // The library's list of modules has those of the feature `cli`.
        assert!(name.starts_with("backend") || name == "lib.rs" || !text.contains("feature ="), "{name} knows cargo features");
    }
}
