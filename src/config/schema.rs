//! The JSON Schema of a config, made of the types that read it.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::Value;

use super::Experiment;

impl Experiment {
    /// The JSON Schema of a config, draft 2020-12. Its own words: `x-kinds`, the kinds that have a key; `x-default`, the default in words;
    /// `x-values`, the values in words; `x-see`, where to read more; `x-tag`, the key that selects the others
    /// of its section.
    #[must_use]
    pub fn schema() -> Value {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        let mut schema = settings.with_transform(RecursiveTransform(tidy)).into_generator().into_root_schema_for::<Self>();
        schema.insert("title".to_owned(), "Regulus experiment".into());
        schema.to_value()
    }
}

/// Joins the lines of descriptions. Removes formats, which are names of Rust's types, and defaults of whole sections, whose keys have their own.
fn tidy(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = one_line(text);
    }
    schema.remove("format");
    if schema.get("default").is_some_and(Value::is_object) {
        schema.remove("default");
    }
}

/// Text without line breaks.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Implements `JsonSchema` for a type by an expression that takes the generator.
macro_rules! inline_schema {
    ($name:ident, $schema:expr) => {
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema = $schema;
                schema(generator)
            }
        }
    };
}
pub(super) use inline_schema;

/// The schema of a number or one of `words`.
pub(super) fn number_or_words<Number: JsonSchema>(generator: &mut SchemaGenerator, words: &[&str]) -> Schema {
    schemars::json_schema!({ "anyOf": [generator.subschema_for::<Number>(), { "type": "string", "enum": words }] })
}

/// Whether a dotted key, such as `model.hidden`, takes no numbers but whole ones.
pub(super) fn is_whole_number(key: &str) -> bool {
    let root = Experiment::schema();
    let find = |schema, part: &str| -> Option<&Value> {
        let schema: &Value = schema;
        if part.parse::<usize>().is_ok() { schema.get("items") } else { schema.get("properties")?.get(part) }
    };
    let Some(schema) = key.split('.').try_fold(&root, find) else { return false };
    let is_integer = |schema: &Value| schema["type"] == "integer";
    is_integer(schema) || schema["anyOf"].as_array().is_some_and(|kinds| kinds.iter().any(is_integer))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::config::{Experiment, key_paths};

    /// Calls `visit` with the path and schema of each key.
    fn visit(prefix: &str, schema: &Value, found: &mut impl FnMut(&str, &Value)) {
        for (key, schema) in schema["properties"].as_object().unwrap() {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            found(&path, schema);
            if schema.get("properties").is_some() {
                assert_eq!(schema["additionalProperties"], false, "{path}");
                visit(&path, schema, found);
            } else if schema["items"].get("properties").is_some() {
                assert_eq!(schema["items"]["additionalProperties"], false, "{path}");
                visit(&format!("{path}.0"), &schema["items"], found);
            }
        }
    }

    #[test]
    fn the_schema_describes_every_key_that_the_parser_knows() {
        let mut paths = Vec::new();
        visit("", &Experiment::schema(), &mut |path, schema| {
            assert!(schema["description"].as_str().is_some_and(|text| text.ends_with(['.', '…'])), "{path} has no description");
            paths.push(path.to_owned());
        });
        let mut known = key_paths::all_paths();
        known.sort();
        paths.sort();
        assert_eq!(paths, known);
    }

    #[test]
    fn the_defaults_of_the_schema_are_those_of_the_parser() {
        let starts = [
            "[data]\nsource = \"mnist_mini\"\n[[penalty]]\nkind = \"l2\"\nlambda = 1\n",
            "optimizer.kind = \"sgd\"\nschedule.kind = \"step\"\naveraging.kind = \"ema\"\n[data]\nsource = \"folder\"\ndir = \"d\"\n\
             [[penalty]]\nkind = \"elastic_net\"\nlambda = 1\nschedule.kind = \"cosine\"\n",
            "optimizer.kind = \"adamw\"\nschedule.kind = \"linear\"\n[data]\nsource = \"idx\"\ndir = \"d\"\n\
             [[penalty]]\nkind = \"l2\"\nlambda = 1\nschedule.kind = \"evidence\"\n",
            "[data]\nsource = \"mnist\"\n[[penalty]]\nkind = \"l1\"\nlambda = 1\nschedule.kind = \"step\"\n",
            "optimizer.kind = \"rmsprop\"\n[data]\nsource = \"mnist\"\n[[penalty]]\nkind = \"decoupled\"\nschedule.kind = \"cpr\"\n",
            "model.kind = \"dncnn\"\n[data]\nsource = \"mnist\"\n[task]\nkind = \"denoise\"\n",
            "[sweep]\nfolds = 5\n[data]\nsource = \"mnist\"\n",
            "schedule.kind = \"one_cycle\"\n[data]\nsource = \"mnist\"\n",
            "schedule.kind = \"plateau\"\n[data]\nsource = \"mnist\"\nvalidation = 0.1\n[[penalty]]\nkind = \"l2\"\nschedule.kind = \"adaptive\"\n",
        ];
        let mut compared = std::collections::BTreeSet::new();
        for start in starts {
            let text = format!("name = \"a\"\n{start}");
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &text).unwrap();
            let resolved = serde_json::to_value(Experiment::load(file.path(), &[]).unwrap()).unwrap();
            let given: toml::Table = toml::from_str(&text).unwrap();
            let given = serde_json::to_value(given).unwrap();
            visit("", &Experiment::schema(), &mut |path, schema| {
                let pointer = format!("/{}", path.replace('.', "/"));
                let is_section = schema.get("properties").is_some() || path == "penalty";
                if let (Some(value), None, false) = (resolved.pointer(&pointer), given.pointer(&pointer), is_section)
                    && let Some(default) = schema.get("default")
                {
                    assert_eq!(value, default, "{path}");
                    compared.insert(path.to_owned());
                }
            });
        }
        let mut with_default = std::collections::BTreeSet::new();
        visit("", &Experiment::schema(), &mut |path, schema| {
            if schema.get("default").is_some() && path != "penalty" {
                with_default.insert(path.to_owned());
            }
        });
        assert_eq!(compared, with_default);
    }
}
