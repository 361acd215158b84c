//! The training step and the training loop.

mod average;
mod best;
mod columns;
mod control;
mod diverged;
mod epoch_end;
mod event;
mod fused_optimizer;
mod gradients;
mod mixup;
mod optimizer;
mod patience;
mod snapshot;
mod step;
mod training;
mod training_state;

pub use best::Best;
pub use control::Silent;
pub(crate) use control::{Control, PhaseReporter};
pub use diverged::Diverged;
pub use event::{Event, Observer, Phase, Progress, Row, Split};
pub use optimizer::ParameterOptimizer;
pub use snapshot::Snapshot;
pub use step::{StepContext, StepGradients, StepSums, Stepper};
pub use training::Ending;
pub(crate) use training::{Plan, Training};
pub use training_state::{EpochSums, TrainingState};
