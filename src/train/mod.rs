//! The training step and the loop around it.

mod average;
mod diverged;
mod epoch_end;
mod event;
mod fused_optimizer;
mod gradients;
mod mixup;
mod optimizer;
mod patience;
mod position;
mod rate;
mod snapshot;
mod step;
mod training;
mod watched;

pub use diverged::Diverged;
pub use event::{Event, Observer, Phase, Progress, Row, Split};
pub use optimizer::ParameterOptimizer;
pub use position::{EpochSums, Position};
pub(crate) use rate::rate_at;
pub use snapshot::Snapshot;
pub use step::{StepContext, StepGradients, StepSums, Stepper};
pub use training::{Ending, Plan, Training};
pub(crate) use watched::Watched;
