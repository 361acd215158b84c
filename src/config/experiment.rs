//! The sections of an experiment.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::number::{BatchSize, Count, Fraction, NonNegative};
use super::{Augment, Averaging, ConfigError, Data, Model, Optimizer, Penalty, Schedule};
use crate::seed::Seed;

/// An experiment: everything that determines the result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// The name of the experiment and of the folder of its runs: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// The seed of every random stream.
    #[serde(default)]
    pub seed: Seed,
    /// The folder of all runs.
    #[serde(default = "artifacts")]
    pub artifacts: PathBuf,
    /// The backend.
    #[serde(default)]
    pub backend: Backend,
    /// The data.
    pub data: Data,
    /// The network.
    #[serde(default)]
    pub model: Model,
    /// The regularization terms of the loss.
    #[serde(default)]
    pub penalty: Vec<Penalty>,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// The learning-rate schedule.
    #[serde(default)]
    pub schedule: Schedule,
    /// Epochs, batch size and limits.
    #[serde(default)]
    pub train: Train,
    /// Data augmentation.
    #[serde(default)]
    pub augment: Augment,
    /// Weight averaging.
    #[serde(default)]
    pub averaging: Averaging,
    /// Early stopping.
    #[serde(default)]
    pub early_stopping: EarlyStopping,
    /// Additional checkpoints.
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

/// The backend of an experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backend {
    /// The backend.
    pub kind: BackendKind,
    /// Threads of the CPU backends; 0: one per core.
    pub threads: usize,
    /// The implementation of operations on the CPU backends.
    pub kernels: Implementation,
    /// The index of the device, from 0, as `regulus backends` lists them.
    pub device: usize,
}

impl Default for Backend {
    fn default() -> Self {
        Self { kind: BackendKind::Flex, threads: 0, kernels: Implementation::Fused, device: 0 }
    }
}

/// The implementation of operations on a CPU backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Implementation {
    /// Fused operations of this program.
    Fused,
    /// Burn's stock operations, as on GPUs.
    Stock,
}

/// The backends. A build has those of its cargo features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// Burn's CPU backend.
    Flex,
    /// Burn's older CPU backend on the `ndarray` crate.
    Ndarray,
    /// GPUs through WGSL shaders: Vulkan, Metal, DirectX 12 or OpenGL.
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

    /// Whether it computes on the CPU.
    #[must_use]
    pub const fn is_cpu(self) -> bool {
        matches!(self, Self::Flex | Self::Ndarray)
    }

    /// The name in configs, and of the cargo feature.
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

/// Length and steps of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// Passes over the training split.
    pub epochs: Count,
    /// Samples per step.
    pub batch_size: BatchSize,
    /// Samples computed at once. The gradient of a larger batch is accumulated over micro-batches of this size.
    pub micro_batch: Count,
    /// The largest number of steps; 0: no limit.
    pub max_steps: u64,
    /// Label smoothing: the fraction of the target that is spread evenly over the classes.
    pub label_smoothing: Fraction,
    /// The checkpoint that commands and the summary use. By default the best if there is a validation split, else the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<CheckpointKind>,
}

/// The kinds of checkpoints of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckpointKind {
    /// The newest.
    Last,
    /// The one with the lowest validation loss.
    Best,
}

impl CheckpointKind {
    /// The name in configs, in the run folder and on the command line.
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
    /// The checkpoint that `keep` selects. `has_validation`: there is a validation split.
    ///
    /// # Errors
    ///
    /// When `keep` is `best` and there is no validation split.
    pub fn selected_checkpoint(&self, has_validation: bool) -> Result<CheckpointKind, ConfigError> {
        match (self.keep, has_validation) {
            (Some(CheckpointKind::Best), false) => Err(ConfigError::value(
                "train.keep",
                "is \"best\", which needs a validation split; set `data.validation`, or `train.keep` = \"last\", or leave it out",
            )),
            (Some(kind), _) => Ok(kind),
            (None, true) => Ok(CheckpointKind::Best),
            (None, false) => Ok(CheckpointKind::Last),
        }
    }

    /// Samples per step, for `samples` training samples.
    #[must_use]
    pub fn batch(&self, samples: usize) -> usize {
        match self.batch_size {
            BatchSize::Samples(count) => count.get().min(samples),
            BatchSize::Full => samples,
        }
    }

    /// Steps per epoch, for `samples` training samples.
    #[must_use]
    pub fn steps_per_epoch(&self, samples: usize) -> u64 {
        samples.div_ceil(self.batch(samples)) as u64
    }

    /// The total number of steps, for `samples` training samples.
    #[must_use]
    pub fn steps(&self, samples: usize) -> u64 {
        let all = (self.epochs.get() as u64).saturating_mul(self.steps_per_epoch(samples));
        if self.max_steps == 0 { all } else { all.min(self.max_steps) }
    }
}

/// Early stopping by the validation loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EarlyStopping {
    /// The number of epochs without improvement after which training stops; 0: never. `train.keep` selects the weights.
    pub patience: u64,
    /// The smallest decrease of the best loss that counts as improvement.
    pub min_delta: NonNegative,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self { patience: 0, min_delta: NonNegative::literal(0.0) }
    }
}

/// Checkpoints between the ends of epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoint {
    /// Steps between checkpoints; 0: at the end of each epoch only.
    pub every_steps: u64,
}
