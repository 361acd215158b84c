//! An experiment as a TOML file says it: read once, checked once, and from then on unable to hold a bad value.
//!
//! Numbers check their own range where they are read ([`number`]); what depends on several keys is checked by
//! [`Experiment::load`], which also fills in every default, so that the resolved config states all it does.

mod data;
mod error;
mod experiment;
mod load;
pub mod number;
mod optimizer;
mod schedule;

pub use data::{Data, Normalization, Source};
pub use error::ConfigError;
pub use experiment::{
    Backend, BackendKind, Checkpoint, EarlyStopping, Experiment, Init, Kernels, Model, Padding, Penalty, PenaltyKind, Scope, Train,
};
pub use optimizer::{Method, Optimizer};
pub use schedule::{Decay, Schedule};
