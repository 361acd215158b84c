//! The values that a sweep tries.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::seed::Seed;

/// The largest number of trainings of a sweep.
pub(super) const MAX_TRAININGS: usize = 100_000;

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
    },
}

/// The settings of a trial: a value for each key.
pub type Settings = Vec<(String, toml::Value)>;

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
                Some(values) if items.len() == 1 => return Ok(Self { key, values }),
                Some(values) => list.extend(Self { key: key.clone(), values }.grid()?),
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

    /// The values of a grid. Those of a range are rounded to 4 digits.
    ///
    /// # Errors
    ///
    /// When a range has no count.
    pub fn grid(&self) -> Result<Vec<toml::Value>, ConfigError> {
        match &self.values {
            Values::List(values) => Ok(values.clone()),
            Values::Range { low, high, is_log, count: Some(count) } => {
                let share = |index: usize| index as f64 / (count - 1) as f64;
                let values: Vec<f64> = (0..*count).map(|index| between(*low, *high, *is_log, share(index))).collect();
                if values.windows(2).any(|pair| pair[0] >= pair[1]) {
                    let problem = "the values of the range are the same with 4 digits; list them instead".to_owned();
                    return Err(ConfigError::Grid { argument: self.key.clone(), problem });
                }
                Ok(values.into_iter().map(toml::Value::Float).collect())
            }
            Values::Range { .. } => Err(ConfigError::Grid {
                argument: self.key.clone(),
                problem: "is a range without a count; add one, such as log:0.01:100:9, or search with `--random TRIALS`".to_owned(),
            }),
        }
    }

    /// A random value: of a list with equal probabilities, of a range uniformly, or log-uniformly.
    fn random(&self, rng: &mut impl RngExt) -> toml::Value {
        match &self.values {
            Values::List(values) => values[rng.random_range(0..values.len())].clone(),
            Values::Range { low, high, is_log, .. } => toml::Value::Float(between(*low, *high, *is_log, rng.random_range(0.0..=1.0))),
        }
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
        () => Ok(Some(Values::Range { low, high, is_log, count })),
    }
}

/// The number at `share` of the way from `low` to `high`, with 4 significant digits.
fn between(low: f64, high: f64, is_log: bool, share: f64) -> f64 {
    let number = if is_log { (low.ln() + share * (high / low).ln()).exp() } else { low + share * (high - low) };
    rounded(number).clamp(low, high)
}

/// The number with 4 significant digits.
pub(super) fn rounded(number: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number)
}

/// Every combination of the values, the last dimension fastest.
///
/// # Errors
///
/// As [`Dimension::grid`].
pub(super) fn grid(space: &[Dimension]) -> Result<Vec<Settings>, ConfigError> {
    space.iter().try_fold(vec![Vec::new()], |points, dimension| {
        let values = dimension.grid()?;
        if points.len() * values.len() > MAX_TRAININGS {
            let problem = format!("there are more than {MAX_TRAININGS} combinations; use fewer values, or `--random TRIALS`");
            return Err(ConfigError::Grid { argument: dimension.key.clone(), problem });
        }
        let with = |point: &Settings| {
            let (point, key) = (point.clone(), dimension.key.clone());
            values.clone().into_iter().map(move |value| [point.as_slice(), &[(key.clone(), value)]].concat()).collect::<Vec<_>>()
        };
        Ok(points.iter().flat_map(with).collect())
    })
}

/// `count` random combinations. The first are the same for any count.
pub(super) fn random(space: &[Dimension], count: usize, seed: Seed) -> Vec<Settings> {
    let point = |index: usize| {
        let mut rng = seed.stream("random search", index as u64);
        space.iter().map(|dimension| (dimension.key.clone(), dimension.random(&mut rng))).collect()
    };
    (0..count).map(point).collect()
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
            "a=log:0.1:1:3:4",
        ]
        .map(message);
        insta::assert_snapshot!(messages.join("\n"));
    }

    #[test]
    fn a_grid_has_every_combination_and_random_points_lie_in_the_space() {
        let space = [Dimension::parse("a=1,2").unwrap(), Dimension::parse("b=log:0.1:10:3").unwrap()];
        let points = grid(&space).unwrap();
        assert_eq!(points.len(), 6);
        assert_eq!(points[1], [("a".to_owned(), 1.into()), ("b".to_owned(), 1.0.into())]);
        let drawn = random(&space, 200, Seed(3));
        assert_eq!(random(&space, 5, Seed(3)), drawn[..5]);
        let below = drawn.iter().filter(|point| point[1].1.as_float().is_some_and(|value| value < 1.0)).count();
        assert!((70..130).contains(&below), "half of them is below the geometric mean: {below}");
        assert!(drawn.iter().all(|point| (0.0999..10.01).contains(&point[1].1.as_float().unwrap())));
    }
}
