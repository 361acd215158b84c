//! What a run is: recorded when it begins, and when it is extended.

use std::collections::BTreeMap;

use regulus_model::Description;
use regulus_model::graph::Graph;
use regulus_model::networks::graph_of;
use regulus_model::preprocess::{Decoding, FileSteps, Normalizer, Preprocess, Preprocessing, Resize};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::{CheckpointKind, Implementation};
use crate::data::Reason;

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of Regulus that began it.
    pub version: String,
    /// SHA-256 of the `config.toml` it began with.
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
    pub kernels: Implementation,
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
    /// The checkpoint that commands take and the summary is about. Runs of before there was a choice do not say: the best, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<CheckpointKind>,
    /// What each penalty is called, in the order of every list of λ.
    #[serde(default)]
    pub penalties: Vec<String>,
    /// How it was trained on after it had ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extended: Vec<Extension>,
    /// The network. Runs of version 0.1.0 describe it under another key.
    #[serde(alias = "architecture", deserialize_with = "graph")]
    pub graph: Graph,
    /// Numbers the network learns.
    pub parameters: usize,
}

/// A run that is trained on, to more epochs than it had: recorded before its `config.toml` is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Epochs done before.
    pub from_epoch: u64,
    /// Epochs in all.
    pub to_epoch: u64,
    /// When, in UTC.
    pub when: String,
    /// SHA-256 of `config.toml` from then on.
    pub config_sha256: String,
}

impl Manifest {
    /// How an image file becomes the network's input.
    #[must_use]
    pub fn preprocess(&self) -> Preprocess {
        Preprocess { shape: self.graph.input(), resize: self.resize, decoding: self.decoding }
    }

    /// Whether a `config.toml` of this SHA-256 is the run's. While an extension is written it may still be the one before.
    #[must_use]
    pub fn knows_config(&self, sha256: &str) -> bool {
        let extended = self.extended.iter().map(|extension| &extension.config_sha256);
        let known: Vec<&String> = std::iter::once(&self.config_sha256).chain(extended).collect();
        known.iter().rev().take(2).any(|known| *known == sha256)
    }
}

impl From<&Manifest> for Description {
    fn from(manifest: &Manifest) -> Self {
        Self {
            version: manifest.version.clone(),
            graph: manifest.graph.clone(),
            preprocessing: Preprocessing {
                normalizer: manifest.normalizer.clone(),
                resize: manifest.resize,
                decoding: manifest.decoding,
                steps: FileSteps::default(),
            },
            classes: manifest.classes.clone(),
        }
    }
}

fn graph<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Graph, D::Error> {
    graph_of(serde_json::Value::deserialize(deserializer)?).map_err(D::Error::custom)
}

const fn stock() -> Implementation {
    Implementation::Stock
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
