//! The key `data.validation`.

use std::fmt;

use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::number::{Count, Fraction, number_or_text};
use super::schema::inline_schema;

/// The origin of the validation split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Validation {
    /// A random fraction of the training samples, stratified by class; 0: no validation split.
    Fraction(Fraction),
    /// Source `folder`: the images of the folder `val`, `valid` or `validation` beside `train`. Source `shards`: the validation shards. Source `memory`: the
    /// given validation images.
    Folder,
    /// No validation split: the images that [`Validation::Folder`] would take are training images, too.
    Joined,
    /// One fold of the training samples, stratified by class, for cross-validation.
    Fold(Fold),
}

/// One of `count` folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    /// The fold, from 1 to `count`.
    pub number: Count,
    /// The number of folds, at least 2.
    pub count: Count,
}

impl Validation {
    /// No validation split.
    pub const NONE: Self = Self::Fraction(Fraction::literal(0.0));
}

impl Fold {
    /// Fold `number` of `count`. Returns `None` if there is no such fold.
    #[must_use]
    pub fn new(number: usize, count: usize) -> Option<Self> {
        (1 <= number && number <= count && count >= 2).then(|| Self { number: Count::literal(number), count: Count::literal(count) })
    }

    /// Reads the text `fold 2/5`.
    fn parse(text: &str) -> Option<Self> {
        let (number, count) = text.strip_prefix(FOLD)?.trim_start().split_once('/')?;
        Self::new(number.parse().ok()?, count.parse().ok()?)
    }
}

impl fmt::Display for Fold {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{FOLD} {}/{}", self.number.get(), self.count.get())
    }
}

impl Serialize for Validation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fraction(fraction) => fraction.serialize(serializer),
            Self::Folder => serializer.serialize_str(FOLDER),
            Self::Joined => serializer.serialize_str(JOINED),
            Self::Fold(fold) => serializer.serialize_str(&fold.to_string()),
        }
    }
}

impl<'de> Deserialize<'de> for Validation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a number in [0, 1), \"folder\", \"joined\", or a fold such as \"fold 2/5\"";
        let refuse = |value: String| de::Error::custom(format!("is {value}; expected {expected}"));
        match number_or_text(deserializer, expected)? {
            Ok(number) => Fraction::try_from(number).map(Self::Fraction).map_err(|_| refuse(number.to_string())),
            Err(text) if text == FOLDER => Ok(Self::Folder),
            Err(text) if text == JOINED => Ok(Self::Joined),
            Err(text) => Fold::parse(&text).map(Self::Fold).ok_or_else(|| refuse(format!("{text:?}"))),
        }
    }
}

pub(super) const FOLDER: &str = "folder";
pub(super) const JOINED: &str = "joined";
const FOLD: &str = "fold";

inline_schema!(Validation, |generator| {
    let fraction = generator.subschema_for::<Fraction>();
    let words = schemars::json_schema!({ "type": "string", "enum": [FOLDER, JOINED] });
    let fold = schemars::json_schema!({ "type": "string", "pattern": "^fold *[0-9]+/[0-9]+$", "x-values": "`\"fold 2/5\"`" });
    schemars::json_schema!({ "anyOf": [fraction, words, fold] })
});
