//! Errors of a config. A message names the key, the value, the expected values and a remedy.

use std::path::{Path, PathBuf};

use figment::error::{Actual, Kind};
use regulus_model::spelling;

use super::key_paths;

/// A config that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read config `{}`{}", path.display(), did_you_mean(near.as_deref()))]
    Read {
        /// The file.
        path: PathBuf,
        /// A config of a similar name, if the file is not there.
        near: Option<PathBuf>,
        /// Why.
        source: std::io::Error,
    },
    /// A folder instead of a file.
    #[error("config `{}` is a folder; expected a TOML file, which `regulus init --images {}` writes for a folder of images", path.display(), path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// The file is not TOML.
    #[error("config `{}` is not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Position and problem, from the TOML parser.
        message: String,
    },
    /// A key that does not exist.
    #[error("unknown key `{key}`; {hint}")]
    UnknownKey {
        /// The dotted key.
        key: String,
        /// The nearest known key, or all keys.
        hint: String,
    },
    /// A value of the wrong type or out of range.
    #[error("`{key}` {problem}")]
    Value {
        /// The dotted key.
        key: String,
        /// The rest of the sentence after the key, such as `is -0.1; expected a finite number > 0`.
        problem: String,
    },
    /// A problem that a section reports, including the key.
    #[error("{0}")]
    Section(String),
    /// A `--set` that is not `KEY=VALUE` or whose key can't be set.
    #[error("`--set {argument}`: {problem}")]
    Set {
        /// The argument.
        argument: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A `--grid` that is not `KEY=VALUES`, or whose values can't be used.
    #[error("`--grid {argument}`: {problem}")]
    Grid {
        /// The argument, or its key.
        argument: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A sweep that can't be made, as text.
    #[error("{0}")]
    Sweep(String),
    /// A `--rule` that can't be applied.
    #[error("`--rule one-standard-error` {0}")]
    Rule(String),
    /// An `--unset` of a missing key.
    #[error("`--unset {key}`: {problem}")]
    Unset {
        /// The key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ConfigError {
    /// An error about one key.
    pub(crate) fn value(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Value { key: key.into(), problem: problem.into() }
    }

    pub(super) fn from_figment(error: figment::Error) -> Self {
        let key = dotted(&error.path);
        match error.kind {
            Kind::UnknownField(field, known) => {
                let key = if error.path.last() == Some(&field) { key } else { dotted_with(&error.path, &field) };
                let hint = if key.contains('.') { hint_in_section(&field, known) } else { hint_at_root(&field, known) };
                Self::UnknownKey { key, hint }
            }
            Kind::UnknownVariant(found, known) => Self::value(key, format!("is {found:?}; expected one of {}", listed(known))),
            Kind::MissingField(field) => Self::value(dotted_with(&error.path, &field), "is missing; it has no default"),
            Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
                Self::value(key, format!("is {}; expected {}", shown(&found), expectation(&expected)))
            }
            Kind::InvalidLength(found, expected) => Self::value(key, format!("has {found} elements; expected {expected}")),
            // A section that checks several keys together names the full path of the key in backticks.
            // A section in a list or in another section does not know its own path there.
            Kind::Message(message) if message.starts_with('`') => {
                let section = error.path.iter().rev().find(|part| part.parse::<usize>().is_err()).map_or("", String::as_str);
                Self::Section(message.replacen(&format!("`{section}."), &format!("`{key}."), 1))
            }
            // A line of `model.layers`, which the message shows.
            Kind::Message(message) if message.starts_with("layer `") => Self::Section(format!("`{key}`: {message}")),
            Kind::Message(message) => Self::value(key, message),
            other => Self::value(key, format!("can't be read: {other}")),
        }
    }
}

/// The end of a message about a file that is not there.
fn did_you_mean(near: Option<&Path>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean `{}`?", near.display()))
}

fn dotted(path: &[String]) -> String {
    path.join(".")
}

fn dotted_with(path: &[String], field: &str) -> String {
    path.iter().map(String::as_str).chain([field]).collect::<Vec<_>>().join(".")
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The hint for an unknown key of a section: the same key of another section, or a key of the section that is spelled like it.
fn hint_in_section(typed: &str, known: &[&str]) -> String {
    let elsewhere = key_paths::paths_to(typed);
    if elsewhere.is_empty() {
        return spelling::hint(typed, known);
    }
    key_paths::did_you_mean(&elsewhere.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The hint for an unknown key outside of sections. Most often the section is missing.
fn hint_at_root(typed: &str, known: &[&str]) -> String {
    let mut elsewhere = key_paths::paths_to(typed);
    if elsewhere.is_empty() && spelling::nearest(typed, known).is_none() {
        let all = key_paths::all_paths();
        let last: Vec<&str> = all.iter().filter_map(|path| path.rsplit_once('.').map(|(_, key)| key)).collect();
        elsewhere = spelling::nearest(typed, &last).map(key_paths::paths_to).unwrap_or_default();
    }
    if elsewhere.is_empty() {
        spelling::hint(typed, known)
    } else {
        key_paths::did_you_mean(&elsewhere.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

fn shown(found: &Actual) -> String {
    match found {
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        Actual::Str(value) => format!("{value:?}"),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

fn expectation(expected: &str) -> String {
    match expected {
        "f64" | "f32" => "a number".to_owned(),
        "u64" | "usize" => "a whole number from 0 to 2^63 - 1".to_owned(),
        "u32" => "a whole number from 0 to 2^32 - 1".to_owned(),
        "a boolean" | "bool" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other if other.starts_with("enum ") => "a word in quotes".to_owned(),
        other => other.to_owned(),
    }
}
