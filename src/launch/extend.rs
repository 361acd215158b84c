//! The extension of a run to more epochs.

use std::path::Path;

use crate::checksum::sha256;
use crate::clock;
use crate::config::number::Count;
use crate::config::{Decay, Experiment, Schedule};
use crate::error::Error;
use crate::numbers::{metric_title, short};
use crate::run::{Extension, Manifest, RunError, RunFolder};
use crate::schedule::{RunLength, ScheduledValue};
use crate::session::Session;
use crate::train::TrainingState;

/// An extension before it is recorded.
pub(super) struct Extending {
    /// The experiment before the extension.
    before: Experiment,
    /// Completed epochs.
    from_epoch: u64,
    /// The new total number of epochs.
    epochs: Count,
    /// Epochs without improvement in early stopping.
    waited: u64,
}

impl Extending {
    /// The extension of the run in `path`, with the training state `state`, to `epochs` epochs.
    pub(super) fn new(
        path: &Path,
        experiment: &Experiment,
        manifest: &Manifest,
        state: Option<&TrainingState>,
        epochs: Count,
    ) -> Result<Self, RunError> {
        let from_epoch = state.map_or(0, |state| state.epoch);
        let total = epochs.get() as u64;
        let refuse = |problem: String| Err(RunError::Extension { path: path.to_owned(), epochs: total, problem });
        if total <= from_epoch {
            return refuse(format!("it has done {from_epoch} already; give a larger number"));
        }
        let max_steps = experiment.train.max_steps;
        if max_steps > 0 && max_steps < total.saturating_mul(experiment.train.steps_per_epoch(manifest.dataset.train)) {
            return refuse(format!("its `train.max_steps` is {max_steps}, which ends it earlier; train a new run without it"));
        }
        let waited = state.map_or(0, |state| state.stopping.waited());
        Ok(Self { before: experiment.clone(), from_epoch, epochs, waited })
    }

    /// Notes for the user about schedules and early stopping.
    pub(super) fn notes(&self, session: &Session) -> Vec<String> {
        let (samples, before, now) = (session.data().train.count(), &self.before, session.experiment());
        let mut notes = vec![format!("training on from epoch {} to epoch {}", self.from_epoch, self.epochs.get())];
        let (state, penalties) = (session.state(), session.penalties());
        let schedule_note = |name: &str, base: f64, schedule: &Schedule, last: Option<f64>| {
            let (kind, end) = match schedule.decay {
                Decay::Cosine { final_fraction } => ("cosine", base * final_fraction.get()),
                Decay::Linear { final_fraction } => ("linear", base * final_fraction.get()),
                Decay::OneCycle { final_fraction, .. } => ("one_cycle", base * final_fraction.get()),
                Decay::Constant | Decay::Step { .. } | Decay::Plateau { .. } => return None,
            };
            let (ended, length) = (before.train.steps(samples), RunLength::new(&now.train, samples));
            let ends = length.steps;
            let at = |step| ScheduledValue::new(base, schedule, length).at(step) * state.plateau_factor.unwrap_or(1.0);
            let previous = last.map_or(String::new(), |last| format!(" (it was {} at step {})", short(last), state.step));
            (ended != ends && state.step < ends).then(|| {
                format!(
                    "the {kind} schedule of {name} ends at step {ends} now, not {ended}: it goes on from {} at step {}{previous} and falls to {} at the end",
                    short(at(state.step)),
                    state.step + 1,
                    short(end)
                )
            })
        };
        notes.extend(schedule_note("the learning rate", now.optimizer.learning_rate.get(), &now.schedule, state.rate));
        let labels = penalties.labels();
        let lambdas = penalties.lambdas();
        for ((scheduled, label), lambda) in penalties.schedules().zip(&labels).zip(lambdas) {
            notes.extend(scheduled.and_then(|(base, schedule)| schedule_note(&format!("λ ({label})"), base, schedule, Some(lambda))));
        }
        if now.early_stopping.patience > 0 && self.waited > 0 {
            notes.push(format!(
                "early stopping counts again from 0: it stops after {} epochs without a better validation {}",
                now.early_stopping.patience,
                metric_title(now.train.best_by.name()).replace("data loss", "loss")
            ));
        }
        notes
    }

    /// Records the extension in the run folder.
    pub(super) fn record(&self, folder: &RunFolder, manifest: &mut Manifest) -> Result<(), Error> {
        // Without the `--data-dir` of this command.
        let mut experiment = folder.experiment(None)?.with_epochs(self.epochs)?;
        experiment.backend.kernels = manifest.kernels;
        let config_sha256 = sha256(experiment.to_toml().as_bytes());
        let (from_epoch, to_epoch) = (self.from_epoch, self.epochs.get() as u64);
        manifest.extended.push(Extension { from_epoch, to_epoch, when: clock::now(), config_sha256 });
        Ok(folder.extend(&experiment, manifest)?)
    }
}
