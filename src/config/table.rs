//! A config before it is checked.

use std::collections::BTreeMap;
use std::path::Path;

use figment::Figment;
use figment::providers::Serialized;
use serde::Deserialize;

use super::file::text_of;
use super::key_paths::paths_in;
use super::load::{check_sections, of_added_penalty, read};
use super::overrides::{SetArgument, put_value, set, unset};
use super::{ConfigError, Experiment, Sweep, notation};

/// The section `[sweep]` by itself.
#[derive(Deserialize)]
struct Section {
    sweep: Sweep,
}

/// A config as a TOML table whose values can be set. [`ConfigTable::experiment`] checks it.
#[derive(Clone, Debug)]
pub struct ConfigTable {
    table: toml::Table,
    arguments: Vec<SetArgument>,
    /// The number of penalties in the file.
    penalties: usize,
}

impl ConfigTable {
    /// Reads the config in `path`. First removes the keys `unsets`, then applies the overrides `sets`, each `KEY=VALUE`.
    ///
    /// # Errors
    ///
    /// When the file can't be read, is not TOML, or lacks a key of `unsets`.
    pub fn load(path: &Path, unsets: &[String], sets: &[String]) -> Result<Self, ConfigError> {
        Self::parse(path, &text_of(path)?, unsets, sets)
    }

    /// Reads the text of a config.
    ///
    /// # Errors
    ///
    /// When it is not TOML.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::parse(Path::new("text"), text, &[], &[])
    }

    /// Reads the text of the config `path`.
    fn parse(path: &Path, text: &str, unsets: &[String], sets: &[String]) -> Result<Self, ConfigError> {
        let mut table: toml::Table = toml::from_str(text)
            .map_err(|error| ConfigError::Syntax { path: path.to_owned(), message: error.to_string().trim_end().to_owned() })?;
        unset(&mut table, unsets)?;
        let penalties = table.get("penalty").and_then(toml::Value::as_array).map_or(0, Vec::len);
        let mut config = Self { table, arguments: Vec::new(), penalties };
        sets.iter().try_for_each(|argument| config.set(argument))?;
        Ok(config)
    }

    /// Applies an override `KEY=VALUE`.
    ///
    /// # Errors
    ///
    /// When it has another form, or the key can't be set.
    pub fn set(&mut self, argument: &str) -> Result<(), ConfigError> {
        self.arguments.push(set(&mut self.table, argument)?);
        Ok(())
    }

    /// Sets the value of a dotted key.
    ///
    /// # Errors
    ///
    /// When the key can't be set.
    pub fn set_value(&mut self, key: &str, value: toml::Value) -> Result<(), ConfigError> {
        put_value(&mut self.table, key, value)
    }

    /// The checked experiment.
    ///
    /// # Errors
    ///
    /// When it has an unknown key or an invalid value.
    pub fn experiment(&self) -> Result<Experiment, ConfigError> {
        check_sections(&self.table)?;
        let experiment = read(&mut self.table.clone(), &self.arguments);
        experiment.map_err(|error| of_added_penalty(error, self.penalties, &self.arguments))?.resolve()
    }

    /// The same config with every value in the type that the config expects, and absolute paths.
    ///
    /// # Errors
    ///
    /// As [`ConfigTable::experiment`].
    pub fn settled(&self) -> Result<Self, ConfigError> {
        let experiment = self.experiment()?;
        let mut table = self.table.clone();
        read(&mut table, &self.arguments)?;
        for (key, path) in [("data.dir", &experiment.data.dir), ("model.init", &experiment.model.init)] {
            if let Some(path) = path {
                put_value(&mut table, key, path.to_string_lossy().into_owned().into())?;
            }
        }
        Ok(Self { table, arguments: Vec::new(), penalties: self.penalties })
    }

    /// As [`ConfigTable::settled`], of a config that is complete only with `values`, which the result has again as they were.
    ///
    /// # Errors
    ///
    /// As [`ConfigTable::experiment`], with the values.
    pub fn settled_with(&self, values: &[(String, toml::Value)]) -> Result<Self, ConfigError> {
        let mut complete = self.clone();
        values.iter().try_for_each(|(key, value)| complete.set_value(key, value.clone()))?;
        let mut settled = complete.settled()?;
        for (key, _) in values {
            unset(&mut settled.table, std::slice::from_ref(key))?;
            if let Some(own) = self.value(key) {
                settled.set_value(key, own.clone())?;
            }
        }
        Ok(settled)
    }

    /// The value of a dotted key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&toml::Value> {
        let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
        let step = |value: &'_ toml::Value, part: &str| match value {
            toml::Value::Array(values) => part.parse::<usize>().ok().filter(|index| *index < values.len()),
            _ => None,
        };
        rest.into_iter().flat_map(|rest| rest.split('.')).try_fold(self.table.get(first)?, |value, part| match step(value, part) {
            Some(index) => value.get(index),
            None => value.get(part),
        })
    }

    /// All values by their dotted keys. A list of values is one value; the tables of a list have an index in their key.
    #[must_use]
    pub fn values(&self) -> BTreeMap<String, toml::Value> {
        let is_leaf = |value: &toml::Value| match value {
            toml::Value::Table(_) => false,
            toml::Value::Array(values) => !values.iter().any(toml::Value::is_table),
            _ => true,
        };
        let paths = paths_in(&self.table).into_iter();
        // A path into a list of values has a value that is a leaf at a shorter path.
        let is_element = |path: &str| path.rsplit_once('.').is_some_and(|(list, _)| self.value(list).is_some_and(is_leaf));
        paths
            .filter(|path| !is_element(path))
            .filter_map(|path| Some((path.clone(), self.value(&path).filter(|value| is_leaf(value))?.clone())))
            .collect()
    }

    /// The section `[sweep]`, or its defaults. The rest of the config may be incomplete.
    ///
    /// # Errors
    ///
    /// When the section has an unknown key or an invalid value.
    pub fn sweep(&self) -> Result<Sweep, ConfigError> {
        check_sections(&self.table)?;
        let Some(section) = self.table.get("sweep") else { return Ok(Sweep::default()) };
        let table = toml::Table::from_iter([("sweep".to_owned(), section.clone())]);
        let read = Figment::from(Serialized::defaults(table)).extract::<Section>();
        read.map(|section| section.sweep).map_err(ConfigError::from_figment)
    }

    /// The same config without the section `[sweep]`.
    #[must_use]
    pub fn without_sweep(mut self) -> Self {
        self.table.remove("sweep");
        self
    }

    /// The table as TOML.
    #[must_use]
    pub fn to_toml(&self) -> String {
        notation::in_toml(&self.table.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_dotted_keys() {
        let config = ConfigTable::from_toml(
            "seed = 3\n[model]\nchannels = [4, 6]\nlayers = []\n[[penalty]]\nlambda = 1.0\n[penalty.schedule]\nkind = \"x\"\n",
        )
        .unwrap();
        let values: Vec<(String, String)> = config.values().into_iter().map(|(key, value)| (key, value.to_string())).collect();
        let expected = [
            ("model.channels", "[4, 6]"),
            ("model.layers", "[]"),
            ("penalty.0.lambda", "1.0"),
            ("penalty.0.schedule.kind", "\"x\""),
            ("seed", "3"),
        ];
        assert_eq!(values, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
