//! The dotted paths of config keys, and hints for wrong ones.

use serde::de::DeserializeOwned;

use super::experiment::{Backend, Checkpoint, EarlyStopping, Train};
use super::{Augment, Averaging, Data, Experiment, Lambda, Model, Optimizer, Penalty, RateGroup, Schedule, Sweep, Task};

/// The sections with their keys, in the order of the file. Keys outside of sections have an empty path. Penalties and groups have the index 0.
pub(super) fn sections() -> [(&'static str, &'static [&'static str]); 16] {
    [
        ("", keys_of::<Experiment>()),
        ("backend", keys_of::<Backend>()),
        ("task", keys_of::<Task>()),
        ("data", keys_of::<Data>()),
        ("model", keys_of::<Model>()),
        ("penalty.0", keys_of::<Penalty>()),
        ("penalty.0.schedule", keys_of::<Lambda>()),
        ("optimizer", keys_of::<Optimizer>()),
        ("optimizer.group.0", keys_of::<RateGroup>()),
        ("schedule", keys_of::<Schedule>()),
        ("train", keys_of::<Train>()),
        ("augment", keys_of::<Augment>()),
        ("averaging", keys_of::<Averaging>()),
        ("early_stopping", keys_of::<EarlyStopping>()),
        ("checkpoint", keys_of::<Checkpoint>()),
        ("sweep", keys_of::<Sweep>()),
    ]
}

/// The paths of all keys. Keys of penalties and groups have the index 0.
pub(super) fn all_paths() -> Vec<String> {
    let path = |section: &str, key: &str| if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
    sections().iter().flat_map(|(section, keys)| keys.iter().map(|key| path(section, key))).collect()
}

/// The keys of a section, taken from the error that serde returns for an impossible key.
fn keys_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let impossible = figment::value::Dict::from([(String::new(), true.into())]);
    let read: Result<T, _> = figment::Figment::from(figment::providers::Serialized::defaults(impossible)).extract();
    match read.map_err(|error| error.kind) {
        Err(figment::error::Kind::UnknownField(_, known)) => known,
        _ => &[],
    }
}

/// The paths of all tables and values in a table.
pub(super) fn paths_in(table: &toml::Table) -> Vec<String> {
    fn add(prefix: &str, value: &toml::Value, paths: &mut Vec<String>) {
        let mut child = |key: &str, value: &toml::Value| {
            let path = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
            add(&path, value, paths);
            paths.push(path);
        };
        match value {
            toml::Value::Table(table) => table.iter().for_each(|(key, value)| child(key, value)),
            toml::Value::Array(array) => array.iter().enumerate().for_each(|(index, value)| child(&index.to_string(), value)),
            _ => {}
        }
    }
    let mut paths = Vec::new();
    add("", &toml::Value::Table(table.clone()), &mut paths);
    paths.sort();
    paths
}

/// The paths that end with this key.
pub(super) fn paths_to(key: &str) -> Vec<String> {
    all_paths().into_iter().filter(|path| path.contains('.') && last(path) == key).collect()
}

/// The hint for the unknown path `typed`: paths with the same last key, or the nearest path.
pub(super) fn nearest_path(typed: &str, paths: &[String]) -> String {
    let same: Vec<&str> = paths.iter().map(String::as_str).filter(|path| last(path) == last(typed)).collect();
    if !same.is_empty() {
        return did_you_mean(&same);
    }
    regulus_model::spelling::hint(typed, &paths.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The question `did you mean …?` with one or several paths.
pub(super) fn did_you_mean(paths: &[&str]) -> String {
    let listed: Vec<String> = paths.iter().map(|path| format!("`{path}`")).collect();
    match listed.split_last() {
        Some((last, [])) => format!("did you mean {last}?"),
        Some((last, others)) => format!("did you mean {} or {last}?", others.join(", ")),
        None => String::new(),
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}
