//! Trains the fits of a sweep, several at once.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::fit::Run;
use super::journal::{Control, Journal};
use super::path::continued;
use super::pruner::{Work, next_work};
use super::tpe::{self, GENERATION};
use super::training_lock::TrainingLock;
use super::{Fit, FitResult, FitState, Plan, SweepFolder, study};
use crate::config::Experiment;
use crate::data::Data;
use crate::error::Error;
use crate::seed::Seed;

/// How the fits are trained.
pub(super) struct Runner<'a> {
    /// The data of one of them.
    pub(super) data: &'a Data,
    /// The folder.
    pub(super) folder: &'a SweepFolder,
    /// The number of fits that are trained at once.
    pub(super) jobs: usize,
    /// The threads of each. `None`: those of the config.
    pub(super) threads: Option<usize>,
    /// Training stops soon after it is set.
    pub(super) stop: Arc<AtomicBool>,
}

/// Progress of a sweep.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A training has completed an epoch.
    Epoch {
        /// The training.
        fit: Fit,
        /// The number of completed epochs.
        epoch: u64,
    },
    /// A training has ended, or is paused.
    Fit {
        /// The plan, which may have more trials than before.
        plan: &'a Plan,
        /// The result.
        result: &'a FitResult,
        /// The number of ended trainings.
        done: usize,
        /// The number of all trainings.
        total: usize,
        /// An estimate of the seconds until the last one ends. `None` if it is not known how many epochs are left.
        seconds_left: Option<f64>,
    },
    /// The user should know this.
    Warning(&'a str),
}

/// Receives the progress of a sweep.
pub type Report<'a> = dyn FnMut(&Progress) -> Result<(), Error> + 'a;

/// What a thread says.
enum Message {
    Epoch(Fit, u64),
    Ended(Box<Result<FitResult, Error>>),
}

impl Runner<'_> {
    /// Trains all fits that have no result yet, and adds the trials of a tree-structured Parzen estimator to the plan. Returns the results of all fits, or `None` if it
    /// was stopped.
    ///
    /// # Errors
    ///
    /// When a result can't be read or written, or `report` fails.
    pub(super) fn run(&self, plan: &mut Plan, report: &mut Report) -> Result<Option<Vec<FitResult>>, Error> {
        let warn = &mut |text: &str| drop(report(&Progress::Warning(text)));
        let opened = Journal::open(&self.folder.journal(), &plan.name, &mut Control { stop: &self.stop, warn })?;
        let Some(mut journal) = opened else { return Ok(None) };
        let mut results = self.folder.results(plan)?;
        let epochs =
            plan.fits().first().map_or(Ok(0), |fit| plan.experiment(fit).map(|experiment| experiment.train.epochs.get() as u64))?;
        loop {
            // Also those that a kill left out.
            (0..plan.trials.len()).try_for_each(|trial| self.record(&mut journal, plan, &results, trial, report))?;
            let work = next_work(plan, &results, epochs);
            for fit in &work.pruned {
                if let Some(mut result) = results.remove(fit) {
                    result.state = FitState::Pruned;
                    self.folder.write_result(&result)?;
                    results.insert(*fit, result);
                }
            }
            match (work.fits.is_empty(), work.pruned.is_empty()) {
                (true, false) => {}
                (true, true) => {
                    if !self.add_trials(plan, &results)? && !self.add_finalists(plan, &results)? {
                        self.folder.remove_weights(plan)?;
                        return Ok(Some(results.into_values().collect()));
                    }
                }
                (false, _) => {
                    if !self.work(plan, &work, &mut results, &mut journal, report)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Adds the next trials of a tree-structured Parzen estimator. Returns whether there are any.
    fn add_trials(&self, plan: &mut Plan, results: &BTreeMap<Fit, FitResult>) -> Result<bool, Error> {
        let Some(count) = plan.sweep.tpe.map(|count| count.get().saturating_sub(plan.trials.len())) else { return Ok(false) };
        let results: Vec<FitResult> = results.values().cloned().collect();
        let losses = study::mean_losses(plan, &results);
        let next = tpe::next_trials(&plan.space, &plan.trials, &losses, count.min(GENERATION), Seed(plan.seeds[0]), |settings| {
            plan.without_unused(settings)
        });
        let added = plan.add_trials(next)?;
        if added {
            self.folder.write_plan(plan)?;
        }
        Ok(added)
    }

    /// Adds the finalists of a path that is done. Returns whether there are any.
    fn add_finalists(&self, plan: &mut Plan, results: &BTreeMap<Fit, FitResult>) -> Result<bool, Error> {
        if !plan.sweep.path || !plan.finalists.is_empty() {
            return Ok(false);
        }
        plan.finalists = plan.finalists_of(&results.values().cloned().collect::<Vec<_>>());
        self.folder.write_plan(plan)?;
        Ok(!plan.finalists.is_empty())
    }

    /// Does some work, several fits at once. Returns whether it was done to its end.
    fn work(
        &self,
        plan: &Plan,
        work: &Work,
        results: &mut BTreeMap<Fit, FitResult>,
        journal: &mut Journal,
        report: &mut Report,
    ) -> Result<bool, Error> {
        let total = plan.fits().len();
        let is_staged = plan.sweep.tpe.is_some() || work.until.is_some();
        let queue = Mutex::new(VecDeque::from(plan.chains(&work.fits)));
        let (started, mut ended) = (Instant::now(), 0);
        let (send, received) = channel();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                let (send, queue) = (send.clone(), &queue);
                scope.spawn(move || {
                    // The lock is not held during training.
                    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    while let Some(chain) = next() {
                        for fit in chain {
                            let Some(result) = self.train(plan, work.until, &fit, &send) else { return };
                            if send.send(Message::Ended(Box::new(result))).is_err() {
                                return;
                            }
                        }
                    }
                });
            }
            drop(send);
            for message in received {
                let written = match message {
                    Message::Epoch(fit, epoch) => report(&Progress::Epoch { fit, epoch }),
                    Message::Ended(result) => (*result).and_then(|result| {
                        let fit = result.fit;
                        results.insert(fit, result);
                        self.record(journal, plan, results, fit.trial, report)?;
                        ended += 1;
                        let left = work.fits.len() - ended;
                        let seconds_left = (!is_staged).then(|| started.elapsed().as_secs_f64() / ended as f64 * left as f64);
                        let done = results.values().filter(|result| result.state != FitState::Paused).count();
                        report(&Progress::Fit { plan, result: &results[&fit], done, total, seconds_left })
                    }),
                };
                if written.is_err() {
                    self.stop.store(true, Ordering::Relaxed);
                    return written;
                }
            }
            Ok(())
        })?;
        Ok(ended == work.fits.len())
    }

    /// Adds a trial to the journal when all its fits have ended. On a path its losses are those of the path, as in the table; those from initial weights are an attribute.
    fn record(
        &self,
        journal: &mut Journal,
        plan: &Plan,
        results: &BTreeMap<Fit, FitResult>,
        trial: usize,
        report: &mut Report,
    ) -> Result<(), Error> {
        if journal.has(trial) || (plan.sweep.path && plan.finalists.is_empty()) {
            return Ok(());
        }
        let of_trial = |is_finalist: bool| -> Vec<&FitResult> {
            let counts = |result: &&FitResult| result.fit.trial == trial && result.fit.is_finalist == is_finalist;
            results.values().filter(counts).filter(|result| result.state != FitState::Paused).collect()
        };
        let (all, again, count) = (of_trial(false), of_trial(true), plan.fits_of_trial());
        if all.len() < count || (plan.trained_again().contains(&trial) && again.len() < count) {
            return Ok(());
        }
        let from_start = study::mean_from_start(plan, if plan.first_of_path() == Some(trial) { &all } else { &again });
        let warn = &mut |text: &str| drop(report(&Progress::Warning(text)));
        Ok(journal.add(plan, trial, &all, from_start, &mut Control { stop: &self.stop, warn })?)
    }

    /// Trains a fit and writes its result. Returns `None` if it was stopped.
    fn train(&self, plan: &Plan, until: Option<u64>, fit: &Fit, send: &Sender<Message>) -> Option<Result<FitResult, Error>> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        // Nobody listens after an error.
        let progress = |epoch| drop(send.send(Message::Epoch(*fit, epoch)));
        let run = Run {
            checkpoint: self.folder.checkpoint(fit),
            // After one that has failed, the path begins anew.
            initial_weights: plan.fit_before(fit).map(|before| self.folder.weights(&before)).filter(|path| path.is_file()),
            weights: (plan.sweep.path && !fit.is_finalist).then(|| self.folder.weights(fit)),
            until,
            sweep: &plan.sweep,
            stop: &self.stop,
            progress: &progress,
        };
        let trained = plan.experiment(fit).map_err(Error::from).and_then(|experiment| {
            let experiment = match &run.initial_weights {
                None => experiment,
                Some(weights) => continued(experiment, plan, weights.clone()),
            };
            self.folder.train(fit, experiment, self.data, self.threads, &run, &mut |_| {})
        });
        trained.transpose()
    }
}

impl SweepFolder {
    /// Trains a fit as `experiment` and writes its result, unless another process has done so. Calls `waiting` with the name of a process that may be training it, and
    /// waits until that is known. Returns `Ok(None)` if it was stopped, after saving.
    ///
    /// # Errors
    ///
    /// When another process is training it, or a file can't be read or written.
    pub(super) fn train(
        &self,
        fit: &Fit,
        mut experiment: Experiment,
        data: &Data,
        threads: Option<usize>,
        run: &Run,
        waiting: &mut dyn FnMut(&str),
    ) -> Result<Option<FitResult>, Error> {
        // A copy of the folder may lack it, as some programs leave out empty folders.
        self.create_fits()?;
        let Some(lock) = TrainingLock::take(&self.training_lock(fit), run.stop, waiting)? else { return Ok(None) };
        if let Some(result) = self.result(fit)?.filter(|result| result.state != FitState::Paused) {
            return Ok(Some(result));
        }
        if let Some(threads) = threads {
            experiment.backend.threads = threads;
        }
        let trained = catch_unwind(AssertUnwindSafe(|| fit.run(experiment, data, run)));
        let result = trained.unwrap_or_else(|panic| Ok(Some(fit.failed(&message(&*panic)))))?;
        result.iter().try_for_each(|result| self.write_result(result))?;
        drop(lock);
        Ok(result)
    }
}

/// The message of a panic.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it ended in a panic: {}", text.unwrap_or("without a message"))
}
