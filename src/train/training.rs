//! The training loop.

use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::prelude::*;

use super::average::Average;
use super::step::{StepContext, StepSums, Stepper};
use super::{Best, Control, Diverged, Event, ParameterOptimizer, Progress, Snapshot, TrainingState};
use crate::backend::keep_awake;
use crate::config::{self, ConfigError, Experiment};
use crate::data::{Batcher, Data, DataLoader, FrozenFeatures};
use crate::error::Error;
use crate::network::{Network, Scope};
use crate::objective::{Observed, OwnPenalty, Penalties};
use crate::schedule::{RunLength, ScheduledValue};
use crate::task::Task;

/// Steps between two reads of the sums from the device.
const READ_EVERY: usize = 20;

/// The inputs of a training run.
pub(crate) struct Plan<'a> {
    /// The experiment.
    pub(crate) experiment: &'a Experiment,
    /// Its task.
    pub(crate) task: &'a Arc<dyn Task>,
    /// Its data.
    pub(crate) data: &'a Data,
    /// What frozen layers give for its images, where they are not augmented.
    pub(crate) features: Option<&'a Arc<FrozenFeatures>>,
    /// The layers whose curvature evidence needs.
    pub(crate) curvature: &'a Scope,
    /// The device, with autodiff.
    pub(crate) device: &'a Device,
    /// The number of complete epochs after which training pauses.
    pub(crate) until: u64,
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All epochs, or `max_steps` steps, are complete.
    Completed,
    /// Early stopping: the measure `train.best_by` on the validation split had stopped improving.
    EarlyStopped,
    /// It was stopped by the flag or the observer, after saving.
    Interrupted,
    /// The epochs to pause after are complete.
    Paused,
}

/// A training run.
pub(crate) struct Training {
    pub(super) network: Network,
    pub(super) optimizer: ParameterOptimizer,
    pub(super) penalties: Penalties,
    pub(super) average: Average,
    /// The best network so far by `train.best_by`.
    pub(crate) best: Option<Best>,
    /// The training state.
    pub(crate) state: TrainingState,
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
    pub(crate) fn new(network: Network, optimizer: ParameterOptimizer, penalties: Penalties, averaging: config::Average) -> Self {
        let first = penalties.weight_norm_squared(&network.weights());
        let state = TrainingState { first_weight_norm_squared: Some(first), ..TrainingState::default() };
        Self { network, optimizer, penalties, average: Average::new(averaging), best: None, state }
    }

    /// Adds a penalty that is not built in.
    pub(crate) fn add_penalty(&mut self, penalty: OwnPenalty, method: &config::Method) -> Result<(), ConfigError> {
        self.penalties.add(penalty, self.network.graph(), method)?;
        let TrainingState { lambdas, bounds, .. } = &self.state;
        self.penalties.advance(Observed::Checkpoint { lambdas, bounds });
        if self.state.step == 0 {
            self.state.first_weight_norm_squared = Some(self.penalties.weight_norm_squared(&self.network.weights()));
        }
        Ok(())
    }

    /// The current network.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// The network for evaluation, without autodiff: the weight average, or the current network if there is none.
    pub(crate) fn measured_network(&self) -> Network {
        self.average.network().cloned().unwrap_or_else(|| self.network.valid())
    }

    /// Restores the training state, the weight average and the best network of a checkpoint.
    pub(crate) fn resumed(self, averaged: Option<Network>, best: Option<Best>, state: TrainingState) -> Self {
        let Self { network, optimizer, mut penalties, average, .. } = self;
        penalties.advance(Observed::Checkpoint { lambdas: &state.lambdas, bounds: &state.bounds });
        Self { network, optimizer, penalties, average: average.resumed(averaged, state.averaged), best, state }
    }

    /// The regularization terms with their current λ.
    pub(crate) fn penalties(&self) -> &Penalties {
        &self.penalties
    }

    /// Trains until all epochs are complete, early stopping ends it, it is stopped, or `plan.until` epochs are complete. Called again, it continues to the
    /// same bits as without a pause. Sends events to the observer of `control`.
    ///
    /// # Errors
    ///
    /// When a loss or weight is not finite, or the observer fails.
    pub(crate) fn run(&mut self, plan: &Plan, control: &mut Control) -> Result<Ending, Error> {
        let threads = self.network.threads().clone();
        threads.run(|| self.train(plan, control))
    }

    fn train(&mut self, plan: &Plan, control: &mut Control) -> Result<Ending, Error> {
        let length = RunLength::new(&plan.experiment.train, plan.data.train.count());
        let mut rate = ScheduledValue::new(plan.experiment.optimizer.learning_rate.get(), &plan.experiment.schedule, length);
        loop {
            let ends_epoch = self.ends_epoch(length);
            if !ends_epoch && self.is_complete(plan, length) {
                return Ok(if self.out_of_patience(plan) { Ending::EarlyStopped } else { Ending::Completed });
            }
            if !ends_epoch && self.state.epoch >= plan.until {
                return Ok(Ending::Paused);
            }
            if !self.train_epoch(plan, length, &mut rate, control)? {
                return Ok(Ending::Interrupted);
            }
            if !self.end_epoch(plan, control)? {
                self.save(control)?;
                return Ok(Ending::Interrupted);
            }
            if control.is_stopped() && !self.is_complete(plan, length) {
                return Ok(Ending::Interrupted);
            }
        }
    }

    /// The steps of an epoch that are left. Returns `false` if it was stopped, after saving.
    fn train_epoch(&mut self, plan: &Plan, length: RunLength, rate: &mut ScheduledValue, control: &mut Control) -> Result<bool, Error> {
        let earlier_seconds = self.state.sums.seconds;
        let started = Instant::now();
        let batcher = Batcher::new(&plan.data.normalizer, plan.device).with_features(plan.features.cloned());
        let (epoch, train) = (self.state.epoch, &plan.data.train);
        let mut loader = DataLoader::new(plan.experiment, train.count(), plan.task.assembler(train, &batcher, epoch), epoch)
            .with_prefetch(plan.data.batches_ahead(plan.experiment.train.samples_at_once(train.count())));
        let from = plan.features.map(|features| features.node());
        let stepper = Stepper::new(plan.experiment, Arc::clone(plan.task), plan.device).from_node(from).until(control.flag());
        let every = plan.experiment.checkpoint.every_steps;
        let mut network = self.network.clone().train();
        let mut pending = Vec::new();
        while !self.ends_epoch(length) {
            keep_awake();
            let mut batch = loader.batch(usize::try_from(self.state.batch).unwrap_or(usize::MAX));
            let rate = rate.at(self.state.step) * self.state.plateau_factor.unwrap_or(1.0);
            let context = StepContext { samples: batch.samples(), rate, step: self.state.step };
            let (next, sums) = stepper.step_unless_stopped(network, &mut self.optimizer, &mut self.penalties, &mut batch, context);
            // Nothing of a step with an image that could not be decoded is kept.
            train.check_decoded()?;
            network = next;
            let is_complete = sums.is_some();
            if let Some(sums) = sums {
                self.average.after_step(&network);
                pending.push(Pending { sums, rate, lambdas: self.penalties.lambdas(), samples: context.samples });
                self.state.rate = Some(rate);
                self.state.step += 1;
                self.state.batch += 1;
            }
            let ends = self.ends_epoch(length);
            let saves = every > 0 && self.state.step.is_multiple_of(every) && !ends;
            if control.is_stopped() || !is_complete || saves || ends || pending.len() >= READ_EVERY {
                self.read(&mut pending, &**plan.task)?;
                self.state.sums.seconds = earlier_seconds + started.elapsed().as_secs_f64();
                if self.state.sums.samples > 0.0 {
                    control.send(&Event::Progress(self.progress(plan, length)))?;
                }
            }
            let stop = control.is_stopped() || !is_complete;
            if (stop && !ends) || saves {
                self.network = network.clone();
                self.save(control)?;
            }
            if stop && !ends {
                return Ok(false);
            }
        }
        self.network = network;
        Ok(true)
    }

    /// Whether no step is left.
    fn is_complete(&self, plan: &Plan, length: RunLength) -> bool {
        self.state.step >= length.steps || self.out_of_patience(plan)
    }

    /// Whether all steps of the current epoch are complete.
    fn ends_epoch(&self, length: RunLength) -> bool {
        self.state.batch > 0 && (self.state.batch >= length.steps_per_epoch || self.state.step >= length.steps)
    }

    /// Saves a checkpoint between two steps.
    fn save(&mut self, control: &mut Control) -> Result<(), Error> {
        let snapshot = self.snapshot(self.state.rate.unwrap_or_default())?;
        control.send(&Event::Checkpoint { snapshot: &snapshot, best: false })
    }

    /// Reads the sums of the pending steps from the device and adds them to the state.
    fn read(&mut self, pending: &mut Vec<Pending>, task: &dyn Task) -> Result<(), Diverged> {
        if pending.is_empty() {
            return Ok(());
        }
        let sums = Tensor::cat(pending.iter().map(|pending| pending.sums.clone()).collect(), 0);
        let values: Vec<f64> = sums.into_data().iter::<f64>().collect();
        let first = self.state.step - pending.len() as u64;
        for ((step, values), Pending { rate, lambdas, samples, .. }) in
            (first..).zip(values.chunks_exact(2 + task.step_metrics().len())).zip(pending.drain(..))
        {
            let [data_loss, penalty, metrics @ ..] = values else { continue };
            let (data_loss, penalty) = (*data_loss, *penalty);
            for (name, value) in [("the data loss", data_loss), ("the penalty", penalty)] {
                if !value.is_finite() {
                    let lambda = self.penalties.in_words(&lambdas);
                    return Err(Diverged { lambda, ..self.diverged(name, step + 1, self.state.epoch + 1, rate) });
                }
            }
            let sums = &mut self.state.sums;
            sums.data_loss += data_loss * samples as f64;
            sums.penalty += penalty * samples as f64;
            sums.metrics.resize(metrics.len(), 0.0);
            sums.metrics.iter_mut().zip(metrics).for_each(|(sum, metric)| *sum += metric);
            sums.samples += samples as f64;
        }
        Ok(())
    }

    fn progress(&self, plan: &Plan, length: RunLength) -> Progress {
        let sums = &self.state.sums;
        Progress {
            epoch: self.state.epoch + 1,
            epochs: plan.experiment.train.epochs.get() as u64,
            step: self.state.step,
            steps: length.steps,
            data_loss: sums.data_loss / sums.samples,
            penalty: sums.penalty / sums.samples,
            images_per_second: sums.samples / sums.seconds,
        }
    }

    pub(crate) fn snapshot(&mut self, rate: f64) -> Result<Snapshot, Diverged> {
        let weights = self.network.weights();
        self.state.lambdas = self.penalties.lambdas();
        self.state.bounds = self.penalties.bounds();
        self.state.averaged = self.average.count;
        if weights.is_finite() {
            let averaged = self.average.network().map(Network::weights);
            Ok(Snapshot {
                weights,
                averaged,
                optimizer: self.optimizer.to_bytes(),
                state: self.state.clone(),
                origin: self.penalties.origin().cloned(),
            })
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
