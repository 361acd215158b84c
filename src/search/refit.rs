//! The chosen trial, trained again on all images but the test split.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Plan, SweepFolder};
use crate::data::Data;
use crate::error::Error;
use crate::launch::{Launch, ResumeOptions, session_of};
use crate::run::{RunError, RunFolder};
use crate::session::{Status, Summary};
use crate::train::Observer;

/// The summary of the refit, if it has ended.
///
/// # Errors
///
/// When it is damaged.
pub(super) fn ended(folder: &SweepFolder) -> Result<Option<Summary>, Error> {
    let path = folder.refit();
    let Ok(run) = RunFolder::open(&path) else { return Ok(None) };
    Ok(run.summary()?.filter(|summary| matches!(summary.status, Status::Completed | Status::EarlyStopped)))
}

/// Trains `trial` again, in the run folder `refit`. A run that was interrupted goes on; one that has ended is read.
///
/// # Errors
///
/// When training diverges, or a file can't be written.
pub(super) fn refit(
    plan: &Plan,
    trial: usize,
    data: &Data,
    folder: &SweepFolder,
    has_events: bool,
    stop: &Arc<AtomicBool>,
    observer: &mut dyn Observer,
) -> Result<Summary, Error> {
    let path = folder.refit();
    if let Some(summary) = ended(folder)? {
        return Ok(summary);
    }
    let launch = if RunFolder::open(&path).is_ok() {
        let options =
            ResumeOptions { data: Some(data.for_any_experiment(&plan.refit_experiment(trial, data)?)?), ..ResumeOptions::default() };
        match Launch::resume(&path, options)? {
            Some(launch) => launch,
            None => return RunFolder::open(&path)?.summary()?.ok_or_else(|| Error::Usage("the refit has no summary".to_owned())),
        }
    } else {
        let experiment = plan.refit_experiment(trial, data)?;
        let data = data.for_any_experiment(&experiment)?;
        Launch::of(session_of(experiment, data)?, Some(&path)).map_err(|error| match error {
            Error::Run(RunError::Taken { path }) => RunError::TakenRefit { path, sweep: folder.path().to_owned() }.into(),
            other => other,
        })?
    };
    let mut launch = launch.with_tensorboard(has_events);
    launch.stop_by(Arc::clone(stop));
    launch.run(observer)
}
