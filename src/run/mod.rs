//! The run folder: everything a run leaves behind, whole at every instant.

mod checkpoint;
mod error;
mod folder;
mod manifest;
mod metrics_log;
mod recorder;
mod summary;

pub use crate::config::CheckpointKind;
pub use checkpoint::Loaded;
pub use error::RunError;
pub use folder::RunFolder;
pub use manifest::{DatasetManifest, Extension, Manifest};
pub use metrics_log::Mark;
pub use recorder::Recorder;
pub use summary::{EndedBy, Measured, SplitSummary, Status, Summary};
