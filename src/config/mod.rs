//! The configuration of an experiment: read from TOML and checked once, so that later code has only valid values.
//!
//! The types of [`number`] check their range when they are read. [`Experiment::load`] checks conditions on several keys and fills in all defaults,
//! so that the resolved config is complete.

mod augment;
mod averaging;
mod batch_norm;
mod byte_size;
mod class_weights;
mod comments;
mod data;
mod dimension;
mod error;
mod experiment;
mod file;
mod key_paths;
mod keys;
mod lambda;
mod load;
mod markdown;
mod measure;
mod model;
mod model_graph;
mod model_kind;
pub(crate) mod notation;
pub mod number;
mod optimizer;
mod overrides;
mod penalty;
mod reference;
mod schedule;
mod schema;
mod settings;
mod sweep;
mod table;
mod task;
mod validation;
mod warnings;

pub use augment::{Augment, Border, Flip};
pub use averaging::{Average, Averaging};
pub use byte_size::ByteSize;
pub use class_weights::{ClassWeights, Sampling};
pub use data::{DEFAULT_MEMORY, Damaged, Data, Normalization, Source};
pub use dimension::{Dimension, Values};
pub(crate) use dimension::{MAX_TRAININGS, rounded};
pub use error::ConfigError;
pub use experiment::{Backend, BackendKind, Checkpoint, CheckpointKind, EarlyStopping, Experiment, Implementation, Precision, Train};
pub use lambda::{Lambda, Structure};
pub use markdown::reference_in_markdown;
pub use measure::Measure;
pub use model::{IMAGENET, Model};
pub use model_kind::{Init, ModelKind, Padding};
pub use optimizer::{Method, Optimizer, RateGroup};
pub use penalty::{Penalty, PenaltyKind, Scope};
pub use regulus_model::preprocess::{Filter, Resize};
pub use schedule::{Anneal, Decay, Schedule};
pub use sweep::{Criterion, Pruner, Rule, Sweep};
pub use table::ConfigTable;
pub use task::{Denoise, Task};
pub use validation::{Fold, Validation};
