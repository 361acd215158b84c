//! The training loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::prelude::*;
use rand::seq::SliceRandom;

use super::average::Average;
use super::step::{StepContext, StepSums, Stepper};
use super::{Diverged, Event, Observer, ParameterOptimizer, Progress, Snapshot, TrainingState};
use crate::backend::{keep_awake, on_threads};
use crate::config::{self, Experiment};
use crate::data::{Batcher, Data};
use crate::error::Error;
use crate::network::{Network, Scope};
use crate::objective::{Observed, Penalties};
use crate::schedule::{RunLength, ScheduledValue};

/// Steps between two reads of the sums from the device.
const READ_EVERY: usize = 20;

/// The inputs of a training run.
pub struct Plan<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Its data.
    pub data: &'a Data,
    /// The layers whose curvature evidence needs.
    pub curvature: &'a Scope,
    /// The device, with autodiff.
    pub device: &'a Device,
    /// A flag that stops training after the current step, or a long phase after its current unit.
    pub stop: &'a AtomicBool,
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All epochs, or `max_steps` steps, are complete.
    Completed,
    /// Early stopping: the validation loss had stopped improving.
    EarlyStopped,
    /// It was stopped by the flag, after saving.
    Interrupted,
}

/// A training run.
pub struct Training {
    pub(super) network: Network,
    pub(super) optimizer: ParameterOptimizer,
    pub(super) penalties: Penalties,
    pub(super) average: Average,
    /// The training state.
    pub state: TrainingState,
}

/// A step whose sums have not been read from the device.
struct Pending {
    sums: StepSums,
    rate: f64,
    lambdas: Vec<f64>,
    samples: usize,
}

impl Training {
    /// A new training run.
    #[must_use]
    pub fn new(network: Network, optimizer: ParameterOptimizer, penalties: Penalties, averaging: config::Average) -> Self {
        let first = penalties.weight_norm_squared(&network.weights());
        let state = TrainingState { first_weight_norm_squared: Some(first), ..TrainingState::default() };
        Self { network, optimizer, penalties, average: Average::new(averaging), state }
    }

    /// The current network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network for evaluation, without autodiff: the weight average, or the current network if there is none.
    #[must_use]
    pub fn measured_network(&self) -> Network {
        self.average.network().cloned().unwrap_or_else(|| self.network.valid())
    }

    /// Restores the training state and the weight average of a checkpoint.
    #[must_use]
    pub fn resumed(self, averaged: Option<Network>, state: TrainingState) -> Self {
        let Self { network, optimizer, mut penalties, average, .. } = self;
        penalties.advance(Observed::Checkpoint { lambdas: &state.lambdas, bounds: &state.bounds });
        Self { network, optimizer, penalties, average: average.resumed(averaged, state.averaged), state }
    }

    /// The regularization terms with their current λ.
    #[must_use]
    pub fn penalties(&self) -> &Penalties {
        &self.penalties
    }

    /// Trains to the end. Sends events to `observer`.
    ///
    /// # Errors
    ///
    /// When a loss or weight is not finite, or the observer fails.
    pub fn run(&mut self, plan: &Plan, observer: &mut dyn Observer) -> Result<Ending, Error> {
        on_threads(self.network.implementation(), || self.train(plan, observer))
    }

    fn train(&mut self, plan: &Plan, observer: &mut dyn Observer) -> Result<Ending, Error> {
        let experiment = plan.experiment;
        let samples = plan.data.train.count();
        let epochs = experiment.train.epochs.get() as u64;
        let (size, length) = (experiment.train.batch(samples), RunLength::new(&experiment.train, samples));
        let RunLength { steps_per_epoch: per_epoch, steps, .. } = length;
        let batcher = Batcher::new(&plan.data.normalizer, plan.device);
        let mut stepper = Stepper::new(experiment, &plan.data.train, &batcher).until(plan.stop);
        let mut rate = ScheduledValue::new(experiment.optimizer.learning_rate.get(), &experiment.schedule, length);
        let mut network = self.network.clone().train();
        while self.ends_epoch(per_epoch, steps) || (self.state.step < steps && !self.out_of_patience(plan)) {
            let earlier_seconds = self.state.sums.seconds;
            let started = Instant::now();
            let order = plan.order(self.state.epoch);
            let batches: Vec<&[u32]> = order.chunks(size).collect();
            let mut pending = Vec::new();
            while !self.ends_epoch(per_epoch, steps) {
                let index = usize::try_from(self.state.batch).unwrap_or(usize::MAX);
                let [indices, upcoming] = [index, index + 1].map(|index| batches.get(index).copied().unwrap_or_default());
                let step_rate = rate.at(self.state.step) * self.state.plateau_factor.unwrap_or(1.0);
                keep_awake();
                let context = StepContext { indices, upcoming, rate: step_rate, epoch: self.state.epoch, step: self.state.step };
                let (next, sums) = stepper.step_unless_stopped(network, &mut self.optimizer, &mut self.penalties, context);
                network = next;
                let is_complete = sums.is_some();
                if let Some(sums) = sums {
                    self.average.after_step(&network);
                    pending.push(Pending { sums, rate: step_rate, lambdas: self.penalties.lambdas(), samples: indices.len() });
                    self.state.rate = Some(step_rate);
                    self.state.step += 1;
                    self.state.batch += 1;
                }
                let stop = plan.stop.load(Ordering::Relaxed) || !is_complete;
                let ends = self.ends_epoch(per_epoch, steps);
                let every = experiment.checkpoint.every_steps;
                let saves = every > 0 && self.state.step.is_multiple_of(every) && !ends;
                if stop || saves || ends || pending.len() >= READ_EVERY {
                    self.read(&mut pending)?;
                    self.state.sums.seconds = earlier_seconds + started.elapsed().as_secs_f64();
                    if self.state.sums.samples > 0.0 {
                        observer.on(&Event::Progress(self.progress(epochs, steps)))?;
                    }
                }
                if (stop && !ends) || saves {
                    self.network = network.clone();
                    self.save(observer)?;
                }
                if stop && !ends {
                    return Ok(Ending::Interrupted);
                }
            }
            self.network = network.clone();
            if !self.end_epoch(plan, observer)? {
                self.save(observer)?;
                return Ok(Ending::Interrupted);
            }
            if self.state.step < steps && plan.stop.load(Ordering::Relaxed) && !self.out_of_patience(plan) {
                return Ok(Ending::Interrupted);
            }
        }
        Ok(if self.out_of_patience(plan) { Ending::EarlyStopped } else { Ending::Completed })
    }

    /// Whether all steps of the current epoch are complete.
    fn ends_epoch(&self, per_epoch: u64, steps: u64) -> bool {
        self.state.batch > 0 && (self.state.batch >= per_epoch || self.state.step >= steps)
    }

    /// Saves a checkpoint between two steps.
    fn save(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let snapshot = self.snapshot(self.state.rate.unwrap_or_default())?;
        observer.on(&Event::Checkpoint { snapshot: &snapshot, best: false })
    }

    /// Reads the sums of the pending steps from the device and adds them to the state.
    fn read(&mut self, pending: &mut Vec<Pending>) -> Result<(), Diverged> {
        if pending.is_empty() {
            return Ok(());
        }
        let sums = Tensor::cat(pending.iter().map(|pending| pending.sums.clone()).collect(), 0);
        let values: Vec<f64> = sums.into_data().iter::<f64>().collect();
        let first = self.state.step - pending.len() as u64;
        for ((step, values), Pending { rate, lambdas, samples, .. }) in (first..).zip(values.chunks_exact(3)).zip(pending.drain(..)) {
            let &[data_loss, penalty, correct] = values else { continue };
            for (name, value) in [("the data loss", data_loss), ("the penalty", penalty)] {
                if !value.is_finite() {
                    let lambda = self.penalties.in_words(&lambdas);
                    return Err(Diverged { lambda, ..self.diverged(name, step + 1, self.state.epoch + 1, rate) });
                }
            }
            let sums = &mut self.state.sums;
            sums.data_loss += data_loss * samples as f64;
            sums.penalty += penalty * samples as f64;
            sums.correct += correct;
            sums.samples += samples as f64;
        }
        Ok(())
    }

    fn progress(&self, epochs: u64, steps: u64) -> Progress {
        let sums = &self.state.sums;
        Progress {
            epoch: self.state.epoch + 1,
            epochs,
            step: self.state.step,
            steps,
            data_loss: sums.data_loss / sums.samples,
            penalty: sums.penalty / sums.samples,
            images_per_second: sums.samples / sums.seconds,
        }
    }

    pub(super) fn snapshot(&mut self, rate: f64) -> Result<Snapshot, Diverged> {
        let weights = self.network.weights();
        self.state.lambdas = self.penalties.lambdas();
        self.state.bounds = self.penalties.bounds();
        self.state.averaged = self.average.count;
        if weights.is_finite() {
            let averaged = self.average.network().map(Network::weights);
            Ok(Snapshot { weights, averaged, optimizer: self.optimizer.to_bytes(), state: self.state.clone() })
        } else {
            Err(self.diverged("a weight", self.state.step, self.state.epoch + 1, rate))
        }
    }

    pub(crate) fn diverged(&self, what: &'static str, step: u64, epoch: u64, learning_rate: f64) -> Diverged {
        Diverged { what, step, epoch, learning_rate, lambda: self.penalties.in_words(&self.penalties.lambdas()) }
    }

    pub(super) fn out_of_patience(&self, plan: &Plan) -> bool {
        let patience = plan.experiment.early_stopping.patience;
        patience > 0 && self.state.stopping.waited() >= patience
    }
}

impl Plan<'_> {
    /// The order of the samples in `epoch` (from 0).
    fn order(&self, epoch: u64) -> Vec<u32> {
        let mut order: Vec<u32> = (0..u32::try_from(self.data.train.count()).unwrap_or(u32::MAX)).collect();
        if self.experiment.data.shuffle {
            order.shuffle(&mut self.experiment.seed.stream("shuffle", epoch));
        }
        order
    }
}
