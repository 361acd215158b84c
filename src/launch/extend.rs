//! Training a run on, to more epochs than it had.

use std::path::Path;

use super::Prepared;
use crate::checksum::sha256;
use crate::clock;
use crate::config::number::Count;
use crate::config::{Decay, Experiment, Schedule};
use crate::error::Error;
use crate::run::{Extension, Manifest, RunError, RunFolder};
use crate::train::{Position, Training, rate_at};

/// A run that is about to be extended.
pub(super) struct Extending {
    before: Experiment,
    from_epoch: u64,
    epochs: Count,
    /// Early stopping has waited for so many epochs.
    waited: u64,
}

impl Extending {
    /// The run in `path`, at `position`, to be trained on to `epochs` in all.
    pub(super) fn new(
        path: &Path,
        experiment: &Experiment,
        manifest: &Manifest,
        position: Option<&Position>,
        epochs: Count,
    ) -> Result<Self, RunError> {
        let from_epoch = position.map_or(0, |position| position.epoch);
        let all = epochs.get() as u64;
        let refuse = |problem: String| Err(RunError::Extension { path: path.to_owned(), epochs: all, problem });
        if all <= from_epoch {
            return refuse(format!("it has done {from_epoch} already; give a larger number"));
        }
        let max_steps = experiment.train.max_steps;
        if max_steps > 0 && max_steps < all.saturating_mul(experiment.train.steps_per_epoch(manifest.dataset.train)) {
            return refuse(format!("its `train.max_steps` is {max_steps}, which ends it before; train a new run without"));
        }
        let waited = position.map_or(0, |position| position.stopping.waited());
        Ok(Self { before: experiment.clone(), from_epoch, epochs, waited })
    }

    /// What is different from now on.
    pub(super) fn notes(&self, prepared: &Prepared, training: &Training) -> Vec<String> {
        let (samples, before, now) = (prepared.data.train.count(), &self.before, &prepared.experiment);
        let mut notes = vec![format!("training on from epoch {} to epoch {}", self.from_epoch, self.epochs.get())];
        let position = &training.position;
        let moved = |name: &str, base: f64, schedule: &Schedule, last: Option<f64>| {
            let kind = match schedule.decay {
                Decay::Cosine { .. } => "cosine",
                Decay::Linear { .. } => "linear",
                Decay::Constant | Decay::Step { .. } | Decay::Plateau { .. } => return None,
            };
            let (ended, ends) = (before.train.steps(samples), now.train.steps(samples));
            let at =
                |step| rate_at(base, schedule, ends, now.train.steps_per_epoch(samples), step) * position.plateau_factor.unwrap_or(1.0);
            let was = last.map_or(String::new(), |last| format!(" (it was {} at step {})", short(last), position.step));
            (ended != ends && position.step < ends).then(|| {
                format!(
                    "the {kind} schedule of {name} ends at step {ends} now, not {ended}: it goes on from {} at step {}{was} and falls to {} at the end",
                    short(at(position.step)),
                    position.step + 1,
                    short(at(ends - 1))
                )
            })
        };
        notes.extend(moved("the learning rate", now.optimizer.learning_rate.get(), &now.schedule, position.rate));
        let labels = prepared.penalties.labels();
        let lambdas = training.penalties().lambdas();
        for ((scheduled, label), lambda) in prepared.penalties.schedules().zip(&labels).zip(lambdas) {
            notes.extend(scheduled.and_then(|(base, schedule)| moved(&format!("λ ({label})"), base, schedule, Some(lambda))));
        }
        if now.early_stopping.patience > 0 && self.waited > 0 {
            notes.push(format!("early stopping waits anew for {} epochs without a better validation loss", now.early_stopping.patience));
        }
        notes
    }

    /// Records the extension in the run's folder.
    pub(super) fn record(&self, folder: &RunFolder, manifest: &mut Manifest) -> Result<(), Error> {
        // Not the place of the data that this command was given.
        let mut experiment = folder.experiment(None)?.with_epochs(self.epochs)?;
        experiment.backend.kernels = manifest.kernels;
        let config_sha256 = sha256(experiment.to_toml().as_bytes());
        let (from_epoch, to_epoch) = (self.from_epoch, self.epochs.get() as u64);
        manifest.extended.push(Extension { from_epoch, to_epoch, when: clock::now(), config_sha256 });
        Ok(folder.extend(&experiment, manifest)?)
    }
}

/// A rate or a λ in few digits.
fn short(number: f64) -> String {
    if number == 0.0 { "0".to_owned() } else { format!("{number:.3e}") }
}
