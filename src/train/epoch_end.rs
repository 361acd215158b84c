//! The end of an epoch: validation, update of λ, metrics and checkpoints.

use std::time::Instant;

use burn::module::Module;
use regulus_kernels::buffers;
use regulus_model::graph::Parameter;

use super::average::Average;
use super::{Best, Control, Diverged, EpochSums, Event, PhaseReporter, Plan, Row, Snapshot, Split, Training, TrainingState};
use crate::config::{ConfigError, Decay};
use crate::error::Error;
use crate::metrics::Measures;
use crate::network::{CurvatureInput, Predictor, Stopped};
use crate::objective::{EvidenceUpdate, Penalties, Sparsity};
use crate::task::Task;

/// Copies of the parameters in a checkpoint, with the optimizer's numbers and the file, about.
const COPIES: usize = 4;

/// The state before the end of an epoch, which is restored if it is stopped.
struct Before {
    state: TrainingState,
    average: Average,
    penalties: Penalties,
}

/// The values reported for an epoch.
struct Report {
    sums: EpochSums,
    speed: f64,
    validation: Option<Measures>,
    penalty: f64,
    weight_norm_squared: f64,
    zeros: Sparsity,
    lambda: Option<f64>,
    lambdas: Vec<f64>,
    evidence: Option<EvidenceUpdate>,
}

impl Training {
    /// Evaluates, reports and saves after the steps of an epoch. Returns `false` if it was stopped: then the state before is restored, and a resumed run
    /// repeats the end of the epoch.
    pub(super) fn end_epoch(&mut self, plan: &Plan, control: &mut Control) -> Result<bool, Error> {
        let before = Before { state: self.state.clone(), average: self.average.clone(), penalties: self.penalties.clone() };
        let (sums, speed) = self.complete_epoch();
        self.make_room(plan);
        let snapshot = self.snapshot_after_epoch()?;
        let Some(validation) = self.validate(plan, control)? else {
            self.restore(before);
            return Ok(false);
        };
        let weights = snapshot.measured();
        let mut report = Report {
            sums,
            speed,
            validation,
            penalty: self.penalties.value(weights, plan.experiment.train.batch(plan.data.train.count())),
            weight_norm_squared: self.penalties.weight_norm_squared(weights),
            zeros: Sparsity::of(weights, self.network.graph()),
            lambda: self.penalties.lambda(),
            lambdas: self.penalties.lambdas(),
            evidence: None,
        };
        let Ok(evidence) = self.update_by_evidence(plan, &snapshot, control)? else {
            self.restore(before);
            return Ok(false);
        };
        report.evidence = evidence;
        control.send(&Event::Epoch(&self.rows(&report, &**plan.task)))?;
        let best = report.validation.as_ref().is_some_and(|measures| self.record_validation(plan, measures));
        self.save_epoch(snapshot, best, control)?;
        Ok(true)
    }

    fn restore(&mut self, before: Before) {
        let Before { state, average, penalties } = before;
        (self.state, self.average, self.penalties) = (state, average, penalties);
    }

    /// Advances the state to the next epoch. Returns the sums and the speed of the completed one.
    fn complete_epoch(&mut self) -> (EpochSums, f64) {
        let sums = std::mem::take(&mut self.state.sums);
        let speed = sums.samples / sums.seconds;
        self.state.seconds += sums.seconds;
        self.state.speeds.push(speed);
        self.state.epoch += 1;
        self.state.batch = 0;
        self.average.after_epoch(&self.network, self.state.epoch);
        (sums, speed)
    }

    /// Frees buffers for the checkpoint; all of them after the last step.
    fn make_room(&self, plan: &Plan) {
        if self.state.epoch >= u64::from(plan.experiment.train.epochs) {
            buffers::release();
        } else {
            let parameters: usize = self.network.graph().parameters().map(Parameter::size).sum();
            buffers::make_room(COPIES * size_of::<f32>() * parameters);
        }
    }

    fn snapshot_after_epoch(&mut self) -> Result<Snapshot, Diverged> {
        let (rate, epoch) = (self.last_rate(), self.state.epoch);
        self.snapshot(rate).map_err(|diverged| Diverged { epoch, ..diverged })
    }

    /// The learning rate of the last step.
    fn last_rate(&self) -> f64 {
        self.state.rate.unwrap_or_default()
    }

    /// Measures the network on the validation split. Returns `Some(None)` without a validation split, and `None` if it was stopped.
    #[expect(clippy::option_option, reason = "it may be stopped, and there may be no validation split")]
    fn validate(&self, plan: &Plan, control: &mut Control) -> Result<Option<Option<Measures>>, Error> {
        let Some(subset) = &plan.data.validation else { return Ok(Some(None)) };
        let reporter = PhaseReporter::new(control);
        let total = subset.count() as u64;
        let mut report = |done| reporter.report("validation", done, total);
        let network = self.measured_network();
        let predictor = Predictor::new(&network, &plan.data.normalizer)
            .with_features(plan.features, &network)
            .with_views(plan.experiment.augment.views());
        let measures = plan.task.measure(&predictor, subset, None, &mut report);
        reporter.finish()?;
        subset.check_decoded()?;
        if measures.as_ref().is_some_and(|measures| !measures.data_loss().is_finite()) {
            return Err(self.diverged("the validation loss", self.state.step, self.state.epoch, self.last_rate()).into());
        }
        let measure = plan.experiment.train.best_by;
        if measures.as_ref().is_some_and(|measures| measure.value(measures.data_loss(), &measures.metrics()).is_none()) {
            let problem = format!("is \"{}\", which is not defined on the validation split; use \"data_loss\"", measure.name());
            return Err(ConfigError::value("train.best_by", problem).into());
        }
        Ok(measures.map(Some))
    }

    /// Updates every λ that is due by evidence. Returns `Ok(Ok(None))` if none is due.
    fn update_by_evidence(
        &mut self,
        plan: &Plan,
        snapshot: &Snapshot,
        control: &mut Control,
    ) -> Result<Result<Option<EvidenceUpdate>, Stopped>, Error> {
        if !self.penalties.is_evidence_epoch(self.state.epoch) {
            return Ok(Ok(None));
        }
        control.send(&Event::UpdatingLambda)?;
        let begun = Instant::now();
        let network = self.network.valid();
        let reporter = PhaseReporter::new(control);
        let report = |phase, done, total| reporter.report(phase, done, total);
        let (scope, subset, seed) = (plan.curvature, &plan.data.train, plan.experiment.seed);
        let input =
            CurvatureInput { network: &network, weights: &snapshot.weights, scope, subset, normalizer: &plan.data.normalizer, seed };
        let curvature = |structure| input.curvature(structure, &report);
        let update = self.penalties.update_by_evidence(self.state.epoch, &snapshot.weights, curvature);
        reporter.finish()?;
        subset.check_decoded()?;
        self.state.seconds += begun.elapsed().as_secs_f64();
        if let Ok(Some(update)) = &update
            && !update.log_evidence.is_finite()
        {
            return Err(self.diverged("the evidence", self.state.step, self.state.epoch, self.last_rate()).into());
        }
        Ok(update)
    }

    fn rows(&self, report: &Report, task: &dyn Task) -> Vec<Row> {
        let Report { sums, validation, evidence, .. } = report;
        let row = |split, data_loss: f64, penalty: f64, metrics| Row {
            epoch: self.state.epoch,
            step: self.state.step,
            split,
            data_loss,
            penalty,
            objective: data_loss + penalty,
            metrics,
            weight_norm_squared: report.weight_norm_squared,
            zero_weights: Some(report.zeros.weights),
            zero_channels: Some(report.zeros.channels),
            lambda: report.lambda,
            lambdas: report.lambdas.clone(),
            evidence: evidence.as_ref().map(|update| update.updates.clone()),
            gamma: evidence.as_ref().map(|update| update.gamma),
            log_evidence: evidence.as_ref().map(|update| update.log_evidence),
            learning_rate: self.last_rate(),
            seconds: self.state.seconds,
            images_per_second: report.speed,
        };
        let mean = |sum: f64| sum / sums.samples;
        let metrics = task.step_metrics().iter().zip(&sums.metrics).map(|(name, sum)| ((*name).to_owned(), mean(*sum))).collect();
        let mut rows = vec![row(Split::Train, mean(sums.data_loss), mean(sums.penalty), metrics)];
        rows.extend(validation.as_ref().map(|measures| row(Split::Validation, measures.data_loss(), report.penalty, measures.metrics())));
        rows
    }

    /// Saves a checkpoint after the epoch. It has the λ of the next step.
    fn save_epoch(&mut self, mut snapshot: Snapshot, best: bool, control: &mut Control) -> Result<(), Error> {
        self.state.lambdas = self.penalties.lambdas();
        snapshot.state = self.state.clone();
        if best {
            self.best = Some(Best::from(&snapshot));
        }
        control.send(&Event::Checkpoint { snapshot: &snapshot, best })
    }

    /// Updates early stopping, the plateau schedule and the best epoch. Returns whether the epoch is the best so far.
    fn record_validation(&mut self, plan: &Plan, measures: &Measures) -> bool {
        let (state, loss) = (&mut self.state, measures.data_loss());
        // `validate` has checked that it is measured.
        let cost = plan.experiment.train.best_by.cost_of(measures.data_loss(), &measures.metrics()).unwrap_or(f64::INFINITY);
        state.stopping.update(cost, plan.experiment.early_stopping.min_delta.get());
        if let Decay::Plateau { patience, factor, min_delta } = plan.experiment.schedule.decay
            && !state.plateau.update(loss, min_delta.get())
            && state.plateau.waited() >= patience.get() as u64
        {
            state.plateau.reset();
            state.plateau_factor = Some(state.plateau_factor.unwrap_or(1.0) * factor.get());
        }
        let is_tie = state.best.has_best(cost) && state.best_loss.is_some_and(|best| loss < best);
        let best = state.best.update(cost, 0.0) || is_tie;
        if best {
            (state.best_epoch, state.best_loss) = (Some(state.epoch), Some(loss));
        }
        best
    }
}
