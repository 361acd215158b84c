//! An experiment as a TOML file says it: read once, checked once, and from then on unable to hold a bad value.
//!
//! Numbers check their own range where they are read ([`number`]); what depends on several keys is checked by
//! [`Experiment::load`], which also fills in every default, so that the resolved config states all it does.

mod augment;
mod averaging;
mod batch_norm;
mod change;
mod data;
mod error;
mod experiment;
mod keys;
mod lambda;
mod load;
mod model;
pub mod number;
mod optimizer;
mod penalty;
mod schedule;
mod unreached;

pub use augment::Augment;
pub use averaging::{Average, Averaging};
pub use data::{Damaged, Data, Normalization, Source, Validation};
pub use error::ConfigError;
pub use experiment::{Backend, BackendKind, Checkpoint, EarlyStopping, Experiment, Implementation, Train, Which};
pub use lambda::{Lambda, Structure};
pub use model::{Init, Model, ModelKind, Padding};
pub use optimizer::{Method, Optimizer};
pub use penalty::{Penalty, PenaltyKind, Scope};
pub use regulus_model::preprocess::Resize;
pub use schedule::{Decay, Schedule};
