//! Sweeps: many trainings of one experiment with other values of some keys, and one choice among them.
//!
//! A trial is a set of values. It is trained once for each seed and each split. Each of these trainings is a fit. Trials share seeds and splits, so the differences
//! between them are paired. Nothing but the criterion after the last epoch ranks them. The chosen trial is trained again on all images but the test split, which is
//! measured once, for it alone.

mod collect;
mod fit;
mod fit_checkpoint;
mod folder;
mod index_ranges;
mod journal;
mod kubernetes;
mod lambda_range;
mod path;
mod plan;
mod planned;
mod pruner;
mod refit;
mod runner;
#[expect(clippy::module_inception, reason = "the noun of the module")]
mod search;
mod selection;
mod single;
mod slurm;
mod space;
mod study;
mod tpe;
mod training_list;
mod training_lock;
mod words;
mod zero_weights;

pub use collect::Ended;
pub use fit::{Fit, FitCriteria, FitResult, FitState, UNRELIABLE};
pub use folder::SweepFolder;
pub use index_ranges::index_ranges;
pub use kubernetes::{KubernetesJob, Volume};
pub use lambda_range::lambda_grid;
pub use plan::Plan;
pub use runner::{Progress, Report};
pub use search::{Jobs, Search};
pub(crate) use selection::mean_and_deviation;
pub use selection::{Choice, Comparison, choose};
pub use single::{SingleTraining, check_independent};
pub use slurm::{SlurmScripts, WrittenScripts};
pub use space::Settings;
pub use study::{PathCheck, Study, TrialSummary, trials_csv};
pub use training_list::{ListedTraining, TrainingList};
pub use words::{criterion_title, digits, mark, settings, why};
