//! The command-line overrides `--set KEY=VALUE` and `--unset KEY`, applied to the TOML table before it is read.

use super::ConfigError;
use super::key_paths::{nearest_path, paths_in};

/// The key and the text of a `--set` argument. The text is needed where TOML finds another type than the config: `name=2024-01-01` is a date in TOML.
#[derive(Clone, Debug)]
pub(super) struct SetArgument {
    /// The dotted key.
    pub(super) key: String,
    /// The text after `=`.
    text: String,
}

/// Sets the value at a dotted key, such as `penalty.0.lambda=20`. A value that is a date or not TOML becomes a string.
pub(super) fn set(table: &mut toml::Table, argument: &str) -> Result<SetArgument, ConfigError> {
    let fail = |problem: String| ConfigError::Set { argument: argument.to_owned(), problem };
    let Some((key, text)) = argument.split_once('=') else {
        return Err(fail("expected KEY=VALUE, such as `train.epochs=3`".to_owned()));
    };
    let value = match toml::from_str::<toml::Table>(&format!("value = {text}")).map(|mut parsed| parsed.remove("value")) {
        Ok(Some(value)) if !value.is_datetime() => value,
        _ => toml::Value::String(text.to_owned()),
    };
    let parts: Vec<&str> = key.trim().split('.').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(fail("expected KEY=VALUE, such as `train.epochs=3`".to_owned()));
    }
    put(table, &parts, value).map_err(fail)?;
    Ok(SetArgument { key: parts.join("."), text: text.to_owned() })
}

/// Sets the value at a dotted key.
pub(super) fn put_value(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<(), ConfigError> {
    let parts: Vec<&str> = key.split('.').collect();
    put(table, &parts, value).map_err(|problem| ConfigError::value(key, format!("can't be set: {problem}")))
}

/// Replaces the value by its text as a string. Returns whether this changed the value.
pub(super) fn set_text(table: &mut toml::Table, argument: &SetArgument) -> bool {
    let parts: Vec<&str> = argument.key.split('.').collect();
    let text = toml::Value::String(argument.text.trim().to_owned());
    find(table, &parts).is_some_and(|found| *found != text) && put(table, &parts, text).is_ok()
}

fn put(table: &mut toml::Table, parts: &[&str], value: toml::Value) -> Result<(), String> {
    let mut root = toml::Value::Table(std::mem::take(table));
    let mut node = &mut root;
    for (depth, part) in parts.iter().enumerate() {
        // A missing node becomes a list if the next key is a number.
        let is_list = parts.get(depth + 1).is_some_and(|next| next.parse::<usize>().is_ok());
        let blank = if is_list { toml::Value::Array(Vec::new()) } else { toml::Value::Table(toml::Table::new()) };
        node = child(node, part, blank)?;
    }
    *node = value;
    if let toml::Value::Table(root) = root {
        *table = root;
    }
    Ok(())
}

/// The child `part` of `node`. Inserts `blank` for a new key or the index after the end of a list.
fn child<'a>(node: &'a mut toml::Value, part: &str, blank: toml::Value) -> Result<&'a mut toml::Value, String> {
    match node {
        toml::Value::Table(table) => Ok(table.entry(part).or_insert(blank)),
        toml::Value::Array(array) => {
            let count = array.len();
            let index = part.parse().ok().filter(|index: &usize| *index <= count);
            let given = match count {
                0 => String::new(),
                1 => "0, or ".to_owned(),
                _ => format!("0 to {}, or ", count - 1),
            };
            let index =
                index.ok_or_else(|| format!("`{part}` is not an index of a list of {count}; expected {given}{count} to add one"))?;
            if index == count {
                array.push(blank);
            }
            Ok(&mut array[index])
        }
        _ => Err(format!("the key of `{part}` holds a single value, not a table")),
    }
}

fn find<'a>(table: &'a toml::Table, parts: &[&str]) -> Option<&'a toml::Value> {
    let (first, rest) = parts.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |node, part| match node {
        toml::Value::Table(table) => table.get(*part),
        toml::Value::Array(array) => array.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Removes keys, all of which must exist. Indices in a list are those of the file, for any order of the arguments.
pub(super) fn unset(table: &mut toml::Table, keys: &[String]) -> Result<(), ConfigError> {
    for key in keys {
        let parts: Vec<&str> = key.trim().split('.').collect();
        if find(table, &parts).is_none() {
            let problem = format!("the config has no such key; {}", nearest_path(key.trim(), &paths_in(table)));
            return Err(ConfigError::Unset { key: key.clone(), problem });
        }
    }
    let mut paths: Vec<Vec<&str>> = keys.iter().map(|key| key.trim().split('.').collect()).collect();
    // From the end of a list to its beginning, so that the other indices stay valid.
    paths.sort_by_key(|parts| parts.iter().map(|part| (part.parse::<usize>().ok(), (*part).to_owned())).collect::<Vec<_>>());
    paths.dedup();
    for parts in paths.iter().rev() {
        remove(table, parts);
    }
    Ok(())
}

fn remove(table: &mut toml::Table, parts: &[&str]) {
    let Some((last, parents)) = parts.split_last() else { return };
    if parents.is_empty() {
        table.remove(*last);
        return;
    }
    let mut parent = table.get_mut(parents[0]);
    for part in &parents[1..] {
        parent = parent.and_then(|node| match node {
            toml::Value::Table(table) => table.get_mut(*part),
            toml::Value::Array(array) => part.parse::<usize>().ok().and_then(|index| array.get_mut(index)),
            _ => None,
        });
    }
    match parent {
        Some(toml::Value::Table(table)) => {
            table.remove(*last);
        }
        Some(toml::Value::Array(array)) => {
            if let Some(index) = last.parse().ok().filter(|index: &usize| *index < array.len()) {
                array.remove(index);
            }
        }
        _ => {}
    }
}
