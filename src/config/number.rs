//! Numbers with a checked range.

use std::fmt;

use schemars::Schema;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::schema::{inline_schema, number_or_words};

/// The range of a number: its check, its message and its JSON Schema.
struct Range {
    /// The smallest number, and whether it is in the range.
    min: (f64, bool),
    /// The largest number, and whether it is in the range. `None`: any finite number.
    max: Option<(f64, bool)>,
}

impl Range {
    fn contains(&self, value: f64) -> bool {
        let (min, with_min) = self.min;
        let above = value > min || (with_min && value >= min);
        let below = self.max.is_none_or(|(max, with_max)| value < max || (with_max && value <= max));
        value.is_finite() && above && below
    }

    /// The range in words, such as `a number in [0, 1)`.
    fn expected(&self) -> String {
        let (min, with_min) = self.min;
        match self.max {
            None => format!("a finite number {} {min}", if with_min { ">=" } else { ">" }),
            Some((max, with_max)) => {
                let [open, close] = [if with_min { '[' } else { '(' }, if with_max { ']' } else { ')' }];
                format!("a number in {open}{min}, {max}{close}")
            }
        }
    }

    fn schema(&self) -> Schema {
        let mut schema = schemars::json_schema!({ "type": "number" });
        let (min, with_min) = self.min;
        schema.insert(if with_min { "minimum" } else { "exclusiveMinimum" }.to_owned(), min.into());
        if let Some((max, with_max)) = self.max {
            schema.insert(if with_max { "maximum" } else { "exclusiveMaximum" }.to_owned(), max.into());
        }
        schema
    }
}

macro_rules! checked_number {
    ($(#[$doc:meta])* $name:ident, $range:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name(f64);

        impl $name {
            const RANGE: Range = $range;

            /// The number.
            #[must_use]
            pub const fn get(self) -> f64 {
                self.0
            }

            /// A constant in range.
            pub(super) const fn literal(value: f64) -> Self {
                Self(value)
            }
        }

        impl TryFrom<f64> for $name {
            type Error = String;

            fn try_from(value: f64) -> Result<Self, String> {
                if Self::RANGE.contains(value) { Ok(Self(value)) } else { Err(format!("is {value}; expected {}", Self::RANGE.expected())) }
            }
        }

        impl From<$name> for f64 {
            fn from(number: $name) -> f64 {
                number.0
            }
        }

        inline_schema!($name, |_| $name::RANGE.schema());
    };
}

checked_number!(
    /// A finite number greater than 0.
    Positive,
    Range { min: (0.0, false), max: None }
);
checked_number!(
    /// A finite number of at least 0.
    NonNegative,
    Range { min: (0.0, true), max: None }
);
checked_number!(
    /// A number of at least 0 and less than 1.
    Fraction,
    Range { min: (0.0, true), max: Some((1.0, false)) }
);
checked_number!(
    /// A number greater than 0 and at most 1.
    Share,
    Range { min: (0.0, false), max: Some((1.0, true)) }
);
checked_number!(
    /// A finite number of at least 1.
    Ratio,
    Range { min: (1.0, true), max: None }
);
checked_number!(
    /// A part of the colour circle, from 0 to 1/2.
    HueTurn,
    Range { min: (0.0, true), max: Some((0.5, true)) }
);
checked_number!(
    /// An angle from 0 to 180 degrees.
    Degrees,
    Range { min: (0.0, true), max: Some((180.0, true)) }
);

/// A whole number of at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "u64")]
pub struct Count(usize);

impl Count {
    /// The number.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }

    /// A constant of at least 1.
    pub(super) const fn literal(value: usize) -> Self {
        Self(value)
    }

    /// The smallest number.
    const MIN: usize = 1;

    /// The range in words.
    fn expected() -> String {
        format!("a whole number >= {}", Self::MIN)
    }
}

impl TryFrom<u64> for Count {
    type Error = String;

    fn try_from(value: u64) -> Result<Self, String> {
        match usize::try_from(value) {
            Ok(count @ Self::MIN..) if value <= i64::MAX.unsigned_abs() => Ok(Self(count)),
            _ => Err(format!("is {value}; expected {}", Self::expected())),
        }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        count_or_word(deserializer, &[])?.map_err(|word| de::Error::custom(format!("is {word:?}; expected {}", Self::expected())))
    }
}

inline_schema!(Count, |_| schemars::json_schema!({ "type": "integer", "minimum": Count::MIN }));

/// Height and width in pixels. A list of other lengths is refused, of which an array would take the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Sides(pub(super) [Count; 2]);

impl<'de> Deserialize<'de> for Sides {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sides = Vec::<Count>::deserialize(deserializer)?;
        let is_other = |sides: Vec<Count>| de::Error::invalid_length(sides.len(), &"height and width: an array of length 2");
        sides.try_into().map(Self).map_err(is_other)
    }
}

inline_schema!(Sides, |generator| <[Count; 2]>::json_schema(generator));

impl From<Count> for u64 {
    fn from(count: Count) -> u64 {
        count.0 as u64
    }
}

/// Reads a count or one of `words`, such as `batch_size = 32` or `batch_size = "full"`.
pub(super) fn count_or_word<'de, D: Deserializer<'de>>(
    deserializer: D,
    words: &'static [&'static str],
) -> Result<Result<Count, &'static str>, D::Error> {
    struct CountOrWord(&'static [&'static str]);

    impl CountOrWord {
        fn expected(&self) -> String {
            self.0.iter().fold(Count::expected(), |expected, word| format!("{expected} or {word:?}"))
        }
    }

    impl Visitor<'_> for CountOrWord {
        type Value = Result<Count, &'static str>;

        fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
            formatter.write_str(&self.expected())
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
            Count::try_from(value).map(Ok).map_err(|_| E::custom(format!("is {value}; expected {}", self.expected())))
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
            match u64::try_from(value) {
                Ok(value) => self.visit_u64(value),
                Err(_) => Err(E::custom(format!("is {value}; expected {}", self.expected()))),
            }
        }

        fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number in range")]
            if value.fract() == 0.0 && (1.0..=9.0e15).contains(&value) {
                self.visit_u64(value as u64)
            } else {
                Err(E::custom(format!("is {value:?}; expected {}", self.expected())))
            }
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
            match self.0.iter().find(|word| **word == value) {
                Some(word) => Ok(Err(word)),
                None => Err(E::custom(format!("is {value:?}; expected {}", self.expected()))),
            }
        }
    }

    deserializer.deserialize_any(CountOrWord(words))
}

/// Reads a number or a text, such as `validation = 0.1` or `validation = "folder"`. `expected` describes the accepted values.
pub(super) fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D, expected: &'static str) -> Result<Result<f64, String>, D::Error> {
    struct NumberOrText(&'static str);

    impl Visitor<'_> for NumberOrText {
        type Value = Result<f64, String>;

        fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
            formatter.write_str(self.0)
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
            Ok(Ok(value as f64))
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
            Ok(Ok(value as f64))
        }

        fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
            Ok(Ok(value))
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
            Ok(Err(value.to_owned()))
        }
    }

    deserializer.deserialize_any(NumberOrText(expected))
}

/// The words of [`BatchSize`].
const FULL: &str = "full";

/// The number of samples per step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSize {
    /// A fixed number. The last batch of an epoch may be smaller.
    Samples(Count),
    /// All training samples: full-batch gradient descent.
    Full,
}

impl Serialize for BatchSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Samples(count) => count.serialize(serializer),
            Self::Full => serializer.serialize_str(FULL),
        }
    }
}

impl<'de> Deserialize<'de> for BatchSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(count_or_word(deserializer, &[FULL])?.map_or(Self::Full, Self::Samples))
    }
}

inline_schema!(BatchSize, |generator| number_or_words::<Count>(generator, &[FULL]));

/// The words of [`Samples`].
const SAMPLES: [&str; 2] = ["train", "batch"];

/// The `m` in λ/(2m)·‖w‖².
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Samples {
    /// The number of samples in the training split.
    Train,
    /// The number of samples in the batch.
    Batch,
    /// A given number.
    Number(Count),
}

impl Serialize for Samples {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Train => serializer.serialize_str(SAMPLES[0]),
            Self::Batch => serializer.serialize_str(SAMPLES[1]),
            Self::Number(count) => count.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Samples {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match count_or_word(deserializer, &SAMPLES)? {
            Ok(count) => Self::Number(count),
            Err(word) if word == SAMPLES[1] => Self::Batch,
            Err(_) => Self::Train,
        })
    }
}

inline_schema!(Samples, |generator| number_or_words::<Count>(generator, &SAMPLES));
