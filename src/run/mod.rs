//! The run folder: manifest, metrics, statistics of the weights, checkpoints, evaluation and summary. All files are valid at any time.

mod checkpoint;
mod error;
mod folder;
mod lock;
mod manifest;
mod metrics_log;
mod recorder;
mod weights_log;

pub use crate::config::CheckpointKind;
pub use checkpoint::LoadedCheckpoint;
pub(crate) use checkpoint::{load_checkpoint, save_checkpoint};
pub use error::RunError;
pub use folder::RunFolder;
pub(crate) use folder::SWEEP;
pub(crate) use lock::{LOCK, is_locked, lock};
pub use manifest::{DatasetManifest, Extension, Manifest};
pub use metrics_log::MetricsPrefix;
pub use recorder::Recorder;
pub use weights_log::{WeightStatistics, WeightsRow};
