//! Trains the units of a sweep, several at once.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::journal::Journal;
use super::training_lock::TrainingLock;
use super::{Plan, SweepFolder, Unit, UnitResult};
use crate::config::Experiment;
use crate::data::Data;
use crate::error::Error;

/// Trains units and writes their results.
pub struct Runner<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The data of one of its units.
    pub data: &'a Data,
    /// The folder.
    pub folder: &'a SweepFolder,
    /// The number of units that are trained at once.
    pub jobs: usize,
    /// The threads of each. `None`: those of the config.
    pub threads: Option<usize>,
    /// Training stops soon after it is set.
    pub stop: Arc<AtomicBool>,
}

/// Progress of a sweep.
#[derive(Debug)]
pub struct Progress<'a> {
    /// The result of the unit that has ended.
    pub result: &'a UnitResult,
    /// The number of ended units.
    pub done: usize,
    /// The number of all units.
    pub total: usize,
    /// An estimate of the seconds until the last unit ends.
    pub seconds_left: f64,
}

impl Runner<'_> {
    /// Trains all units that have no result yet. Returns the results of all units, or `None` if it was stopped.
    ///
    /// # Errors
    ///
    /// When a result can't be read or written, or `report` fails.
    pub fn run(&self, report: &mut dyn FnMut(&Progress) -> Result<(), Error>) -> Result<Option<Vec<UnitResult>>, Error> {
        let units = self.plan.units();
        let total = units.len();
        let mut results = Vec::with_capacity(total);
        let mut pending = VecDeque::new();
        for unit in units {
            match self.folder.result(&unit)? {
                Some(result) => {
                    // A kill may have left its checkpoint.
                    self.folder.remove_checkpoint(&unit)?;
                    results.push(result);
                }
                None => pending.push_back(unit),
            }
        }
        let mut journal = Journal::open(&self.folder.journal(), &self.plan.name)?;
        let per_trial = total / self.plan.trials.len().max(1);
        let mut record = |results: &[UnitResult], trial: usize| {
            let mut of_trial: Vec<&UnitResult> = results.iter().filter(|result| result.unit.trial == trial).collect();
            of_trial.sort_by_key(|result| result.unit);
            if of_trial.len() == per_trial { journal.add(self.plan, trial, &of_trial) } else { Ok(()) }
        };
        (0..self.plan.trials.len()).try_for_each(|trial| record(&results, trial))?;
        let (earlier, started) = (results.len(), Instant::now());
        let queue = Mutex::new(pending);
        let (send, received) = channel();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                let (send, queue) = (send.clone(), &queue);
                scope.spawn(move || {
                    while let Some(result) = self.next(queue) {
                        if send.send(result).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(send);
            for result in received {
                let written = result.and_then(|result: UnitResult| {
                    let trial = result.unit.trial;
                    results.push(result);
                    record(&results, trial)?;
                    let (done, result) = (results.len(), &results[results.len() - 1]);
                    let seconds_each = started.elapsed().as_secs_f64() / (done - earlier) as f64;
                    report(&Progress { result, done, total, seconds_left: seconds_each * (total - done) as f64 })
                });
                if written.is_err() {
                    self.stop.store(true, Ordering::Relaxed);
                    return written;
                }
            }
            Ok(())
        })?;
        results.sort_by_key(|result| result.unit);
        Ok((results.len() == total).then_some(results))
    }

    /// Trains the next unit of the queue and writes its result. Returns `None` if there is none, or it was stopped.
    fn next(&self, queue: &Mutex<VecDeque<Unit>>) -> Option<Result<UnitResult, Error>> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let unit = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        match self.plan.experiment(&unit) {
            Ok(experiment) => self.train(&unit, experiment, &mut |_| {}).transpose(),
            Err(error) => Some(Err(error.into())),
        }
    }

    /// Trains one unit as `experiment` and writes its result, unless another process has done so. Calls `waiting` with the name of a process that may be
    /// training it, and waits until that is known. Returns `None` if it was stopped.
    ///
    /// # Errors
    ///
    /// When another process is training it, or a file can't be read or written.
    pub fn train(&self, unit: &Unit, mut experiment: Experiment, waiting: &mut dyn FnMut(&str)) -> Result<Option<UnitResult>, Error> {
        let Some(lock) = TrainingLock::take(&self.folder.training_lock(unit), &self.stop, waiting)? else { return Ok(None) };
        if let Some(result) = self.folder.result(unit)? {
            return Ok(Some(result));
        }
        if let Some(threads) = self.threads {
            experiment.backend.threads = threads;
        }
        let run = || unit.run(experiment, self.data, self.folder.checkpoint(unit), &self.stop);
        let outcome = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Ok(Some(unit.failed(&message(&*panic)))));
        let Some(result) = outcome? else { return Ok(None) };
        self.folder.write_result(&result)?;
        drop(lock);
        Ok(Some(result))
    }
}

/// The message of a panic.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it ended in a panic: {}", text.unwrap_or("without a message"))
}
