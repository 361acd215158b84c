//! One training of a sweep by itself.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::fit::Run;
use super::{Fit, FitResult, Plan, SweepFolder, TrainingList};
use crate::config::{Experiment, Pruner, Sweep};
use crate::data::Data;
use crate::error::Error;
use crate::run::RunError;

/// A training that is taken from the plan to be run by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct SingleTraining {
    /// Its index in the plan.
    pub index: usize,
    /// The training.
    pub fit: Fit,
    /// What is trained.
    pub experiment: Experiment,
    /// The sweep, which says what is measured.
    pub sweep: Sweep,
}

impl SingleTraining {
    /// The training `index` of a plan, as in the list of a sweep that was planned ahead.
    ///
    /// # Errors
    ///
    /// When there is no such training, or its config was changed.
    pub fn open(plan: &Plan, folder: &SweepFolder, index: usize) -> Result<Self, Error> {
        let fits = plan.fits();
        let fit = *fits.get(index).ok_or_else(|| {
            Error::Usage(format!(
                "training {index} is not in `{}`; expected an index from 0 to {}",
                folder.path().display(),
                fits.len() - 1
            ))
        })?;
        let experiment = match TrainingList::open(plan, folder)? {
            Some(list) => list.experiment(index, folder)?,
            None => plan.experiment(&fit)?,
        };
        Ok(Self { index, fit, experiment, sweep: plan.sweep.clone() })
    }

    /// Trains it and writes its result, unless another process has done so. Calls `waiting` with the name of a process that may be training it, and waits until that is
    /// known. Returns `Ok(None)` if it was stopped, after saving.
    ///
    /// # Errors
    ///
    /// When another process is training it, or a file can't be read or written.
    pub fn train(
        self,
        folder: &SweepFolder,
        data: &Data,
        stop: &Arc<AtomicBool>,
        waiting: &mut dyn FnMut(&str),
    ) -> Result<Option<FitResult>, Error> {
        let run = Run {
            checkpoint: folder.checkpoint(&self.fit),
            initial_weights: None,
            weights: None,
            until: None,
            sweep: &self.sweep,
            stop,
            progress: &|_| {},
        };
        let index = self.index;
        folder.train(&self.fit, self.experiment, data, None, &run, waiting).map_err(|error| match error {
            Error::Run(RunError::TrainingInUse { sweep, owner, .. }) => {
                RunError::TrainingInUse { training: format!("training {index}"), sweep, owner }.into()
            }
            other => other,
        })
    }
}

/// Checks that the trainings of a sweep do not depend on the results of others.
///
/// # Errors
///
/// When they do.
pub fn check_independent(sweep: &Sweep) -> Result<(), Error> {
    let key = match sweep {
        Sweep { tpe: Some(_), .. } => "tpe",
        Sweep { path: true, .. } => "path",
        Sweep { pruner: Pruner::None, .. } => return Ok(()),
        _ => "pruner",
    };
    let problem = format!(
        "`sweep.{key}` needs the results of earlier trainings, so they can't be divided among processes; leave it out, or use `regulus sweep`"
    );
    Err(Error::Usage(problem))
}
