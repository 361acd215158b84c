//! A sweep from its plan to its choice.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::runner::Runner;
use super::{Plan, Report, Study, SweepFolder, lambda_grid, refit, trials_csv};
use crate::clock;
use crate::config::number::Count;
use crate::config::{ConfigTable, Dimension, Sweep};
use crate::data::{Data, Progress};
use crate::error::Error;
use crate::launch::session_of;
use crate::session::{Status, Summary, machine_memory};
use crate::train::Observer;

/// A sweep with its folder and its data.
pub struct Search {
    folder: SweepFolder,
    plan: Plan,
    data: Data,
}

/// How many trainings run at once, and with how many threads each. `None`: those of the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// The number of trainings.
    pub count: usize,
    /// The threads of each.
    pub threads: Option<usize>,
}

/// A plan and its data.
struct Planned {
    plan: Plan,
    data: Data,
}

impl Planned {
    fn new(config: &ConfigTable, sweep: &Sweep, progress: Progress) -> Result<Self, Error> {
        let (plan, data) = if sweep.grid.is_empty() {
            let probe = Plan::new(config, sweep, None)?;
            let data = probe.data(progress)?;
            let found: Dimension = lambda_grid(&probe.experiment(&probe.fits()[0])?, &data)?;
            (Plan::new(config, sweep, Some(found))?, data)
        } else {
            let plan = Plan::new(config, sweep, None)?;
            let data = plan.data(progress)?;
            (plan, data)
        };
        Ok(Self { plan: plan.of_data(&data)?, data })
    }
}

impl Search {
    /// Plans a sweep and creates its folder: `path`, or one named after the time in `artifacts`.
    ///
    /// # Errors
    ///
    /// When the config can't be swept, the data can't be read, or the folder is taken.
    pub fn begin(config: &ConfigTable, sweep: &Sweep, path: Option<&Path>, progress: Progress) -> Result<Self, Error> {
        let Planned { plan, data } = Planned::new(config, sweep, progress)?;
        let folder = if let Some(path) = path {
            SweepFolder::create(path, &plan)?
        } else {
            let experiment = plan.experiment(&plan.fits()[0])?;
            SweepFolder::create_named(&experiment.artifacts.join(&experiment.name), &clock::now(), &plan)?
        };
        Ok(Self { folder, plan, data })
    }

    /// Opens the sweep in `path` to go on with it. `data_dir`: the new folder of its data.
    ///
    /// # Errors
    ///
    /// When another process has it, its plan is damaged, or its data have changed.
    pub fn open(path: &Path, data_dir: Option<PathBuf>, progress: Progress) -> Result<Self, Error> {
        let (folder, mut plan) = SweepFolder::open(path)?;
        if let Some(dir) = data_dir {
            plan.move_data(&dir)?;
        }
        let data = plan.data(progress)?;
        plan.check_data(&data)?;
        Ok(Self { folder, plan, data })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The data.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &SweepFolder {
        &self.folder
    }

    /// How the trainings share the machine. `count`: the number at once; by default one for each core, on a GPU one, and no more than fit into memory.
    ///
    /// # Errors
    ///
    /// When the settings of the first trial can't be used.
    pub fn jobs(&self, count: Option<usize>) -> Result<Jobs, Error> {
        let first = self.plan.experiment(&self.plan.fits()[0])?;
        let backend = &first.backend;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let default = || if backend.kind.is_cpu() { (cores / backend.threads.max(1)).clamp(1, self.fitting()) } else { 1 };
        let count = count.unwrap_or_else(default).min(self.plan.fits().len().max(1));
        let threads = (backend.kind.is_cpu() && backend.threads == 0).then(|| (cores / count).max(1));
        Ok(Jobs { count, threads })
    }

    /// How many trainings fit into memory, at least one.
    fn fitting(&self) -> usize {
        let memory = || {
            let mut experiment = self.plan.experiment(&self.plan.fits()[0]).ok()?;
            experiment.sweep = Some(self.plan.sweep.clone());
            let data = self.data.for_any_experiment(&experiment).ok()?;
            let memory = *session_of(experiment, data).ok()?.memory();
            // They share the images.
            usize::try_from(machine_memory()?.saturating_sub(memory.images) / (memory.total - memory.images).max(1)).ok()
        };
        memory().unwrap_or(usize::MAX).max(1)
    }

    /// Trains what has not ended, and writes `trials.csv` and `study.json`. Returns `None` if it was stopped.
    ///
    /// # Errors
    ///
    /// When a file can't be read or written, or `report` fails.
    pub fn run(&mut self, jobs: Jobs, stop: &Arc<AtomicBool>, report: &mut Report) -> Result<Option<Study>, Error> {
        let Self { folder, plan, data } = self;
        let runner = Runner { data, folder, jobs: jobs.count, threads: jobs.threads, stop: Arc::clone(stop) };
        let Some(results) = runner.run(plan, report)? else { return Ok(None) };
        let mut study = Study::new(plan, &results);
        study.refit = refit::ended(folder)?;
        folder.write_study(&study, &trials_csv(plan, &results)?)?;
        Ok(Some(study))
    }

    /// The epochs of the training of the chosen trial.
    ///
    /// # Errors
    ///
    /// When its settings can't be used.
    pub fn refit_epochs(&self, chosen: usize) -> Result<u64, Error> {
        Ok(self.plan.refit_experiment(chosen, &self.data)?.train.epochs.get() as u64)
    }

    /// The epochs of all trainings before the choice, if none is ended early and all trials have as many as the first.
    ///
    /// # Errors
    ///
    /// When the settings of the first trial can't be used.
    pub fn epochs(&self) -> Result<u64, Error> {
        let Sweep { path, path_epochs, path_finalists, tpe, .. } = &self.plan.sweep;
        let trials = tpe.map_or(self.plan.trials.len(), Count::get);
        let each = self.refit_epochs(0)?;
        let of_all = match path {
            true => each + (trials as u64 - 1) * path_epochs.get() as u64 + each * path_finalists.get().min(trials - 1) as u64,
            false => each * trials as u64,
        };
        Ok(of_all * self.plan.fits_of_trial() as u64)
    }

    /// Trains the chosen trial of a study again, on all images but the test split, unless that was done; `has_events`: with an event file for TensorBoard. Returns `Ok(false)` if it was stopped, after saving, or there is no
    /// chosen trial.
    ///
    /// # Errors
    ///
    /// When training diverges, or a file can't be written.
    pub fn refit(&self, study: &mut Study, has_events: bool, stop: &Arc<AtomicBool>, observer: &mut dyn Observer) -> Result<bool, Error> {
        let Some(chosen) = study.chosen else { return Ok(false) };
        let summary: Summary = refit::refit(&self.plan, chosen, &self.data, &self.folder, has_events, stop, observer)?;
        if summary.status == Status::Interrupted {
            return Ok(false);
        }
        study.refit = Some(summary);
        self.folder.write_study_json(study)?;
        Ok(true)
    }
}
