//! The training step and the loop around it.

mod average;
mod diverged;
mod epoch_end;
mod event;
mod in_place;
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
pub use step::{StepSums, Stepper, StepContext};
pub use training::{Ending, Plan, Training};
pub(crate) use watched::Watched;
