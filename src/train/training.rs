//! The loop: epochs of steps, measured, saved and stopped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::prelude::*;
use rand::seq::SliceRandom;

use super::average::Average;
use super::rate::Rate;
use super::step::{StepContext, StepSums, Stepper};
use super::{Diverged, Event, Observer, ParameterOptimizer, Position, Progress, Snapshot};
use crate::backend::{keep_awake, on_threads};
use crate::config::{self, Experiment};
use crate::data::{Batcher, Data};
use crate::error::Error;
use crate::network::{Network, Scope};
use crate::objective::Penalties;

/// Steps between two reads of the sums from the device.
const READ_EVERY: usize = 20;

/// What a training needs to know.
pub struct Plan<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Its data.
    pub data: &'a Data,
    /// The layers whose curvature `evidence` needs.
    pub curvature: &'a Scope,
    /// Where it computes, with autodiff.
    pub device: &'a Device,
    /// Raised from outside to end it at the next step, or the next part of what takes long after an epoch.
    pub stop: &'a AtomicBool,
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every epoch, or `max_steps`, was done.
    Completed,
    /// The validation loss had not improved for long enough.
    EarlyStopped,
    /// It was asked to stop, and saved.
    Interrupted,
}

/// A training under way.
pub struct Training {
    pub(super) network: Network,
    pub(super) optimizer: ParameterOptimizer,
    pub(super) penalties: Penalties,
    pub(super) average: Average,
    /// Where it stands.
    pub position: Position,
}

/// A step whose sums are still on the device.
struct Pending {
    sums: StepSums,
    rate: f64,
    lambdas: Vec<f64>,
    samples: usize,
}

impl Training {
    /// A training that has not begun.
    #[must_use]
    pub fn new(network: Network, optimizer: ParameterOptimizer, penalties: Penalties, averaging: config::Average) -> Self {
        let first = penalties.weight_norm_squared(&network.weights());
        let position = Position { first_weight_norm_squared: Some(first), ..Position::default() };
        Self { network, optimizer, penalties, average: Average::new(averaging), position }
    }

    /// The network that is trained, as it is.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network to measure and keep: the average of the weights where there is one, without autodiff.
    #[must_use]
    pub fn measured_network(&self) -> Network {
        self.average.network().cloned().unwrap_or_else(|| self.network.valid())
    }

    /// A training that has not begun as a checkpoint left it, `averaged` being the average of the weights.
    #[must_use]
    pub fn resumed(self, averaged: Option<Network>, position: Position) -> Self {
        let Self { network, optimizer, mut penalties, average, .. } = self;
        penalties.resume(&position.lambdas, &position.bounds);
        Self { network, optimizer, penalties, average: average.resumed(averaged, position.averaged), position }
    }

    /// The regularization terms, with the λ in force.
    #[must_use]
    pub fn penalties(&self) -> &Penalties {
        &self.penalties
    }

    /// Trains to the end, telling `observer`.
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
        let (size, per_epoch, steps) =
            (experiment.train.batch(samples), experiment.train.steps_per_epoch(samples), experiment.train.steps(samples));
        let batcher = Batcher::new(&plan.data.normalizer, plan.device);
        let mut stepper = Stepper::new(experiment, &plan.data.train, &batcher).until(plan.stop);
        let base = experiment.optimizer.learning_rate.get();
        let mut rate = Rate::new(base, &experiment.schedule, steps, per_epoch, self.position.step);
        let lambda = |(base, schedule)| Rate::new(base, schedule, steps, per_epoch, self.position.step);
        let mut lambdas: Vec<Option<Rate>> = self.penalties.schedules().map(|known| known.map(lambda)).collect();
        let mut network = self.network.clone().train();
        while self.ends_epoch(per_epoch, steps) || (self.position.step < steps && !self.out_of_patience(plan)) {
            let earlier = self.position.sums.seconds;
            let begun = Instant::now();
            let order = plan.order(self.position.epoch);
            let batches: Vec<&[u32]> = order.chunks(size).collect();
            let mut pending = Vec::new();
            while !self.ends_epoch(per_epoch, steps) {
                let number = usize::try_from(self.position.batch).unwrap_or(usize::MAX);
                let [indices, upcoming] = [number, number + 1].map(|number| batches.get(number).copied().unwrap_or_default());
                let step_rate = rate.next(self.position.plateau_factor.unwrap_or(1.0));
                self.penalties.set(lambdas.iter_mut().map(|lambda| lambda.as_mut().map(|lambda| lambda.next(1.0))));
                keep_awake();
                let context = StepContext { indices, upcoming, rate: step_rate, epoch: self.position.epoch, step: self.position.step };
                let (next, sums) = stepper.step_unless_stopped(network, &mut self.optimizer, &mut self.penalties, context);
                network = next;
                let is_whole = sums.is_some();
                if let Some(sums) = sums {
                    self.average.after_step(&network);
                    pending.push(Pending { sums, rate: step_rate, lambdas: self.penalties.lambdas(), samples: indices.len() });
                    self.position.rate = Some(step_rate);
                    self.position.step += 1;
                    self.position.batch += 1;
                }
                let stop = plan.stop.load(Ordering::Relaxed) || !is_whole;
                let ends = self.ends_epoch(per_epoch, steps);
                let every = experiment.checkpoint.every_steps;
                let saves = every > 0 && self.position.step.is_multiple_of(every) && !ends;
                if stop || saves || ends || pending.len() >= READ_EVERY {
                    self.read(&mut pending)?;
                    self.position.sums.seconds = earlier + begun.elapsed().as_secs_f64();
                    if self.position.sums.samples > 0.0 {
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
            if self.position.step < steps && plan.stop.load(Ordering::Relaxed) && !self.out_of_patience(plan) {
                return Ok(Ending::Interrupted);
            }
        }
        Ok(if self.out_of_patience(plan) { Ending::EarlyStopped } else { Ending::Completed })
    }

    /// Whether all steps of the epoch under way are done, and it is to be measured.
    fn ends_epoch(&self, per_epoch: u64, steps: u64) -> bool {
        self.position.batch > 0 && (self.position.batch >= per_epoch || self.position.step >= steps)
    }

    /// Saves the state between two steps.
    fn save(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let snapshot = self.snapshot(self.position.rate.unwrap_or_default())?;
        observer.on(&Event::Checkpoint { snapshot: &snapshot, best: false })
    }

    /// Reads the sums of pending steps and adds them up.
    fn read(&mut self, pending: &mut Vec<Pending>) -> Result<(), Diverged> {
        if pending.is_empty() {
            return Ok(());
        }
        let sums = Tensor::cat(pending.iter().map(|pending| pending.sums.clone()).collect(), 0);
        let values: Vec<f64> = sums.into_data().iter::<f64>().collect();
        let first = self.position.step - pending.len() as u64;
        for ((step, values), Pending { rate, lambdas, samples, .. }) in (first..).zip(values.chunks_exact(3)).zip(pending.drain(..)) {
            let &[data_loss, penalty, correct] = values else { continue };
            for (what, value) in [("the data loss", data_loss), ("the penalty", penalty)] {
                if !value.is_finite() {
                    let lambda = self.penalties.in_words(&lambdas);
                    return Err(Diverged { lambda, ..self.diverged(what, step + 1, self.position.epoch + 1, rate) });
                }
            }
            let sums = &mut self.position.sums;
            sums.data_loss += data_loss * samples as f64;
            sums.penalty += penalty * samples as f64;
            sums.correct += correct;
            sums.samples += samples as f64;
        }
        Ok(())
    }

    fn progress(&self, epochs: u64, steps: u64) -> Progress {
        let sums = &self.position.sums;
        Progress {
            epoch: self.position.epoch + 1,
            epochs,
            step: self.position.step,
            steps,
            data_loss: sums.data_loss / sums.samples,
            penalty: sums.penalty / sums.samples,
            images_per_second: sums.samples / sums.seconds,
        }
    }

    pub(super) fn snapshot(&mut self, rate: f64) -> Result<Snapshot, Diverged> {
        let weights = self.network.weights();
        self.position.lambdas = self.penalties.lambdas();
        self.position.bounds.clone_from(self.penalties.bounds());
        self.position.averaged = self.average.count;
        if weights.is_finite() {
            let averaged = self.average.network().map(Network::weights);
            Ok(Snapshot { weights, averaged, optimizer: self.optimizer.to_bytes(), position: self.position.clone() })
        } else {
            Err(self.diverged("a weight", self.position.step, self.position.epoch + 1, rate))
        }
    }

    pub(crate) fn diverged(&self, what: &'static str, step: u64, epoch: u64, learning_rate: f64) -> Diverged {
        Diverged { what, step, epoch, learning_rate, lambda: self.penalties.in_words(&self.penalties.lambdas()) }
    }

    pub(super) fn out_of_patience(&self, plan: &Plan) -> bool {
        let patience = plan.experiment.early_stopping.patience;
        patience > 0 && self.position.stopping.waited() >= patience
    }
}

impl Plan<'_> {
    /// The order of the samples in an epoch counted from 0.
    fn order(&self, epoch: u64) -> Vec<u32> {
        let mut order: Vec<u32> = (0..u32::try_from(self.data.train.count()).unwrap_or(u32::MAX)).collect();
        if self.experiment.data.shuffle {
            order.shuffle(&mut self.experiment.seed.stream("shuffle", epoch));
        }
        order
    }
}
