//! Regulus trains image CNNs whose loss carries an explicit regularization term, and helps choose its coefficient λ.
//!
//! The pipeline, in reading order: [`config`] → [`backend`] → [`data`] → [`network`] → [`objective`] → [`train`] → [`run`] →
//! { [`evaluate`], [`predict`], [`export`] }. [`launch`] combines them into a run; [`cli`] is the command line.

/// Graphs, weights and inference without Burn.
pub use regulus_model as model;

pub mod atomic;
pub mod backend;
pub mod checksum;
pub mod cli;
pub mod clock;
pub mod config;
pub mod data;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod launch;
pub mod metrics;
pub mod network;
pub mod objective;
pub mod predict;
pub mod run;
pub mod schedule;
pub mod seed;
pub mod session;
pub mod train;
pub mod trained;
