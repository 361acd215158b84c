//! The results of trainings that ran in several processes.

use std::sync::atomic::AtomicBool;

use super::journal::{Control, Journal};
use super::{FitResult, FitState, Plan, SweepFolder, trials_csv};
use crate::error::Error;

/// What has ended of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The results of the trainings that have ended, in the order of `trials.csv`.
    pub results: Vec<FitResult>,
    /// The indexes of the others.
    pub missing: Vec<usize>,
}

impl Ended {
    /// Reads all results.
    ///
    /// # Errors
    ///
    /// When a result is damaged.
    pub fn read(plan: &Plan, folder: &SweepFolder) -> Result<Self, Error> {
        let mut ended = Self { results: Vec::new(), missing: Vec::new() };
        for (index, fit) in plan.fits().iter().enumerate() {
            match folder.result(fit)? {
                Some(result) if result.state != FitState::Paused => ended.results.push(result),
                _ => ended.missing.push(index),
            }
        }
        ended.results.sort_by_key(|result| result.fit);
        Ok(ended)
    }

    /// Writes `trials.csv` and `journal.log`, which get the trials whose trainings have all ended. `warn` is called with what the user should know.
    ///
    /// # Errors
    ///
    /// When a file can't be written.
    pub fn write(&self, plan: &Plan, folder: &SweepFolder, warn: &mut dyn FnMut(&str)) -> Result<(), Error> {
        folder.write_trials(&trials_csv(plan, &self.results)?)?;
        let stop = AtomicBool::new(false);
        let mut control = Control { stop: &stop, warn };
        let Some(mut journal) = Journal::open(&folder.journal(), &plan.name, &mut control)? else { return Ok(()) };
        let per_trial = plan.fits_of_trial();
        for trial in 0..plan.trials.len() {
            let results: Vec<&FitResult> = self.results.iter().filter(|result| result.fit.trial == trial).collect();
            if results.len() == per_trial {
                journal.add(plan, trial, &results, None, &mut control)?;
            }
        }
        Ok(())
    }
}
