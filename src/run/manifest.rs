//! The manifest of a run, written when it begins and when it is extended.

use std::collections::BTreeMap;

use regulus_model::graph::Graph;
use regulus_model::networks::graph_of;
use regulus_model::preprocess::{Decoding, FileSteps, Filter, Normalizer, Preprocess, Preprocessing, Resize};
use regulus_model::{Description, Task};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::{CheckpointKind, Implementation, Measure, Precision};
use crate::data::Reason;

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of Regulus that started the run.
    pub version: String,
    /// SHA-256 of `config.toml` at the beginning.
    pub config_sha256: String,
    /// The time of the beginning, in UTC.
    pub started: String,
    /// The backend.
    pub backend: String,
    /// The device, as the backend names it.
    pub device: String,
    /// Threads of the CPU backends.
    pub threads: usize,
    /// The implementation of operations. Absent in version 0.1.0, which had only stock operations.
    #[serde(default = "stock")]
    pub kernels: Implementation,
    /// The precision of the numbers that convolutions multiply. Earlier versions only had float32.
    #[serde(default)]
    pub precision: Precision,
    /// The vector instructions of fused operations. Others round differently.
    #[serde(default)]
    pub simd: Option<String>,
    /// The data.
    pub dataset: DatasetManifest,
    /// The normalization of pixels.
    pub normalizer: Normalizer,
    /// The resize mode of image files.
    #[serde(default)]
    pub resize: Resize,
    /// How image files are resized. Earlier versions only had `bilinear`.
    #[serde(default)]
    pub filter: Filter,
    /// The decoding of image files. Absent in version 0.1.0, which decoded in full size.
    #[serde(default)]
    pub decoding: Decoding,
    /// Whether logits are the mean over an image and its mirror image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test_flip: bool,
    /// By how many pixels an image is moved for views that logits are the mean over, as in [`Views`](regulus_model::infer::Views).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub test_shift: u32,
    /// The class names, in the order of the labels.
    pub classes: Vec<String>,
    /// What the network is trained for. Earlier versions only had classification.
    #[serde(default)]
    pub task: Task,
    /// The checkpoint that commands and the summary use. Absent in version 0.1.0, which used the best if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<CheckpointKind>,
    /// The measure by which the best checkpoint is chosen. Earlier versions only had the data loss.
    #[serde(default)]
    pub best_by: Measure,
    /// The weight of each class in the data loss of training, in the order of the labels. Absent where every sample counts the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<Vec<f64>>,
    /// The labels of the penalties, in the order of all lists of λ. Absent in version 0.1.0.
    #[serde(default)]
    pub penalties: Option<Vec<String>>,
    /// The extensions to more epochs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extended: Vec<Extension>,
    /// The graph of the network. Version 0.1.0 used another key.
    #[serde(alias = "architecture", deserialize_with = "graph")]
    pub graph: Graph,
    /// The number of trained parameters.
    pub parameters: usize,
}

/// An extension of a run to more epochs. The manifest is written before `config.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Completed epochs before the extension.
    pub from_epoch: u64,
    /// The new total number of epochs.
    pub to_epoch: u64,
    /// The time of the extension, in UTC.
    pub when: String,
    /// SHA-256 of the new `config.toml`.
    pub config_sha256: String,
}

impl Manifest {
    /// The preprocessing of image files.
    #[must_use]
    pub fn preprocess(&self) -> Preprocess {
        Preprocess { shape: self.graph.input(), resize: self.resize, filter: self.filter, decoding: self.decoding }
    }

    /// Whether the run has a `config.toml` with this SHA-256. If an extension was interrupted, it may still be the one before.
    #[must_use]
    pub fn has_config(&self, sha256: &str) -> bool {
        let extended = self.extended.iter().map(|extension| &extension.config_sha256);
        let known: Vec<&String> = std::iter::once(&self.config_sha256).chain(extended).collect();
        known.iter().rev().take(2).any(|known| *known == sha256)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl From<&Manifest> for Description {
    fn from(manifest: &Manifest) -> Self {
        Self {
            version: manifest.version.clone(),
            graph: manifest.graph.clone(),
            preprocessing: Preprocessing {
                normalizer: manifest.normalizer.clone(),
                resize: manifest.resize,
                filter: manifest.filter,
                decoding: manifest.decoding,
                test_flip: manifest.test_flip,
                test_shift: manifest.test_shift,
                steps: FileSteps::default(),
            },
            classes: manifest.classes.clone(),
            task: manifest.task,
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
    /// SHA-256 over all images and labels.
    pub sha256: String,
    /// The number of training samples.
    pub train: usize,
    /// The number of validation samples.
    pub validation: usize,
    /// The number of test samples.
    pub test: usize,
    /// The numbers of files and folders that are left out, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<Reason, usize>,
}
