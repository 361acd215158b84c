//! What happens after the steps of an epoch.

use std::time::Instant;

use burn::module::Module;

use super::average::Average;
use super::{Diverged, EpochSums, Event, Observer, Plan, Position, Row, Snapshot, Split, Training, Watched};
use crate::config::Decay;
use crate::data::Batcher;
use crate::error::Error;
use crate::metrics::{Measures, measure_watched};
use crate::network::{Curvature, Predictor, Stopped};
use crate::objective::{Learned, Penalties, Sparsity};

/// What an epoch's end changes: where to go back to if it is stopped.
struct Before {
    position: Position,
    average: Average,
    penalties: Penalties,
}

/// What is reported of an epoch.
struct Report {
    sums: EpochSums,
    speed: f64,
    validation: Option<Measures>,
    penalty: f64,
    weight_norm_squared: f64,
    zeros: Sparsity,
    lambda: Option<f64>,
    lambdas: Vec<f64>,
    learned: Option<Learned>,
}

impl Training {
    /// Measures, reports and saves after an epoch. False where it was stopped: then all is as it was before, and the epoch is still to be ended.
    pub(super) fn end_epoch(&mut self, plan: &Plan, observer: &mut dyn Observer) -> Result<bool, Error> {
        let before = Before { position: self.position.clone(), average: self.average.clone(), penalties: self.penalties.clone() };
        let (sums, speed) = self.count_epoch();
        let snapshot = self.snapshot_after_epoch()?;
        let Some(validation) = self.validate(plan, observer)? else {
            self.go_back(before);
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
            learned: None,
        };
        let Ok(learned) = self.learn(plan, &snapshot, observer)? else {
            self.go_back(before);
            return Ok(false);
        };
        report.learned = learned;
        observer.on(&Event::Epoch(&self.rows(&report)))?;
        let best = report.validation.is_some_and(|measures| self.judge(plan, measures.data_loss));
        self.keep(snapshot, best, observer)?;
        Ok(true)
    }

    fn go_back(&mut self, before: Before) {
        let Before { position, average, penalties } = before;
        (self.position, self.average, self.penalties) = (position, average, penalties);
    }

    /// Counts the epoch; its sums and its speed.
    fn count_epoch(&mut self) -> (EpochSums, f64) {
        let sums = std::mem::take(&mut self.position.sums);
        let speed = sums.samples / sums.seconds;
        self.position.seconds += sums.seconds;
        self.position.speeds.push(speed);
        self.position.epoch += 1;
        self.position.batch = 0;
        self.average.after_epoch(&self.network, self.position.epoch);
        (sums, speed)
    }

    fn snapshot_after_epoch(&mut self) -> Result<Snapshot, Diverged> {
        let (rate, epoch) = (self.last_rate(), self.position.epoch);
        self.snapshot(rate).map_err(|diverged| Diverged { epoch, ..diverged })
    }

    /// The learning rate of the last step.
    fn last_rate(&self) -> f64 {
        self.position.rate.unwrap_or_default()
    }

    /// The validation split's measures, if there is such a part; none if it was stopped.
    #[expect(clippy::option_option, reason = "two questions: whether it was stopped, and whether there is such a split")]
    fn validate(&self, plan: &Plan, observer: &mut dyn Observer) -> Result<Option<Option<Measures>>, Error> {
        let Some(subset) = &plan.data.validation else { return Ok(Some(None)) };
        let watched = Watched::new(plan.stop, observer);
        let total = subset.count() as u64;
        let mut goes_on = |done| watched.goes_on("validation", done, total);
        let measures = measure_watched(&Predictor::new(&self.measured_network(), &plan.data.normalizer), subset, &mut goes_on);
        watched.end()?;
        if measures.as_ref().is_some_and(|measures| !measures.data_loss.is_finite()) {
            return Err(self.diverged("the validation loss", self.position.step, self.position.epoch, self.last_rate()).into());
        }
        Ok(measures.map(Some))
    }

    /// Updates the λ of evidence that are due.
    fn learn(&mut self, plan: &Plan, snapshot: &Snapshot, observer: &mut dyn Observer) -> Result<Result<Option<Learned>, Stopped>, Error> {
        if !self.penalties.learn_after(self.position.epoch) {
            return Ok(Ok(None));
        }
        observer.on(&Event::Learning)?;
        let begun = Instant::now();
        let batcher = Batcher::new(&plan.data.normalizer, &plan.device.clone().inner());
        let network = self.network.valid();
        let watched = Watched::new(plan.stop, observer);
        let watch = |phase, done, total| watched.goes_on(phase, done, total);
        let curvature = |structure| Curvature::of(&network, plan.curvature, &plan.data.train, &batcher, structure, &watch);
        let learned = self.penalties.learn(self.position.epoch, &snapshot.weights, curvature);
        watched.end()?;
        self.position.seconds += begun.elapsed().as_secs_f64();
        if let Ok(Some(learned)) = &learned
            && !learned.log_evidence.is_finite()
        {
            return Err(self.diverged("the evidence", self.position.step, self.position.epoch, self.last_rate()).into());
        }
        Ok(learned)
    }

    fn rows(&self, report: &Report) -> Vec<Row> {
        let Report { sums, validation, learned, .. } = report;
        let row = |split, data_loss: f64, penalty: f64, accuracy| Row {
            epoch: self.position.epoch,
            step: self.position.step,
            split,
            data_loss,
            penalty,
            objective: data_loss + penalty,
            accuracy,
            weight_norm_squared: report.weight_norm_squared,
            zero_weights: Some(report.zeros.weights),
            zero_channels: Some(report.zeros.channels),
            lambda: report.lambda,
            lambdas: report.lambdas.clone(),
            evidence: learned.as_ref().map(|learned| learned.updates.clone()),
            gamma: learned.as_ref().map(|learned| learned.gamma),
            log_evidence: learned.as_ref().map(|learned| learned.log_evidence),
            learning_rate: self.last_rate(),
            seconds: self.position.seconds,
            images_per_second: report.speed,
        };
        let mut rows = vec![row(Split::Train, sums.data_loss / sums.samples, sums.penalty / sums.samples, sums.correct / sums.samples)];
        if let Some(Measures { data_loss, accuracy, .. }) = validation {
            rows.push(row(Split::Validation, *data_loss, report.penalty, *accuracy));
        }
        rows
    }

    /// Keeps the state after the epoch. The λ that is learned there is in force from the next step on.
    fn keep(&mut self, mut snapshot: Snapshot, best: bool, observer: &mut dyn Observer) -> Result<(), Error> {
        self.position.lambdas = self.penalties.lambdas();
        snapshot.position = self.position.clone();
        observer.on(&Event::Checkpoint { snapshot: &snapshot, best })
    }

    /// Counts a validation loss in; returns whether it is the best so far.
    fn judge(&mut self, plan: &Plan, loss: f64) -> bool {
        let position = &mut self.position;
        position.stopping.improves(loss, plan.experiment.early_stopping.min_delta.get());
        if let Decay::Plateau { patience, factor, min_delta } = plan.experiment.schedule.decay
            && !position.plateau.improves(loss, min_delta.get())
            && position.plateau.waited() >= patience.get() as u64
        {
            position.plateau.rest();
            position.plateau_factor = Some(position.plateau_factor.unwrap_or(1.0) * factor.get());
        }
        let best = position.best.improves(loss, 0.0);
        if best {
            position.best_epoch = Some(position.epoch);
        }
        best
    }
}
