//! An experiment as a flat list of settings, for programs that compare runs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Experiment;

impl Experiment {
    /// Every setting by its dotted path, such as `optimizer.learning_rate` or `penalty.0.lambda`: a boolean, a number or text. A list of plain values is text, such
    /// as `[32,64]`.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, Value> {
        let table: toml::Table = self.to_toml().parse().unwrap_or_else(|error| unreachable!("it was written as TOML: {error}"));
        let mut settings = BTreeMap::new();
        table.into_iter().for_each(|(key, value)| add(&mut settings, key, value));
        settings
    }
}

fn add(settings: &mut BTreeMap<String, Value>, path: String, value: toml::Value) {
    let value = match value {
        toml::Value::Table(table) => {
            return table.into_iter().for_each(|(key, value)| add(settings, format!("{path}.{key}"), value));
        }
        toml::Value::Array(list) if list.iter().any(toml::Value::is_table) => {
            let numbered = list.into_iter().enumerate();
            return numbered.for_each(|(index, value)| add(settings, format!("{path}.{index}"), value));
        }
        toml::Value::Array(list) => Value::String(serde_json::to_string(&list).unwrap_or_default()),
        toml::Value::Boolean(value) => Value::Bool(value),
        toml::Value::Integer(value) => value.into(),
        toml::Value::Float(value) => value.into(),
        toml::Value::String(value) => Value::String(value),
        toml::Value::Datetime(value) => Value::String(value.to_string()),
    };
    settings.insert(path, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_plain_values_by_their_paths() {
        let text = "name = \"a\"\n[data]\nsource = \"mnist_mini\"\n[model]\nchannels = [4, 6]\n[[penalty]]\nkind = \"l2\"\nlambda = 0.5\n";
        let settings = Experiment::from_toml(text).unwrap().settings();
        assert_eq!(settings["model.channels"], "[4,6]");
        assert_eq!((&settings["penalty.0.kind"], &settings["penalty.0.lambda"]), (&"l2".into(), &0.5.into()));
        assert_eq!((&settings["name"], &settings["data.shuffle"]), (&"a".into(), &true.into()));
        assert!(settings.values().all(|value| !value.is_array() && !value.is_object() && !value.is_null()));
    }
}
