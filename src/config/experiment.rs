//! The sections of an experiment.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::number::{BatchSize, Count, Fraction, NonNegative};
use super::{Augment, Averaging, ConfigError, Data, Model, Optimizer, Penalty, Schedule};
use crate::seed::Seed;

/// One experiment: everything that decides what a run computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// The name runs are filed under: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// The seed of every random stream.
    #[serde(default)]
    pub seed: Seed,
    /// The folder runs are kept in.
    #[serde(default = "artifacts")]
    pub artifacts: PathBuf,
    /// Where it computes.
    #[serde(default)]
    pub backend: Backend,
    /// What it learns from.
    pub data: Data,
    /// What it trains.
    #[serde(default)]
    pub model: Model,
    /// The regularization terms of the loss.
    #[serde(default)]
    pub penalty: Vec<Penalty>,
    /// How it descends.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// How the learning rate changes.
    #[serde(default)]
    pub schedule: Schedule,
    /// How long and in what steps.
    #[serde(default)]
    pub train: Train,
    /// How training images are changed.
    #[serde(default)]
    pub augment: Augment,
    /// What is kept in place of the last weights.
    #[serde(default)]
    pub averaging: Averaging,
    /// When to stop before the last epoch.
    #[serde(default)]
    pub early_stopping: EarlyStopping,
    /// When to save besides every epoch.
    #[serde(default)]
    pub checkpoint: Checkpoint,
}

impl Default for Seed {
    fn default() -> Self {
        Self(42)
    }
}

fn artifacts() -> PathBuf {
    PathBuf::from("artifacts")
}

/// Where an experiment computes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backend {
    /// The backend.
    pub kind: BackendKind,
    /// Threads of the CPU backends; 0: one per core.
    pub threads: usize,
    /// What the CPU backends compute with.
    pub kernels: Implementation,
    /// Which device of the backend, counted from 0 as `regulus backends` lists them.
    pub device: usize,
}

impl Default for Backend {
    fn default() -> Self {
        Self { kind: BackendKind::Flex, threads: 0, kernels: Implementation::Fused, device: 0 }
    }
}

/// What a CPU backend computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Implementation {
    /// This program's own fused operations.
    Fused,
    /// Burn's stock operations, as on GPUs.
    Stock,
}

/// The backends there are; a build holds those of its cargo features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// Burn's CPU backend.
    Flex,
    /// Burn's older CPU backend on the `ndarray` crate.
    Ndarray,
    /// GPUs through WGSL shaders: Vulkan, Metal, DirectX 12 or OpenGL, as the machine has them.
    Wgpu,
    /// GPUs through Vulkan with SPIR-V shaders.
    Vulkan,
    /// Apple GPUs through Metal with MSL shaders.
    Metal,
    /// NVIDIA GPUs through CUDA.
    Cuda,
}

impl BackendKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Flex, Self::Ndarray, Self::Wgpu, Self::Vulkan, Self::Metal, Self::Cuda];

    /// The word for it in configs, and the cargo feature that builds it in.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Cuda => "cuda",
        }
    }
}

/// How long an experiment trains and in what steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// Passes over the training part.
    pub epochs: Count,
    /// Samples in one step.
    pub batch_size: BatchSize,
    /// Samples computed at once; a larger batch is accumulated in parts of this size, with the same gradient.
    pub micro_batch: Count,
    /// Steps to stop after; 0: no limit.
    pub max_steps: u64,
    /// The part of a training sample's target that is spread evenly over the classes.
    pub label_smoothing: Fraction,
    /// The checkpoint that commands take and the summary is about; none: the best where there is a validation part, else the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Which>,
}

/// A checkpoint of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// The newest.
    Last,
    /// The one with the lowest validation loss.
    Best,
}

impl Which {
    /// Its name, in configs, in the run folder and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Best => "best",
        }
    }
}

impl Default for Train {
    fn default() -> Self {
        Self {
            epochs: Count::literal(10),
            batch_size: BatchSize::Samples(Count::literal(32)),
            micro_batch: Count::literal(1000),
            max_steps: 0,
            label_smoothing: Fraction::literal(0.0),
            keep: None,
        }
    }
}

impl Train {
    /// The checkpoint that is kept, where there is a validation part or not.
    ///
    /// # Errors
    ///
    /// When it is the best, and nothing tells which that is.
    pub fn kept(&self, has_validation: bool) -> Result<Which, ConfigError> {
        match (self.keep, has_validation) {
            (Some(Which::Best), false) => Err(ConfigError::value(
                "train.keep",
                "is \"best\", which is known by the loss of a validation part; set `data.validation`, or `train.keep` = \"last\", or leave it out",
            )),
            (Some(which), _) => Ok(which),
            (None, true) => Ok(Which::Best),
            (None, false) => Ok(Which::Last),
        }
    }

    /// Samples of one step, where there are `samples` to train on.
    #[must_use]
    pub fn batch(&self, samples: usize) -> usize {
        match self.batch_size {
            BatchSize::Samples(count) => count.get().min(samples),
            BatchSize::Full => samples,
        }
    }

    /// Steps of one epoch, where there are `samples` to train on.
    #[must_use]
    pub fn steps_per_epoch(&self, samples: usize) -> u64 {
        samples.div_ceil(self.batch(samples)) as u64
    }

    /// Steps of all epochs, or `max_steps` if that is less.
    #[must_use]
    pub fn steps(&self, samples: usize) -> u64 {
        let all = (self.epochs.get() as u64).saturating_mul(self.steps_per_epoch(samples));
        if self.max_steps == 0 { all } else { all.min(self.max_steps) }
    }
}

/// When to stop before the last epoch, watching the validation loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EarlyStopping {
    /// Epochs in a row without improvement after which to stop; 0: never. Which weights are kept then, `train.keep` says.
    pub patience: u64,
    /// How far below the best loss counts as improvement.
    pub min_delta: NonNegative,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self { patience: 0, min_delta: NonNegative::literal(0.0) }
    }
}

/// When to save besides every epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoint {
    /// Steps between checkpoints; 0: at the end of each epoch only.
    pub every_steps: u64,
}
