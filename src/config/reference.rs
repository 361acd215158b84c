//! What the JSON Schema says about each key, in words.

use serde_json::Value;

use super::Experiment;
use super::key_paths::sections;

/// A section, or the keys outside of sections.
pub(super) struct Section {
    /// The dotted path without indices, such as `penalty.schedule`. Empty for the keys outside of sections.
    pub(super) path: String,
    /// Whether a config can have several.
    pub(super) is_list: bool,
    /// What the section is about.
    pub(super) introduction: String,
    /// Where to read more, in Markdown.
    pub(super) see: String,
    /// The key that decides which of the others there are: `kind` or `source`.
    pub(super) tag: Option<String>,
    pub(super) keys: Vec<Key>,
}

/// A key.
pub(super) struct Key {
    pub(super) name: String,
    /// The meaning.
    pub(super) text: String,
    /// Words that it can have, with the meaning of each. Words of one meaning stand together.
    pub(super) words: Vec<(Vec<String>, String)>,
    /// The values.
    pub(super) values: String,
    /// The default: a value as in TOML, or words.
    pub(super) default: Default,
    /// The kinds that have the key. Empty: all.
    pub(super) kinds: Vec<String>,
    /// The number of kinds of the section.
    pub(super) kinds_of_section: Vec<String>,
}

/// The default of a key.
pub(super) enum Default {
    /// None: the key is required.
    Required,
    /// A value.
    Value(String),
    /// A condition or an origin, in words.
    Words(String),
}

/// All sections, in the order of the file.
pub(super) fn reference() -> Vec<Section> {
    let schema = Experiment::schema();
    sections().into_iter().filter_map(|(path, names)| section(&schema, path, names)).collect()
}

fn section(root: &Value, path: &str, names: &[&str]) -> Option<Section> {
    let parts: Vec<&str> = path.split('.').filter(|part| !part.is_empty()).collect();
    let mut schema = root;
    let mut head = root;
    for part in &parts {
        if part.parse::<usize>().is_ok() {
            schema = schema.get("items")?;
        } else {
            schema = schema.get("properties")?.get(part)?;
            head = schema;
        }
    }
    let properties = schema.get("properties")?;
    let tag = schema["x-tag"].as_str().map(str::to_owned);
    let all_kinds = tag.as_ref().map(|tag| words(&properties[tag.as_str()])).unwrap_or_default();
    let all_kinds: Vec<String> = all_kinds.into_iter().map(|(word, _)| word).collect();
    let required = strings(&schema["required"]);
    let keys = names.iter().map(|name| (name, &properties[*name])).filter(|(_, key)| !is_section(key));
    Some(Section {
        path: parts.iter().filter(|part| part.parse::<usize>().is_err()).copied().collect::<Vec<_>>().join("."),
        is_list: parts.last().is_some_and(|part| part.parse::<usize>().is_ok()),
        introduction: if parts.is_empty() { String::new() } else { string(&head["description"]) },
        see: string(&head["x-see"]),
        tag,
        keys: keys.map(|(name, schema)| key(name, schema, &required, &all_kinds)).collect(),
    })
}

/// Whether a key is a section, or a list of them.
fn is_section(schema: &Value) -> bool {
    schema.get("properties").or(schema["items"].get("properties")).is_some()
}

fn key(name: &str, schema: &Value, required: &[String], all_kinds: &[String]) -> Key {
    let mut meanings: Vec<(Vec<String>, String)> = Vec::new();
    for (word, meaning) in words(schema).into_iter().filter(|(_, meaning)| !meaning.is_empty()) {
        match meanings.iter_mut().find(|(_, known)| *known == meaning) {
            Some((words, _)) => words.push(word),
            None => meanings.push((vec![word], meaning)),
        }
    }
    let default = match (schema["x-default"].as_str(), schema.get("default")) {
        (Some(words), _) => Default::Words(words.to_owned()),
        (None, Some(value)) => Default::Value(in_toml(value)),
        (None, None) if required.iter().any(|key| key == name) => Default::Required,
        (None, None) => Default::Words("none".to_owned()),
    };
    Key {
        name: name.to_owned(),
        text: string(&schema["description"]),
        words: meanings,
        values: values(schema),
        default,
        kinds: strings(&schema["x-kinds"]),
        kinds_of_section: all_kinds.to_vec(),
    }
}

impl Key {
    /// The kinds that have the key, in words. Empty for all.
    pub(super) fn kinds_in_words(&self) -> String {
        let others: Vec<_> = self.kinds_of_section.iter().filter(|kind| !self.kinds.contains(kind)).collect();
        match others[..] {
            _ if self.kinds.is_empty() => String::new(),
            [other] if self.kinds.len() > 3 => format!("all but `{other}`"),
            _ => backticked(&self.kinds),
        }
    }
}

/// The words of an enumeration, with their descriptions.
fn words(schema: &Value) -> Vec<(String, String)> {
    let one = |schema: &Value| {
        let description = string(&schema["description"]);
        schema["const"].as_str().map(|word| (word.to_owned(), description))
    };
    match schema["oneOf"].as_array() {
        Some(variants) => variants.iter().filter_map(one).collect(),
        None => strings(&schema["enum"]).into_iter().map(|word| (word, String::new())).collect(),
    }
}

/// The values that a schema accepts, in words.
fn values(schema: &Value) -> String {
    if let Some(words) = schema["x-values"].as_str() {
        return words.to_owned();
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.iter().map(values).collect::<Vec<_>>().join(" or ").replace("`, `", "` or `");
    }
    let words = words(schema);
    if !words.is_empty() {
        return backticked(&words.into_iter().map(|(word, _)| word).collect::<Vec<_>>());
    }
    if let Some(numbers) = schema["enum"].as_array() {
        return numbers.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
    }
    match schema["type"].as_str() {
        Some("boolean") => "true or false".to_owned(),
        Some("integer") => format!("whole number {}", range(schema)),
        Some("number") => format!("number {}", range(schema)),
        Some("array") => {
            let items = values(&schema["items"]).replacen("number", "numbers", 1);
            schema["maxItems"].as_u64().map_or_else(|| format!("list of {items}"), |count| format!("list of {count} {items}"))
        }
        _ => "text".to_owned(),
    }
}

/// A range, such as `≥ 1` or `in [0, 1)`.
fn range(schema: &Value) -> String {
    let bound = |word: &str| schema.get(word).map(in_toml);
    let low = bound("minimum").map(|low| ('[', low)).or_else(|| bound("exclusiveMinimum").map(|low| ('(', low)));
    let high = bound("maximum").map(|high| (']', high)).or_else(|| bound("exclusiveMaximum").map(|high| (')', high)));
    match (low, high) {
        (Some(('[', low)), Some((']', high))) => format!("from {low} to {high}"),
        (Some((open, low)), Some((close, high))) => format!("in {open}{low}, {high}{close}"),
        (Some(('[', low)), None) => format!("≥ {low}"),
        (Some((_, low)), None) => format!("> {low}"),
        _ => String::new(),
    }
}

/// A value as in TOML. Whole numbers have no fraction.
fn in_toml(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or_default();
            if number.fract() == 0.0 { format!("{number:.0}") } else { format!("{number:?}") }
        }
        Value::Array(values) => format!("[{}]", values.iter().map(in_toml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

/// Words in backticks, separated by commas.
pub(super) fn backticked(words: &[String]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
