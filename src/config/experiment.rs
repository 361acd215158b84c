//! The sections of an experiment.

use std::path::PathBuf;

use regulus_kernels::algorithm::Algorithm;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::number::{BatchSize, Count, Fraction, NonNegative};
use super::schema::inline_schema;
use super::{Augment, Averaging, ClassWeights, ConfigError, Data, Measure, Model, Optimizer, Penalty, Sampling, Schedule, Sweep, Task};
use crate::seed::Seed;

/// What a name consists of.
pub(super) const NAME: &str = "letters, digits, `.`, `_` and `-`, not starting with `.`";

/// The largest number of threads.
pub(super) const MAX_THREADS: usize = 1024;

/// An experiment: everything that determines the result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// The name of the experiment and of the folder of its runs.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    #[schemars(extend("x-values" = NAME))]
    pub name: String,
    /// The seed of every random stream.
    #[serde(default)]
    pub seed: Seed,
    /// The folder of all runs.
    #[serde(default = "artifacts")]
    #[schemars(extend("x-values" = "path"))]
    pub artifacts: PathBuf,
    /// Where operations are computed.
    #[serde(default)]
    pub backend: Backend,
    /// What the network learns.
    #[serde(default)]
    #[schemars(extend("x-see" = "[Denoising](denoising.md) describes the task `denoise`."))]
    pub task: Task,
    /// The images and their splits.
    #[schemars(extend("x-see" = "[Data](data.md) describes the sources."))]
    pub data: Data,
    /// The network and its initial weights.
    #[serde(default)]
    #[schemars(extend("x-see" = "[Networks](networks.md) describes the kinds and the layers."))]
    pub model: Model,
    /// The regularization terms of the loss. A config can have several. Without any there is no regularization.
    #[serde(default)]
    #[schemars(extend("x-see" = "[Regularization](regularization.md) describes the kinds."))]
    pub penalty: Vec<Penalty>,
    /// The method of a training step.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// The schedule of the learning rate.
    #[serde(default)]
    pub schedule: Schedule,
    /// Epochs, batch size and limits.
    #[serde(default)]
    pub train: Train,
    /// Data augmentation of training images.
    #[serde(default)]
    pub augment: Augment,
    /// Weight averaging: an average of the weights is measured, saved and exported instead of the weights.
    #[serde(default)]
    pub averaging: Averaging,
    /// Early stopping by the measure `train.best_by` on the validation split.
    #[serde(default)]
    pub early_stopping: EarlyStopping,
    /// Checkpoints between the ends of epochs.
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// What `regulus sweep` tries, and how it chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Sweep", extend("x-see" = "[Choosing λ](choosing-lambda.md) describes sweeps."))]
    pub sweep: Option<Sweep>,
}

inline_schema!(Seed, |generator| generator.subschema_for::<u64>());

impl Default for Seed {
    fn default() -> Self {
        Self(42)
    }
}

fn artifacts() -> PathBuf {
    PathBuf::from("artifacts")
}

/// The backend of an experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backend {
    /// The backend. The program must be built with its cargo feature.
    pub kind: BackendKind,
    /// Threads of the CPU backends; 0: one per core.
    #[schemars(range(max = MAX_THREADS))]
    pub threads: usize,
    /// The implementation of operations on the CPU backends. GPUs always use stock operations.
    pub kernels: Implementation,
    /// The precision of the numbers that convolutions multiply.
    pub precision: Precision,
    /// The index of the device, as `regulus backends` lists them.
    pub device: usize,
}

impl Default for Backend {
    fn default() -> Self {
        Self { kind: BackendKind::Flex, threads: 0, kernels: Implementation::Fused, precision: Precision::F32, device: 0 }
    }
}

impl Backend {
    /// Checks that the implementation has the precision.
    pub(super) fn check_precision(&self) -> Result<(), ConfigError> {
        if self.precision == Precision::F32 || self.kind.is_cpu() && self.kernels == Implementation::Fused {
            return Ok(());
        }
        let problem = "is \"bf16\", which the backends `flex` and `ndarray` have with `backend.kernels` = \"fused\"; set these, or `backend.precision` = \"f32\"";
        Err(ConfigError::value("backend.precision", problem))
    }
}

/// The precision of the numbers that are multiplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// bfloat16 in convolutions with one group, but for those with a bias, ReLU and pool in one kernel: images, weights and gradients are rounded to 8 bits before they are multiplied.
    /// Sums, weights, normalizations and what is between layers stay float32. Needs Linux on an x86-64 processor with AVX-512 for bfloat16; AMX makes it fast.
    Bf16,
}

/// The implementation of operations on a CPU backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Implementation {
    /// This program's fused operations. 3×3 convolutions with stride 1 over 16 channels or more are computed by Winograd's F(4×4, 3×3), those of maps of two rows or columns, and gradients of few images, by F(2×2, 3×3).
    Fused,
    /// As `fused`, with F(2×2, 3×3): a quarter to a half of the rounding errors, and 1.8 times the multiplications.
    Winograd2,
    /// As `fused`, without Winograd's algorithm: 4 times the multiplications. Gradients have the smallest rounding errors, and an input that is infinite or NaN
    /// changes only the outputs whose kernels reach it.
    Direct,
    /// Burn's stock operations.
    Stock,
}

impl Implementation {
    /// Whether the operations are this program's.
    #[must_use]
    pub const fn is_fused(self) -> bool {
        self.algorithm().is_some()
    }

    /// The algorithm of 3×3 convolutions. Returns `None` for Burn's stock operations.
    #[must_use]
    pub const fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::Fused => Some(Algorithm::Winograd4),
            Self::Winograd2 => Some(Algorithm::Winograd2),
            Self::Direct => Some(Algorithm::Direct),
            Self::Stock => None,
        }
    }
}

/// The backends. A build has those of its cargo features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// Passes over the training split.
    pub epochs: Count,
    /// Samples per step; `full`: all training samples.
    pub batch_size: BatchSize,
    /// Samples computed at once. The gradient of a larger batch is accumulated over micro-batches of this size.
    pub micro_batch: Count,
    /// The largest number of steps; 0: no limit.
    pub max_steps: u64,
    /// Label smoothing: the fraction of a training sample's target that is spread evenly over the classes.
    pub label_smoothing: Fraction,
    /// The weights of classes in the data loss of training: "none"; "balanced", m/(K·n) for a class with n of the m training samples of K classes; or a number > 0 for each
    /// class, as a table by name or a list in the order of the labels. They are scaled to a mean of 1 over the training samples. Validation and test losses have no
    /// weights.
    pub class_weights: ClassWeights,
    /// How training samples are drawn.
    pub sampling: Sampling,
    /// The checkpoint that commands and the summary use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CheckpointKind", extend("x-default" = "`best` with a validation split, else `last`"))]
    pub keep: Option<CheckpointKind>,
    /// The measure on the validation split by which the best epoch is chosen, and by which early stopping waits. Of epochs with the same value the one with the
    /// lowest data loss is the best.
    pub best_by: Measure,
}

/// The kinds of checkpoints of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckpointKind {
    /// The newest.
    Last,
    /// The best on the validation split by `train.best_by`.
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
            class_weights: ClassWeights::None,
            sampling: Sampling::Uniform,
            keep: None,
            best_by: Measure::DataLoss,
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

    /// Samples that are computed at once, for `samples` training samples.
    #[must_use]
    pub fn samples_at_once(&self, samples: usize) -> usize {
        self.batch(samples).min(self.micro_batch.get())
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

/// Early stopping by the measure `train.best_by` on the validation split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EarlyStopping {
    /// Epochs without a better value of `train.best_by` after which training stops; 0: never. `train.keep` selects the checkpoint.
    pub patience: u64,
    /// The smallest improvement of the best value that counts, such as 0.01 for one point of accuracy.
    pub min_delta: NonNegative,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self { patience: 0, min_delta: NonNegative::literal(0.0) }
    }
}

/// Checkpoints between the ends of epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoint {
    /// Steps between checkpoints, besides those at the end of every epoch; 0: only those.
    pub every_steps: u64,
}
