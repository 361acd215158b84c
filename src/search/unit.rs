//! One training of a sweep: a trial with one seed on one split.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::unit_checkpoint::UnitCheckpoint;
use crate::config::Experiment;
use crate::data::{self, Data};
use crate::error::Error;
use crate::launch::session_of;
use crate::metrics::Metrics;
use crate::session::Session;
use crate::train::{Ending, Event, Observer, Row, Split};

/// A training of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unit {
    /// The trial, from 0.
    pub trial: usize,
    /// The seed of the training.
    pub seed: u64,
    /// The fold that is the validation split, from 1. `None` without cross-validation.
    pub fold: Option<usize>,
}

/// How a unit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitState {
    /// It was trained to the end.
    Completed,
    /// A loss or weight became infinite or NaN.
    Diverged,
    /// It could not be trained, such as a network that does not fit the images.
    Failed,
}

/// The result of a unit: the measures of the last epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitResult {
    /// The unit.
    #[serde(flatten)]
    pub unit: Unit,
    /// How it ended.
    pub state: UnitState,
    /// Why it was not completed.
    pub message: Option<String>,
    /// Training samples.
    pub train_samples: usize,
    /// Validation samples.
    pub validation_samples: usize,
    /// Completed epochs.
    pub epochs: u64,
    /// Mean data loss of the last epoch's steps.
    pub train_loss: Option<f64>,
    /// Mean data loss on the validation split.
    pub validation_loss: Option<f64>,
    /// The metrics of the task on the validation split.
    pub validation: Metrics,
    /// ‖w‖² over the penalized parameters.
    pub weight_norm_squared: Option<f64>,
    /// The fraction of kernel weights that are exactly 0.
    pub zero_weights: Option<f64>,
    /// λ of each penalty.
    pub lambdas: Vec<f64>,
    /// Seconds of training.
    pub seconds: f64,
}

/// Collects the rows of the last epoch, and saves the state from time to time.
struct Recorder<'a> {
    rows: Vec<Row>,
    checkpoint: UnitCheckpoint,
    stop: &'a AtomicBool,
}

impl Observer for Recorder<'_> {
    fn on(&mut self, event: &Event) -> Result<ControlFlow<()>, Error> {
        match event {
            Event::Epoch(rows) => self.rows = rows.to_vec(),
            Event::Checkpoint { snapshot, best } => self.checkpoint.take(snapshot, *best, &self.rows, self.stop.load(Ordering::Relaxed))?,
            Event::Progress(_) | Event::UpdatingLambda | Event::Measuring | Event::Phase(_) => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Unit {
    /// A result without measures.
    fn blank(&self) -> UnitResult {
        UnitResult {
            unit: *self,
            state: UnitState::Completed,
            message: None,
            train_samples: 0,
            validation_samples: 0,
            epochs: 0,
            train_loss: None,
            validation_loss: None,
            validation: Metrics::new(),
            weight_norm_squared: None,
            zero_weights: None,
            lambdas: Vec::new(),
            seconds: 0.0,
        }
    }

    /// The result of a unit that could not be trained.
    pub(super) fn failed(&self, message: &str) -> UnitResult {
        UnitResult { state: UnitState::Failed, message: Some(message.to_owned()), ..self.blank() }
    }

    /// The name of its file.
    pub(super) fn file_name(&self) -> String {
        let fold = self.fold.map_or(String::new(), |fold| format!("-fold{fold}"));
        format!("trial{:04}-seed{}{fold}.json", self.trial, self.seed)
    }

    /// Trains the unit, from its checkpoint in the folder `checkpoint` if there is one. Returns `Ok(None)` if it was stopped, after saving.
    ///
    /// # Errors
    ///
    /// When a checkpoint can't be read or written.
    pub(super) fn run(
        &self,
        experiment: Experiment,
        data: &Data,
        checkpoint: PathBuf,
        stop: &Arc<AtomicBool>,
    ) -> Result<Option<UnitResult>, Error> {
        let mut result = self.blank();
        let mut recorder = Recorder { rows: Vec::new(), checkpoint: UnitCheckpoint::new(checkpoint), stop };
        match train(experiment, data, stop, &mut recorder, &mut result) {
            Ok(Ending::Interrupted | Ending::Paused) => return Ok(None),
            Ok(Ending::Completed | Ending::EarlyStopped) => {}
            Err(error @ Error::Diverged(_)) => (result.state, result.message) = (UnitState::Diverged, Some(error.to_string())),
            // These say that the settings can't be trained. Others may pass, such as a full disk.
            Err(error @ (Error::Config(_) | Error::Data(_) | Error::Model(_) | Error::InitialWeights(_))) => {
                (result.state, result.message) = (UnitState::Failed, Some(with_causes(&error)));
            }
            Err(error) => return Err(error),
        }
        if result.state == UnitState::Completed && recorder.rows.is_empty() {
            let problem = "a training has ended without the measures of its last epoch; remove its checkpoint in `units` to train it again";
            return Err(Error::Usage(problem.to_owned()));
        }
        for row in recorder.rows {
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
fn train(
    experiment: Experiment,
    data: &Data,
    stop: &Arc<AtomicBool>,
    recorder: &mut Recorder,
    result: &mut UnitResult,
) -> Result<Ending, Error> {
    let mut data = data.for_any_experiment(&experiment)?;
    data.test = None;
    result.train_samples = data.train.count();
    result.validation_samples = data.validation.as_ref().map_or(0, data::Subset::count);
    let mut session = match recorder.checkpoint.load()? {
        None => session_of(experiment, data)?,
        Some((last, best, rows)) => {
            recorder.rows = rows;
            Session::resumed(experiment, data, &last, best)?
        }
    };
    session.stop_by(Arc::clone(stop));
    session.run(recorder)
}
