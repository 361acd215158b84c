//! Numbers with a checked range.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

macro_rules! checked_number {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name(f64);

        impl $name {
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
                let accepts: fn(f64) -> bool = $accepts;
                if value.is_finite() && accepts(value) {
                    Ok(Self(value))
                } else {
                    Err(format!("is {value}; expected {}", $expected))
                }
            }
        }

        impl From<$name> for f64 {
            fn from(number: $name) -> f64 {
                number.0
            }
        }
    };
}

checked_number!(
    /// A finite number greater than 0.
    Positive,
    "a finite number > 0",
    |value| value > 0.0
);
checked_number!(
    /// A finite number of at least 0.
    NonNegative,
    "a finite number >= 0",
    |value| value >= 0.0
);
checked_number!(
    /// A number of at least 0 and less than 1.
    Fraction,
    "a number in [0, 1)",
    |value| (0.0..1.0).contains(&value)
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
}

impl TryFrom<u64> for Count {
    type Error = String;

    fn try_from(value: u64) -> Result<Self, String> {
        match usize::try_from(value) {
            Ok(count @ 1..) if value <= i64::MAX.unsigned_abs() => Ok(Self(count)),
            _ => Err(format!("is {value}; expected a whole number >= 1")),
        }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        count_or_word(deserializer, &[])?.map_err(|word| de::Error::custom(format!("is {word:?}; expected a whole number >= 1")))
    }
}

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
            let number = "a whole number >= 1".to_owned();
            self.0.iter().fold(number, |expected, word| format!("{expected} or {word:?}"))
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

/// Reads a number or one of `words`, such as `validation = 0.1` or `validation = "folder"`. `expected` describes the accepted values.
pub(super) fn number_or_word<'de, D: Deserializer<'de>>(
    deserializer: D,
    words: &'static [&'static str],
    expected: &'static str,
) -> Result<Result<f64, &'static str>, D::Error> {
    struct NumberOrWord(&'static [&'static str], &'static str);

    impl Visitor<'_> for NumberOrWord {
        type Value = Result<f64, &'static str>;

        fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
            formatter.write_str(self.1)
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
            match self.0.iter().find(|word| **word == value) {
                Some(word) => Ok(Err(word)),
                None => Err(E::custom(format!("is {value:?}; expected {}", self.1))),
            }
        }
    }

    deserializer.deserialize_any(NumberOrWord(words, expected))
}

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
            Self::Full => serializer.serialize_str("full"),
        }
    }
}

impl<'de> Deserialize<'de> for BatchSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(count_or_word(deserializer, &["full"])?.map_or(Self::Full, Self::Samples))
    }
}

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
            Self::Train => serializer.serialize_str("train"),
            Self::Batch => serializer.serialize_str("batch"),
            Self::Number(count) => count.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Samples {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match count_or_word(deserializer, &["train", "batch"])? {
            Ok(count) => Self::Number(count),
            Err("batch") => Self::Batch,
            Err(_) => Self::Train,
        })
    }
}
