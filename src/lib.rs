//! Regulus trains image CNNs whose loss carries an explicit regularization term, and helps choose its coefficient λ.
//!
//! ```
//! use regulus::config::Experiment;
//! use regulus::data;
//! use regulus::session::Session;
//! use regulus::train::Silent;
//!
//! let config = r#"
//! name = "first"
//!
//! [data]
//! source = "mnist_mini"
//! train_limit = 500
//!
//! [[penalty]]
//! kind = "l2"
//! lambda = 0.1
//!
//! [train]
//! epochs = 2
//! "#;
//! let experiment = Experiment::from_toml(config)?;
//! let data = data::load(&experiment)?;
//! let summary = Session::new(experiment, data)?.train(&mut Silent)?;
//! assert!(summary.test.is_some_and(|test| test.metrics["accuracy"] > 0.5));
//! # Ok::<(), regulus::error::Error>(())
//! ```
//!
//! The folder `examples` has a program each for training on images in memory, a penalty of one's own, prediction in an application, and every backend of
//! the build.
//!
//! The pipeline, in reading order: [`config`] → [`backend`] → [`data`] → [`network`] → [`objective`] → [`task`] → [`train`] → [`session`] → [`run`] →
//! { [`evaluate`], [`predict`], [`export`], [`report`] }. [`launch`] records a session in a run folder; [`listing`] finds run folders, [`comparison`] compares them. The module `cli` is the command line; it, `fetch` and `mlflow` need the
//! cargo feature `cli`, which is on by default.
//!
//! The memory allocator is a choice of the program. glibc's returns large buffers to the system after every step; `regulus` itself uses `mimalloc`.

/// Graphs, weights and inference without Burn.
pub use regulus_model as model;

pub mod atomic;
pub mod backend;
pub mod checksum;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod comparison;
pub mod config;
pub mod data;
pub mod error;
pub mod evaluate;
pub mod export;
#[cfg(feature = "cli")]
pub mod fetch;
pub mod launch;
pub mod listing;
pub mod metrics;
#[cfg(feature = "cli")]
pub mod mlflow;
pub mod network;
pub mod numbers;
pub mod objective;
pub mod predict;
pub mod report;
pub mod run;
pub mod schedule;
pub mod search;
pub mod seed;
pub mod session;
pub mod task;
pub mod tensorboard;
pub mod train;
pub mod trained;
