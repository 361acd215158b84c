//! `--set KEY=VALUE` and `--unset KEY`: changes of a config before it is read.

use super::ConfigError;
use super::keys::{nearest_path, parent_paths};

/// A value that was set, for as long as its type is not known: `name=2024-01-01` is a date in TOML, and a string in a config.
pub(super) struct Typed {
    /// The dotted key.
    pub(super) key: String,
    /// What was typed after `=`.
    text: String,
}

/// Sets the value at a dotted key, such as `penalty.0.lambda=20`. A value that is not TOML, or is a date, is taken as a string.
pub(super) fn set(table: &mut toml::Table, argument: &str) -> Result<Typed, ConfigError> {
    let fail = |problem: String| ConfigError::Set { argument: argument.to_owned(), problem };
    let Some((key, typed)) = argument.split_once('=') else {
        return Err(fail("expected KEY=VALUE, such as `train.epochs=3`".to_owned()));
    };
    let value = match toml::from_str::<toml::Table>(&format!("value = {typed}")).map(|mut parsed| parsed.remove("value")) {
        Ok(Some(value)) if !value.is_datetime() => value,
        _ => toml::Value::String(typed.to_owned()),
    };
    let parts: Vec<&str> = key.trim().split('.').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(fail("expected KEY=VALUE, such as `train.epochs=3`".to_owned()));
    }
    put(table, &parts, value).map_err(fail)?;
    Ok(Typed { key: parts.join("."), text: typed.to_owned() })
}

/// Puts the text that was typed in place of what TOML makes of it; whether that is another value.
pub(super) fn set_text(table: &mut toml::Table, typed: &Typed) -> bool {
    let parts: Vec<&str> = typed.key.split('.').collect();
    let text = toml::Value::String(typed.text.trim().to_owned());
    find(table, &parts).is_some_and(|found| *found != text) && put(table, &parts, text).is_ok()
}

fn put(table: &mut toml::Table, parts: &[&str], value: toml::Value) -> Result<(), String> {
    let mut root = toml::Value::Table(std::mem::take(table));
    let mut place = &mut root;
    for (number, part) in parts.iter().enumerate() {
        // What is not there yet is a list if its own key is a number.
        let is_list = parts.get(number + 1).is_some_and(|next| next.parse::<usize>().is_ok());
        let blank = if is_list { toml::Value::Array(Vec::new()) } else { toml::Value::Table(toml::Table::new()) };
        place = step_into(place, part, blank)?;
    }
    *place = value;
    if let toml::Value::Table(root) = root {
        *table = root;
    }
    Ok(())
}

/// The place called `part`, made as `blank` if it is a new key or the first place after the end of a list.
fn step_into<'a>(place: &'a mut toml::Value, part: &str, blank: toml::Value) -> Result<&'a mut toml::Value, String> {
    match place {
        toml::Value::Table(table) => Ok(table.entry(part).or_insert(blank)),
        toml::Value::Array(array) => {
            let count = array.len();
            let index = part.parse().ok().filter(|index: &usize| *index <= count);
            let index =
                index.ok_or_else(|| format!("`{part}` is no place in a list of {count}; name one by its number, counted from 0"))?;
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
    rest.iter().try_fold(table.get(*first)?, |place, part| match place {
        toml::Value::Table(table) => table.get(*part),
        toml::Value::Array(array) => array.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Takes keys away, each of which must be there. Places in a list are those of the file, whatever the order of the arguments.
pub(super) fn unset(table: &mut toml::Table, keys: &[String]) -> Result<(), ConfigError> {
    for key in keys {
        let parts: Vec<&str> = key.trim().split('.').collect();
        if find(table, &parts).is_none() {
            let problem = format!("the config has no such key; {}", nearest_path(key.trim(), &parent_paths(table)));
            return Err(ConfigError::Unset { key: key.clone(), problem });
        }
    }
    let mut places: Vec<Vec<&str>> = keys.iter().map(|key| key.trim().split('.').collect()).collect();
    // From the end of a list to its beginning, so that what is still to be taken away keeps its place.
    places.sort_by_key(|parts| parts.iter().map(|part| (part.parse::<usize>().ok(), (*part).to_owned())).collect::<Vec<_>>());
    places.dedup();
    for parts in places.iter().rev() {
        remove(table, parts);
    }
    Ok(())
}

fn remove(table: &mut toml::Table, parts: &[&str]) {
    let Some((last, above)) = parts.split_last() else { return };
    if above.is_empty() {
        table.remove(*last);
        return;
    }
    let mut place = table.get_mut(above[0]);
    for part in &above[1..] {
        place = place.and_then(|place| match place {
            toml::Value::Table(table) => table.get_mut(*part),
            toml::Value::Array(array) => part.parse::<usize>().ok().and_then(|index| array.get_mut(index)),
            _ => None,
        });
    }
    match place {
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
