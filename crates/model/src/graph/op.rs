//! The operations a graph is made of.

use serde::{Deserialize, Serialize};

use super::activation::{Relu, Relu6};
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

/// What is said of an operation, in its own file.
pub trait Operation {
    /// The word for it in configs and files.
    fn word(&self) -> &'static str;

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

/// An operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant's type says what it is")]
pub enum Op {
    Conv(Conv),
    Dense(Dense),
    BatchNorm(BatchNorm),
    Relu(Relu),
    Relu6(Relu6),
    MaxPool(MaxPool),
    AveragePool(AveragePool),
    GlobalAveragePool(GlobalAveragePool),
    GlobalMaxPool(GlobalMaxPool),
    Add(Add),
    Subtract(Subtract),
    Flatten(Flatten),
    Dropout(Dropout),
}

impl Op {
    /// The words for all of them in configs.
    pub const WORDS: [&str; 13] = [
        "conv",
        "dense",
        "batch_norm",
        "relu",
        "relu6",
        "max_pool",
        "average_pool",
        "global_average_pool",
        "global_max_pool",
        "add",
        "subtract",
        "flatten",
        "dropout",
    ];

    /// What its file says of it.
    #[must_use]
    pub fn operation(&self) -> &dyn Operation {
        match self {
            Self::Conv(op) => op,
            Self::Dense(op) => op,
            Self::BatchNorm(op) => op,
            Self::Relu(op) => op,
            Self::Relu6(op) => op,
            Self::MaxPool(op) => op,
            Self::AveragePool(op) => op,
            Self::GlobalAveragePool(op) => op,
            Self::GlobalMaxPool(op) => op,
            Self::Add(op) => op,
            Self::Subtract(op) => op,
            Self::Flatten(op) => op,
            Self::Dropout(op) => op,
        }
    }

    /// Reads an operation as a config writes it, such as `conv 32 3x3`, but for its inputs and its name; `classes` is what the word of that name stands for.
    pub(super) fn parse(words: &mut Words, classes: usize) -> Result<Self, String> {
        Ok(match words.next().unwrap_or_default() {
            "conv" => Self::Conv(Conv::parse(words)?),
            "dense" => Self::Dense(Dense::parse(words, classes)?),
            "batch_norm" => Self::BatchNorm(BatchNorm::parse(words)?),
            "relu" => Self::Relu(Relu {}),
            "relu6" => Self::Relu6(Relu6 {}),
            "max_pool" => Self::MaxPool(MaxPool::parse(words)?),
            "average_pool" => Self::AveragePool(AveragePool::parse(words)?),
            "global_average_pool" => Self::GlobalAveragePool(GlobalAveragePool {}),
            "global_max_pool" => Self::GlobalMaxPool(GlobalMaxPool {}),
            "add" => Self::Add(Add {}),
            "subtract" => Self::Subtract(Subtract {}),
            "flatten" => Self::Flatten(Flatten {}),
            "dropout" => Self::Dropout(Dropout::parse(words)?),
            other => return Err(format!("begins with `{other}`; expected one of {}", Self::WORDS.join(", "))),
        })
    }
}

macro_rules! from_operations {
    ($($variant:ident($operation:ty)),*) => {
        $(impl From<$operation> for Op {
            fn from(operation: $operation) -> Self {
                Self::$variant(operation)
            }
        })*
    };
}

from_operations!(
    Conv(Conv),
    Dense(Dense),
    BatchNorm(BatchNorm),
    Relu(Relu),
    Relu6(Relu6),
    MaxPool(MaxPool),
    AveragePool(AveragePool),
    GlobalAveragePool(GlobalAveragePool),
    GlobalMaxPool(GlobalMaxPool),
    Add(Add),
    Subtract(Subtract),
    Flatten(Flatten),
    Dropout(Dropout)
);
