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
mod journal_lock;
mod kubernetes;
mod lambda_range;
mod path;
mod path_check;
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
mod student;
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
pub use kubernetes::{KubernetesJob, Volume, container_image, cpus, memory, variable};
pub use lambda_range::lambda_grid;
pub use path_check::PathCheck;
pub use plan::Plan;
pub use runner::{Progress, Report};
pub use search::{Jobs, Search};
pub(crate) use selection::mean_and_deviation;
pub use selection::{Choice, Comparison, Relation, choose};
pub use single::{SingleTraining, check_independent};
pub use slurm::{MIN_SECONDS, SlurmScripts, WrittenScripts, time_limit};
pub use space::Settings;
pub(crate) use student::t975;
pub use study::{Study, TrialSummary, trials_csv};
pub use training_list::{ListedTraining, TrainingList};
pub(crate) use words::reason;
pub use words::{criterion_title, digits, mark, settings, why};
