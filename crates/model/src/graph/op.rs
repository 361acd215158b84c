//! The operations a graph is made of.

use serde::{Deserialize, Serialize};

use super::activation::{Gelu, Relu, Relu6};
use super::add::Add;
use super::batch_norm::BatchNorm;
use super::conv::Conv;
use super::dense::Dense;
use super::dropout::Dropout;
use super::flatten::Flatten;
use super::global_pool::{GlobalAveragePool, GlobalMaxPool};
use super::pool::{AveragePool, MaxPool};
use super::subtract::Subtract;
use super::words::Words;
use super::{Features, Parameter};
use crate::spelling;

/// What is said of an operation, in its own file.
pub trait Operation {
    /// How many inputs it takes.
    fn input_count(&self) -> usize {
        1
    }

    /// What it gives for these inputs.
    ///
    /// # Errors
    ///
    /// What does not fit, in words that follow "node `name` (word)".
    fn output(&self, inputs: &[Features]) -> Result<Features, String>;

    /// Its parameters, named without the node's name.
    fn parameters(&self, _input: Features) -> Vec<Parameter> {
        Vec::new()
    }

    /// Multiplications of numbers of the image with weights, for one sample.
    fn multiplications(&self, _input: Features, _output: Features) -> u64 {
        0
    }
}

/// Defines [`Op`] from one list: the word of each operation in configs and files, its type, and how it is read from the words after its own. A variant
/// is named for its type.
macro_rules! operations {
    (|$words:ident, $classes:ident| $($word:literal => $name:ident: $parsed:expr,)*) => {
        /// An operation.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "op")]
        #[expect(missing_docs, reason = "each variant's type says what it is")]
        pub enum Op {
            $(#[serde(rename = $word)] $name($name),)*
        }

        impl Op {
            /// The words for all of them in configs and files.
            pub const WORDS: &[&str] = &[$($word),*];

            /// The word for it in configs and files.
            #[must_use]
            pub const fn word(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $word,)*
                }
            }

            /// What its file says of it.
            #[must_use]
            pub fn operation(&self) -> &dyn Operation {
                match self {
                    $(Self::$name(op) => op,)*
                }
            }

            /// Reads an operation as a config writes it, such as `conv 32 3x3`, but for its inputs and its name; `classes` is what the word of that
            /// name stands for.
            pub(super) fn parse($words: &mut Words, $classes: usize) -> Result<Self, String> {
                let word = $words.next().ok_or_else(|| format!("is empty; {}", spelling::hint("", Self::WORDS)))?;
                Ok(match word {
                    $($word => Self::$name($parsed),)*
                    other => return Err(format!("begins with `{other}`; {}", spelling::hint(other, Self::WORDS))),
                })
            }
        }

        $(impl From<$name> for Op {
            fn from(operation: $name) -> Self {
                Self::$name(operation)
            }
        })*
    };
}

operations! {
    |words, classes|
    "conv" => Conv: Conv::parse(words)?,
    "dense" => Dense: Dense::parse(words, classes)?,
    "batch_norm" => BatchNorm: BatchNorm::parse(words)?,
    "relu" => Relu: Relu {},
    "relu6" => Relu6: Relu6 {},
    "gelu" => Gelu: Gelu {},
    "max_pool" => MaxPool: MaxPool::parse(words)?,
    "average_pool" => AveragePool: AveragePool::parse(words)?,
    "global_average_pool" => GlobalAveragePool: GlobalAveragePool {},
    "global_max_pool" => GlobalMaxPool: GlobalMaxPool {},
    "add" => Add: Add {},
    "subtract" => Subtract: Subtract {},
    "flatten" => Flatten: Flatten {},
    "dropout" => Dropout: Dropout::parse(words)?,
}
