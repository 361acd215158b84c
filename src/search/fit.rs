//! One training of a sweep: a trial with one seed on one split.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::fit_checkpoint::{FitCheckpoint, Record};
use crate::atomic;
use crate::config::{Criterion, Experiment, Sweep};
use crate::data::{self, Data};
use crate::error::Error;
use crate::launch::session_of;
use crate::metrics::Metrics;
use crate::network::LeaveOneOut;
use crate::session::{Criteria, Session};
use crate::train::{Ending, Event, Observer, Snapshot, Split};

/// A training of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fit {
    /// The trial, from 0.
    pub trial: usize,
    /// The seed of the training.
    pub seed: u64,
    /// The fold that is the validation split, from 1. `None` without cross-validation.
    pub fold: Option<usize>,
    /// The repeat, from 1. `None` if there is one split, or one set of folds.
    #[serde(default)]
    pub repeat: Option<usize>,
    /// Whether it trains a finalist of a path again, from initial weights.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_finalist: bool,
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FitState {
    /// It was trained to the end.
    Completed,
    /// A loss or weight became infinite or NaN.
    Diverged,
    /// It could not be trained, such as a network that does not fit the images.
    Failed,
    /// It waits for the decision of the pruner, with a checkpoint.
    Paused,
    /// The pruner ended it.
    Pruned,
}

impl FitState {
    /// The word in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Diverged => "diverged",
            Self::Failed => "failed",
            Self::Paused => "paused",
            Self::Pruned => "pruned",
        }
    }
}

/// The result of a training: the measures of the last epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitResult {
    /// The training.
    #[serde(flatten)]
    pub fit: Fit,
    /// How it ended.
    pub state: FitState,
    /// Why it was not completed.
    pub message: Option<String>,
    /// Training samples.
    pub train_samples: usize,
    /// Validation samples.
    pub validation_samples: usize,
    /// Whether it started from the weights of another training, on a path.
    #[serde(default)]
    pub is_warm: bool,
    /// Completed epochs.
    pub epochs: u64,
    /// Mean data loss of the last epoch's steps.
    pub train_loss: Option<f64>,
    /// Mean data loss on the validation split.
    pub validation_loss: Option<f64>,
    /// The mean data loss on the validation split after each epoch.
    #[serde(default)]
    pub curve: Vec<f64>,
    /// The metrics of the task on the validation split.
    pub validation: Metrics,
    /// ‖w‖² over the penalized parameters.
    pub weight_norm_squared: Option<f64>,
    /// The fraction of kernel weights that are exactly 0.
    pub zero_weights: Option<f64>,
    /// λ of each penalty.
    pub lambdas: Vec<f64>,
    /// What the training images say, where the sweep computes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criteria: Option<FitCriteria>,
    /// What is doubtful about the training, such as a class that is never predicted.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Seconds of training.
    pub seconds: f64,
}

/// Measures on the training images. `None` where λ is 0: they are not defined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitCriteria {
    /// ln p(data | λ) in nats.
    pub log_evidence: Option<f64>,
    /// γ, the effective number of parameters.
    pub gamma: Option<f64>,
    /// The mean leave-one-out loss of the training images, reliable or not.
    pub leave_one_out_loss: Option<f64>,
    /// The leave-one-out loss of each training image, if it ranks the trials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leave_one_out: Vec<f32>,
    /// The fraction of training images whose leave-one-out loss is not reliable.
    pub unreliable: Option<f64>,
}

/// The largest fraction of unreliable images with which a leave-one-out loss ranks a training.
pub const UNRELIABLE: f64 = 0.005;

impl FitCriteria {
    fn of(criteria: Criteria, criterion: Criterion) -> Self {
        let Criteria { log_evidence, gamma, leave_one_out, .. } = criteria;
        let unreliable = leave_one_out.as_ref().map(|found| found.unreliable as f64 / found.losses.len() as f64);
        let leave_one_out_loss = leave_one_out.as_ref().map(|found| found.losses.iter().sum::<f64>() / found.losses.len() as f64);
        #[expect(clippy::cast_possible_truncation, reason = "a loss for the comparison of trials")]
        let losses = |found: LeaveOneOut| found.losses.into_iter().map(|loss| loss as f32).collect();
        let losses = leave_one_out.filter(|_| criterion == Criterion::Loo).map_or_else(Vec::new, losses);
        Self { log_evidence, gamma, leave_one_out_loss, leave_one_out: losses, unreliable }
    }
}

impl FitResult {
    /// What ranks the training among those with other settings: less is better. `None` if it was not completed, or it is not defined. A leave-one-out loss is not where
    /// more than [`UNRELIABLE`] of the images are unreliable.
    #[must_use]
    pub fn loss(&self, criterion: Criterion) -> Option<f64> {
        if self.state != FitState::Completed {
            return None;
        }
        match criterion {
            Criterion::ValidationLoss => self.validation_loss,
            Criterion::Evidence => self.negative_log_evidence(),
            Criterion::Loo => {
                let FitCriteria { leave_one_out: losses, unreliable, .. } = self.criteria.as_ref()?;
                let is_reliable = unreliable.is_some_and(|fraction| fraction <= UNRELIABLE);
                (!losses.is_empty() && is_reliable).then(|| losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len() as f64)
            }
        }
    }

    /// −ln p(data | λ)/m: less is better. `None` where it was not computed or λ is 0.
    #[must_use]
    pub fn negative_log_evidence(&self) -> Option<f64> {
        Some(-self.criteria.as_ref()?.log_evidence? / self.train_samples as f64)
    }

    /// The validation loss after an epoch, from 1; after a training that ended earlier, the last one.
    pub(super) fn loss_at(&self, epoch: u64) -> Option<f64> {
        let index = usize::try_from(epoch).unwrap_or(usize::MAX).min(self.curve.len());
        self.curve.get(index.checked_sub(1)?).copied()
    }
}

/// Where and how long a training runs.
pub(super) struct Run<'a> {
    /// The folder of its checkpoint, which need not exist.
    pub(super) checkpoint: PathBuf,
    /// The file for its last weights, from which the next one of a path starts.
    pub(super) weights: Option<PathBuf>,
    /// The last weights of another training, from which it starts.
    pub(super) initial_weights: Option<PathBuf>,
    /// The epoch until which it is trained. `None`: the last.
    pub(super) until: Option<u64>,
    /// What is measured after the last epoch.
    pub(super) sweep: &'a Sweep,
    /// Training stops soon after it is set.
    pub(super) stop: &'a Arc<AtomicBool>,
    /// Called after each epoch with the number of completed ones.
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
}

/// Collects the rows of the last epoch and the validation losses, and saves the state from time to time.
struct Recorder<'a> {
    record: Record,
    checkpoint: FitCheckpoint,
    /// The last state, if something is computed after the training.
    last: Option<Snapshot>,
    run: &'a Run<'a>,
}

impl Observer for Recorder<'_> {
    fn on(&mut self, event: &Event) -> Result<ControlFlow<()>, Error> {
        match event {
            Event::Epoch(rows) => {
                self.record.add(rows);
                (self.run.progress)(rows.first().map_or(0, |row| row.epoch));
            }
            Event::Checkpoint { snapshot, best } => {
                let is_pause = self.run.until.is_some_and(|epoch| snapshot.state.epoch >= epoch);
                self.checkpoint.take(snapshot, *best, &self.record, is_pause || self.run.stop.load(Ordering::Relaxed))?;
                self.last = self.run.sweep.needs_curvature().then(|| (*snapshot).clone());
            }
            Event::Progress(_) | Event::UpdatingLambda | Event::Measuring | Event::Phase(_) => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Fit {
    /// A result without measures.
    fn blank(&self) -> FitResult {
        FitResult {
            fit: *self,
            state: FitState::Completed,
            message: None,
            train_samples: 0,
            validation_samples: 0,
            is_warm: false,
            epochs: 0,
            train_loss: None,
            validation_loss: None,
            curve: Vec::new(),
            validation: Metrics::new(),
            weight_norm_squared: None,
            zero_weights: None,
            lambdas: Vec::new(),
            criteria: None,
            warnings: Vec::new(),
            seconds: 0.0,
        }
    }

    /// The result of a training that could not be trained.
    pub(super) fn failed(&self, message: &str) -> FitResult {
        FitResult { state: FitState::Failed, message: Some(message.to_owned()), ..self.blank() }
    }

    /// The name of its file.
    pub(super) fn file_name(&self) -> String {
        let part = |name: &str, number: Option<usize>| number.map_or(String::new(), |number| format!("-{name}{number}"));
        let finalist = if self.is_finalist { "-finalist" } else { "" };
        format!("trial{:04}-seed{}{}{}{finalist}.json", self.trial, self.seed, part("repeat", self.repeat), part("fold", self.fold))
    }

    /// Trains, from the checkpoint if there is one. Returns `Ok(None)` if it was stopped, after saving.
    ///
    /// # Errors
    ///
    /// When a checkpoint can't be read or written.
    pub(super) fn run(&self, experiment: Experiment, data: &Data, run: &Run) -> Result<Option<FitResult>, Error> {
        let mut result = FitResult { is_warm: run.initial_weights.is_some(), ..self.blank() };
        let checkpoint = FitCheckpoint::new(run.checkpoint.clone());
        let mut recorder = Recorder { record: Record::default(), checkpoint, last: None, run };
        match train(experiment, data, &mut recorder, &mut result) {
            Ok(Ending::Paused) if run.until.is_some() => result.state = FitState::Paused,
            Ok(Ending::Interrupted | Ending::Paused) => return Ok(None),
            Ok(Ending::Completed | Ending::EarlyStopped) => {}
            Err(error @ Error::Diverged(_)) => (result.state, result.message) = (FitState::Diverged, Some(error.to_string())),
            // These say that the settings can't be trained. Others may pass, such as a full disk.
            Err(error @ (Error::Config(_) | Error::Data(_) | Error::Model(_) | Error::InitialWeights(_))) => {
                (result.state, result.message) = (FitState::Failed, Some(with_causes(&error)));
            }
            Err(error) => return Err(error),
        }
        let Record { rows, curve } = recorder.record;
        if matches!(result.state, FitState::Completed | FitState::Paused) && rows.is_empty() {
            let problem = "a training has ended without the measures of its last epoch; remove its checkpoint in `fits` to train it again";
            return Err(Error::Usage(problem.to_owned()));
        }
        result.curve = curve;
        for row in rows {
            result.epochs = row.epoch;
            result.seconds = row.seconds;
            match row.split {
                Split::Train => {
                    result.train_loss = Some(row.data_loss);
                    (result.weight_norm_squared, result.zero_weights) = (Some(row.weight_norm_squared), row.zero_weights);
                    result.lambdas = row.lambdas;
                }
                Split::Validation => (result.validation_loss, result.validation) = (Some(row.data_loss), row.metrics),
            }
        }
        Ok(Some(result))
    }
}

/// The message of an error and of its causes.
fn with_causes(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}

/// Trains without the test split.
fn train(experiment: Experiment, data: &Data, recorder: &mut Recorder, result: &mut FitResult) -> Result<Ending, Error> {
    let mut data = data.for_any_experiment(&experiment)?;
    data.test = None;
    result.train_samples = data.train.count();
    result.validation_samples = data.validation.as_ref().map_or(0, data::Subset::count);
    let mut session = match recorder.checkpoint.load()? {
        None => session_of(experiment, data)?,
        Some((last, best, record)) => {
            recorder.record = record;
            Session::resumed(experiment, data, &last, best)?
        }
    };
    result.warnings = session.warnings().to_vec();
    session.stop_by(Arc::clone(recorder.run.stop));
    let run = recorder.run;
    let ending = session.run_until(run.until.unwrap_or(u64::MAX), recorder)?;
    if let (Some(path), Ending::Completed) = (&run.weights, ending) {
        atomic::write(path, &session.network().weights().to_safetensors(&BTreeMap::new()))?;
    }
    if !run.sweep.needs_curvature() || !matches!(ending, Ending::Completed | Ending::EarlyStopped) {
        return Ok(ending);
    }
    // This can take longer than the training, which is not lost if it is stopped.
    if let Some(last) = recorder.last.take() {
        recorder.checkpoint.take(&last, false, &recorder.record, true)?;
    }
    let Some(criteria) = session.criteria()? else { return Ok(Ending::Interrupted) };
    result.criteria = Some(FitCriteria::of(criteria, run.sweep.criterion));
    Ok(ending)
}
