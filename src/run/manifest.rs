//! What a run is: recorded once, when it begins.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{Kernels, Resize};
use crate::data::{Decoding, Normalizer, Preprocess, Reason};
use crate::model::Architecture;

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of Regulus that began it.
    pub version: String,
    /// SHA-256 of `config.toml`.
    pub config_sha256: String,
    /// When it began, in UTC.
    pub started: String,
    /// The backend.
    pub backend: String,
    /// The device, as the backend names it.
    pub device: String,
    /// Threads of the CPU backends.
    pub threads: usize,
    /// The operations it computes with. Runs of version 0.1.0 do not say: there were only stock ones.
    #[serde(default = "stock")]
    pub kernels: Kernels,
    /// The vector instructions of fused operations: others round differently.
    #[serde(default)]
    pub simd: Option<String>,
    /// The data.
    pub dataset: DatasetManifest,
    /// How pixels become numbers.
    pub normalizer: Normalizer,
    /// How image files are brought to the network's size.
    #[serde(default)]
    pub resize: Resize,
    /// How they are decoded. Runs of version 0.1.0 do not say: they decoded in full size.
    #[serde(default)]
    pub decoding: Decoding,
    /// The names of the classes, in the order of their labels.
    pub classes: Vec<String>,
    /// The network.
    pub architecture: Architecture,
    /// Numbers the network learns.
    pub parameters: usize,
}

impl Manifest {
    /// How an image file becomes the network's input.
    #[must_use]
    pub fn preprocess(&self) -> Preprocess {
        Preprocess { shape: self.architecture.input, resize: self.resize, decoding: self.decoding }
    }
}

const fn stock() -> Kernels {
    Kernels::Stock
}

/// The data of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetManifest {
    /// The source.
    pub source: String,
    /// SHA-256 over all of it.
    pub sha256: String,
    /// Samples to train on.
    pub train: usize,
    /// Samples held out.
    pub validation: usize,
    /// Samples to judge by.
    pub test: usize,
    /// How many files and folders were found and not read, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<Reason, usize>,
}
