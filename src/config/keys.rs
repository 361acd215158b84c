//! Sections in which a key belongs to some kinds only, such as `momentum` to the optimizers `sgd` and `rmsprop`.
//!
//! The macro `keys!` defines such a section. A key's text, type, default and kinds stand in one place. The parser, its messages, the JSON Schema and
//! the reference take them from there.

use schemars::Schema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::ConfigError;
use super::schema::one_line;

/// Defines a section as in the file. After the kind, each key is a line
///
/// ```text
/// /// What it means.
/// key: Type = default, default "the default in words", schema { more of the JSON Schema }, for Kind | OtherKind;
/// ```
///
/// of which only name and type are required. Without `for` it belongs to every kind. The struct has an option for each key, and for each key with a
/// default a method that returns the value or the default.
macro_rules! keys {
    (
        $vis:vis struct $Keys:ident in $section:literal {
            $(#[doc = $tag_text:literal])*
            $tag_vis:vis $tag:ident: $Kind:ident $(= $tag_default:expr)?;
            $(
                $(#[doc = $text:literal])*
                $key_vis:vis $key:ident: $Type:ty $(= $default:expr)? $(, default $words:literal)? $(, schema $more:tt)? $(, for $($kind:ident)|+)?;
            )*
        }
    ) => {
        /// The section as in the file.
        #[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        $vis struct $Keys {
            #[serde(skip_serializing_if = "Option::is_none")]
            $tag_vis $tag: Option<$Kind>,
            $(
                #[serde(skip_serializing_if = "Option::is_none")]
                $key_vis $key: Option<$Type>,
            )*
        }

        impl $Keys {
            /// No keys but the kind.
            #[allow(dead_code, reason = "not every section needs it")]
            $tag_vis fn of(kind: $Kind) -> Self {
                Self { $tag: Some(kind), ..Self::default() }
            }

            /// The kind, if every given key applies to it.
            $tag_vis fn checked_kind(&self) -> Result<$Kind, $crate::config::ConfigError> {
                let keys = [$($crate::config::keys::Key {
                    name: stringify!($key),
                    is_given: self.$key.is_some(),
                    kinds: &[$($($Kind::$kind),+)?],
                }),*];
                let default: Option<$Kind> = None $(.or(Some($tag_default)))?;
                $crate::config::keys::checked_kind([$section, stringify!($tag)], self.$tag, default, &keys)
            }

            $($(
                $key_vis fn $key(&self) -> $Type {
                    self.$key.as_ref().map_or_else(|| $default, Clone::clone)
                }
            )?)*
        }

        impl schemars::JsonSchema for $Keys {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $section.into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let default: Option<$Kind> = None $(.or(Some($tag_default)))?;
                let mut section = $crate::config::keys::Section::new(stringify!($tag), generator.subschema_for::<$Kind>(), &[$($tag_text),*], default);
                $(
                    let schema = generator.subschema_for::<$Type>();
                    $(let schema = $crate::config::keys::with(schema, "default", &$default);)?
                    $(let schema = $crate::config::keys::with(schema, "x-default", &$words);)?
                    $(let schema = $crate::config::keys::merged(schema, serde_json::json!($more));)?
                    section.add(stringify!($key), schema, &[$($text),*], &[$($($Kind::$kind),+)?]);
                )*
                section.finish()
            }
        }
    };
}
pub(super) use keys;

/// A key, whether it is given, and the kinds it belongs to. None: all.
pub(super) struct Key<'a, Kind> {
    pub(super) name: &'a str,
    pub(super) is_given: bool,
    pub(super) kinds: &'a [Kind],
}

/// The kind that is given, or the default.
///
/// # Errors
///
/// When there is neither, or a given key belongs to other kinds.
pub(super) fn checked_kind<Kind: Copy + PartialEq + Serialize>(
    [section, tag]: [&str; 2],
    given: Option<Kind>,
    default: Option<Kind>,
    keys: &[Key<Kind>],
) -> Result<Kind, ConfigError> {
    let Some(kind) = given.or(default) else { return Err(ConfigError::value(format!("{section}.{tag}"), "is missing; it has no default")) };
    let of_kinds = || keys.iter().filter(|key| !key.kinds.is_empty());
    let Some(foreign) = of_kinds().find(|key| key.is_given && !key.kinds.contains(&kind)) else { return Ok(kind) };
    let own: Vec<_> = of_kinds().filter(|key| key.kinds.contains(&kind)).map(|key| format!("`{}`", key.name)).collect();
    let own = if own.is_empty() { "no keys of its own".to_owned() } else { own.join(", ") };
    let suffix = if default == Some(kind) { ", the default" } else { "" };
    let problem = format!("does not apply to {tag} `{}`{suffix}, which has {own}", word(&kind));
    Err(ConfigError::value(format!("{section}.{}", foreign.name), problem))
}

/// A kind as in configs.
fn word(kind: &impl Serialize) -> String {
    serde_json::to_value(kind).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A schema with one more word.
pub(super) fn with(mut schema: Schema, word: &str, value: &impl Serialize) -> Schema {
    schema.insert(word.to_owned(), json!(value));
    schema
}

/// A schema with more words, also inside of its objects.
pub(super) fn merged(schema: Schema, more: Value) -> Schema {
    fn merge(target: &mut Value, more: Value) {
        match (target, more) {
            (Value::Object(target), Value::Object(more)) => {
                more.into_iter().for_each(|(key, value)| merge(target.entry(key).or_insert(Value::Null), value));
            }
            (target, more) => *target = more,
        }
    }
    let mut merged = schema.to_value();
    merge(&mut merged, more);
    Schema::try_from(merged).unwrap_or_default()
}

/// The JSON Schema of a section while it is built.
pub(super) struct Section<Kind> {
    tag: &'static str,
    default: Option<Kind>,
    properties: Map<String, Value>,
    /// For each key of some kinds the schema of a section that has it.
    conditions: Vec<Value>,
}

impl<Kind: Copy + PartialEq + Serialize> Section<Kind> {
    pub(super) fn new(tag: &'static str, schema: Schema, text: &[&str], default: Option<Kind>) -> Self {
        let schema = if let Some(default) = default { with(schema, "default", &default) } else { schema };
        let mut section = Self { tag, default, properties: Map::new(), conditions: Vec::new() };
        section.add(tag, schema, text, &[]);
        section
    }

    pub(super) fn add(&mut self, name: &str, schema: Schema, text: &[&str], kinds: &[Kind]) {
        let mut schema = with(schema, "description", &one_line(&text.concat()));
        if !kinds.is_empty() {
            schema = with(schema, "x-kinds", &kinds);
            let is_default = self.default.is_some_and(|default| kinds.contains(&default));
            let required: &[&str] = if is_default { &[] } else { &[self.tag] };
            let then = json!({ "properties": { self.tag: { "enum": kinds } }, "required": required });
            self.conditions.push(json!({ "if": { "required": [name] }, "then": then }));
        }
        self.properties.insert(name.to_owned(), schema.to_value());
    }

    pub(super) fn finish(self) -> Schema {
        let required: &[&str] = if self.default.is_none() { &[self.tag] } else { &[] };
        schemars::json_schema!({
            "type": "object",
            "additionalProperties": false,
            "properties": self.properties,
            "required": required,
            "x-tag": self.tag,
            // Not `dependentSchemas`, which Taplo ignores.
            "allOf": self.conditions,
        })
    }
}
