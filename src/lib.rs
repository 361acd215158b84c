//! Regulus trains image CNNs whose loss carries an explicit regularization term, and helps choose its coefficient λ.
//!
//! The pipeline, in reading order: [`config`] → [`backend`] (on [`kernels`]) → [`data`] → [`model`] → [`objective`] → [`train`] → [`run`] →
//! { [`evaluate`], [`predict`], [`export`] }, put together by [`launch`] and, for people, by [`cli`].

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
pub mod kernels;
pub mod launch;
pub mod metrics;
pub mod model;
pub mod objective;
pub mod predict;
pub mod run;
pub mod seed;
pub mod train;
pub mod trained;
