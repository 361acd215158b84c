//! The run folder: everything a run leaves behind, whole at every instant.

mod checkpoint;
mod error;
mod folder;
mod manifest;
mod metrics_log;
mod recorder;
mod summary;

pub use checkpoint::{Loaded, Which};
pub use error::RunError;
pub use folder::RunFolder;
pub use manifest::{DatasetManifest, Manifest};
pub use recorder::Recorder;
pub use summary::{SplitSummary, Status, Summary};
