//! The values that a sweep tries for a key.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::schema::is_whole_number;

/// The largest number of trainings of a sweep.
pub(crate) const MAX_TRAININGS: usize = 100_000;

/// The values of a config key, such as `penalty.0.lambda`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dimension {
    /// The dotted key.
    pub key: String,
    /// Its values.
    pub values: Values,
}

/// The values of a dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// A list.
    List(Vec<toml::Value>),
    /// A range of numbers.
    Range {
        /// The smallest.
        low: f64,
        /// The largest.
        high: f64,
        /// Whether logarithms are evenly spaced; then `low` is above 0.
        is_log: bool,
        /// The number of values in a grid. Random search does not need it.
        count: Option<usize>,
        /// Whether the key takes whole numbers.
        #[serde(default)]
        is_whole: bool,
    },
}

impl Dimension {
    /// Reads `KEY=V1,V2,…`, `KEY=log:LOW:HIGH:COUNT` or `KEY=linear:LOW:HIGH:COUNT`. A range can stand in a list, such as `0,log:0.01:100:9`. Random search needs
    /// no `COUNT`.
    ///
    /// # Errors
    ///
    /// When the text has another form, or the range is empty.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let fail = |problem: &str| ConfigError::Grid { argument: text.to_owned(), problem: problem.to_owned() };
        let (key, values) = text.split_once('=').ok_or_else(|| fail("expected KEY=V1,V2,…, such as `penalty.0.lambda=0,0.1,1`"))?;
        let (key, items) = (key.trim().to_owned(), items(values));
        let mut list = Vec::new();
        for item in &items {
            match range(item).map_err(fail)? {
                Some(values) if items.len() == 1 => return Ok(Self { values: values.of_key(&key), key }),
                Some(values) => list.extend(Self { values: values.of_key(&key), key: key.clone() }.grid()?),
                None => list.push(value(item)),
            }
        }
        if list.is_empty() {
            return Err(fail("has no values"));
        }
        let number = |value: &toml::Value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        let same = |one: &toml::Value, other: &toml::Value| one == other || number(one).is_some_and(|found| Some(found) == number(other));
        if let Some(twice) =
            list.iter().enumerate().find_map(|(index, one)| list[..index].iter().any(|other| same(one, other)).then_some(one))
        {
            return Err(fail(&format!("has the value {twice} twice")));
        }
        Ok(Self { key, values: Values::List(list) })
    }

    /// The values of a grid. Those of a range have 4 digits, or are whole numbers where the key takes no others.
    ///
    /// # Errors
    ///
    /// When a range has no count.
    pub fn grid(&self) -> Result<Vec<toml::Value>, ConfigError> {
        match &self.values {
            Values::List(values) => Ok(values.clone()),
            Values::Range { count: Some(count), is_whole, .. } => {
                let share = |index: usize| index as f64 / (count - 1) as f64;
                let values: Vec<toml::Value> = (0..*count).filter_map(|index| self.values.at(share(index))).collect();
                if values.windows(2).any(|pair| pair[0] == pair[1]) {
                    let kind = if *is_whole { "as whole numbers" } else { "with 4 digits" };
                    let problem = format!("some values of the range are the same {kind}; list them instead");
                    return Err(ConfigError::Grid { argument: self.key.clone(), problem });
                }
                Ok(values)
            }
            Values::Range { .. } => Err(ConfigError::Grid {
                argument: self.key.clone(),
                problem: "is a range without a count; add one, such as log:0.01:100:9, or search with `--random TRIALS`".to_owned(),
            }),
        }
    }
}

impl Values {
    /// The range for a key, which may take whole numbers only.
    fn of_key(mut self, key: &str) -> Self {
        if let Self::Range { is_whole, .. } = &mut self {
            *is_whole = is_whole_number(key);
        }
        self
    }

    /// The number at `share` of the way through a range, in [0, 1]. Returns `None` for a list.
    #[must_use]
    pub fn at(&self, share: f64) -> Option<toml::Value> {
        let Self::Range { low, high, is_log, is_whole, .. } = *self else { return None };
        let number = if is_log { (low.ln() + share * (high / low).ln()).exp() } else { low + share * (high - low) };
        #[expect(clippy::cast_possible_truncation, reason = "a whole number of a config")]
        let value = if is_whole { toml::Value::Integer(number.round() as i64) } else { rounded(number).clamp(low, high).into() };
        Some(value)
    }

    /// The share of the way through a range at which a number is. Returns `None` for a list, and for a value that is not a number.
    #[must_use]
    pub fn share_of(&self, value: &toml::Value) -> Option<f64> {
        let Self::Range { low, high, is_log, .. } = *self else { return None };
        let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))?;
        Some(if is_log { (number / low).ln() / (high / low).ln() } else { (number - low) / (high - low) })
    }
}

/// The texts between commas that are not in brackets, braces or quotes.
fn items(text: &str) -> Vec<&str> {
    let (mut items, mut first, mut depth, mut quote) = (Vec::new(), 0, 0_usize, None);
    for (at, found) in text.char_indices() {
        match (found, quote) {
            ('"' | '\'', None) => quote = Some(found),
            (_, Some(open)) if open == found => quote = None,
            ('[' | '{', None) => depth += 1,
            (']' | '}', None) => depth = depth.saturating_sub(1),
            (',', None) if depth == 0 => {
                items.push(&text[first..at]);
                first = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[first..]);
    items.into_iter().map(str::trim).filter(|item| !item.is_empty()).collect()
}

/// A value as `--set` reads it: TOML, or a text.
fn value(text: &str) -> toml::Value {
    let parsed = toml::from_str::<toml::Table>(&format!("value = {text}")).ok().and_then(|mut table| table.remove("value"));
    parsed.filter(|value| !value.is_datetime()).unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

/// Reads `log:LOW:HIGH:COUNT` or `linear:LOW:HIGH:COUNT`, with or without the count. Returns `Ok(None)` for another text; the error is the problem.
fn range(text: &str) -> Result<Option<Values>, &'static str> {
    let Some((is_log, range)) = ["log:", "linear:"].into_iter().find_map(|word| Some((word == "log:", text.strip_prefix(word)?))) else {
        return Ok(None);
    };
    let parts: Vec<&str> = range.split(':').map(str::trim).collect();
    let numbers: Vec<f64> = parts.iter().take(2).filter_map(|part| part.parse().ok()).filter(|number: &f64| number.is_finite()).collect();
    let count: Option<Option<usize>> = match parts.get(2) {
        None => Some(None),
        Some(count) => count.parse().ok().filter(|count| (2..=MAX_TRAININGS).contains(count)).map(Some),
    };
    let (&[low, high], Some(count), true) = (numbers.as_slice(), count, parts.len() <= 3) else {
        return Err("expected log:LOW:HIGH:COUNT or linear:LOW:HIGH:COUNT, with two numbers and a count from 2 to 100000");
    };
    match () {
        () if low >= high => Err("LOW must be less than HIGH"),
        () if is_log && low <= 0.0 => Err("a logarithmic range begins above 0; list 0 before it, such as 0,log:0.01:100:9"),
        () => Ok(Some(Values::Range { low, high, is_log, count, is_whole: false })),
    }
}

/// The number with 4 significant digits.
pub(crate) fn rounded(number: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<String> {
        Dimension::parse(text).unwrap().grid().unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lists_and_ranges_are_read() {
        assert_eq!(values("penalty.0.lambda=0,0.1,1"), ["0", "0.1", "1"]);
        assert_eq!(values("optimizer.kind=sgd,adam"), ["\"sgd\"", "\"adam\""]);
        assert_eq!(values("model.channels=[8],[16, 32]"), ["[8]", "[16, 32]"]);
        assert_eq!(values("a=log:0.01:100:5"), ["0.01", "0.1", "1.0", "10.0", "100.0"]);
        assert_eq!(values("a=linear:0:0.5:3"), ["0.0", "0.25", "0.5"]);
        assert_eq!(values("a=0,log:1:100:3"), ["0", "1.0", "10.0", "100.0"]);
        assert_eq!(values("train.batch_size=32,full"), ["32", "\"full\""]);
        assert_eq!(values("a=\"x,y\",z"), ["\"x,y\"", "\"z\""]);
        assert_eq!(values("model.hidden=log:8:64:4"), ["8", "16", "32", "64"]);
        assert_eq!(values("train.batch_size=1,linear:20:41:3"), ["1", "20", "31", "41"]);
        let message = |text: &str| Dimension::parse(text).and_then(|dimension| dimension.grid()).unwrap_err().to_string();
        let messages = [
            "lambda",
            "a=",
            "a=1,1",
            "a=0,0.0",
            "a=0,log:1:10",
            "a=log:0:1:3",
            "a=log:1:0.1:3",
            "a=log:1:2:1",
            "a=log:1",
            "a=linear:0:1",
            "model.hidden=linear:1:3:4",
            "a=log:0.1:1:3:4",
        ]
        .map(message);
        insta::assert_snapshot!(messages.join("\n"));
    }
}
