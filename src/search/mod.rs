//! Sweeps: many trainings of one experiment with other values of some keys, and one choice among them.
//!
//! A trial is a set of values. It is trained once for each seed and each fold: a unit. Trials share seeds and folds, so the differences between them are
//! paired. Nothing but the validation loss of the last epoch ranks them. The chosen trial is trained again on all images but the test split, which is measured
//! once, for it alone.

mod collect;
mod folder;
mod index_ranges;
mod journal;
mod kubernetes;
mod lambda_range;
mod plan;
mod refit;
mod runner;
mod selection;
mod slurm;
mod space;
mod study;
mod training_list;
mod training_lock;
mod unit;
mod unit_checkpoint;

pub use collect::Ended;
pub use folder::SweepFolder;
pub use index_ranges::index_ranges;
pub use kubernetes::{KubernetesJob, Volume};
pub use lambda_range::lambda_grid;
pub use plan::{Plan, PlanOptions, Rule};
pub use refit::{ended_refit, refit};
pub use runner::{Progress, Runner};
pub use selection::{Choice, Comparison, choose};
pub use slurm::{SlurmScripts, WrittenScripts};
pub use space::Settings;
pub use space::{Dimension, Values};
pub use study::{Study, TrialSummary, trials_csv};
pub use training_list::{ListedTraining, TrainingList};
pub use unit::{Unit, UnitResult, UnitState};
