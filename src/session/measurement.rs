//! The measurement after training, of the best and the last checkpoint.

use regulus_kernels::buffers;
use regulus_model::Weights;

use super::evaluation::{Collected, Evaluated};
use super::warnings::{Outcome, collapsed_last, warnings};
use super::{EndedBy, Evaluation, Measured, MeasuredSplit, Session, SplitSummary, Status, Summary};
use crate::config::CheckpointKind;
use crate::data::Subset;
use crate::error::Error;
use crate::metrics::{Means, Measures};
use crate::network::{Network, Predictor};
use crate::objective::{Observed, Penalties, Sparsity};
use crate::task::Score;
use crate::train::{Best, Control, Event, PhaseReporter};

/// A network to measure.
struct Candidate {
    epoch: u64,
    predictor: Predictor,
    weights: Weights,
    penalties: Penalties,
}

/// The measures of a network on every split.
struct Splits {
    collected: Collected,
    train: Measures,
    validation: Option<Measures>,
    test: Option<Measures>,
}

/// The progress of the measurement.
struct Progress<'a, 'b> {
    reporter: PhaseReporter<'a, 'b>,
    done: u64,
    total: u64,
}

impl Session {
    /// Adds the measures of the selected checkpoint, and of best and last if there are both, to `summary`. Also returns what reports show. Returns `None` if it was
    /// stopped.
    pub(super) fn measure(&self, summary: Summary, control: &mut Control) -> Result<Option<(Summary, Evaluation)>, Error> {
        control.send(&Event::Measuring)?;
        // The training is over.
        buffers::release();
        let last = self.last_candidate();
        let best = self.training.best.as_ref().map(|best| self.best_candidate(best));
        let best_is_last = best.as_ref().is_some_and(|best| best.epoch == last.epoch && best.weights == last.weights);
        let networks = if best.is_some() && !best_is_last { 2 } else { 1 };
        let mut progress = Progress { reporter: PhaseReporter::new(control), done: 0, total: networks * self.data.count() };
        let mut measured = self.measure_all(&last, best.as_ref().filter(|_| !best_is_last), &mut progress);
        let evaluation = measured.as_mut().and_then(|(of_last, of_best)| {
            let (kept, splits) = match (self.keep, &best, of_best) {
                (CheckpointKind::Best, Some(best), Some(of_best)) => (best, of_best),
                _ => (&last, of_last),
            };
            self.evaluated(kept, splits, &progress)
        });
        progress.reporter.finish()?;
        self.data.check_decoded()?;
        let Some(((of_last, of_best), evaluation)) = measured.zip(evaluation) else { return Ok(None) };
        let summary = self.summarized(summary, (&last, &of_last), best.as_ref().map(|best| (best, of_best.as_ref().unwrap_or(&of_last))));
        if summary.is_finite() {
            return Ok(Some((summary, evaluation)));
        }
        let (state, rate) = (&self.training.state, self.experiment.optimizer.learning_rate.get());
        Err(self.training.diverged("the loss of the trained network", state.step, state.epoch, rate).into())
    }

    /// The summary with the measures of the last and the best network.
    fn summarized(&self, summary: Summary, last: (&Candidate, &Splits), best: Option<(&Candidate, &Splits)>) -> Summary {
        let of_last = self.measured_of(last.0, last.1);
        let of_best = best.map(|(best, splits)| self.measured_of(best, splits));
        let (selected, splits) = match (self.keep, &of_best, best) {
            (CheckpointKind::Best, Some(of_best), Some((_, splits))) => (of_best, splits),
            _ => (&of_last, last.1),
        };
        let mut notes = Vec::new();
        notes.extend(no_better_than_its_input(splits));
        if let Some(outcome) = self.outcome(splits, selected.weight_norm_squared) {
            // The best checkpoint may be of an epoch before the collapse.
            if self.keep == CheckpointKind::Best && collapsed_last(&outcome).is_none() {
                notes.extend(self.outcome(last.1, of_last.weight_norm_squared).and_then(|outcome| collapsed_last(&outcome)));
            }
            notes.extend(warnings(&outcome));
        }
        let summary = Summary { warnings: notes, ..summary }.with_selected(self.keep, selected);
        match of_best {
            Some(best) => Summary { best_epoch: Some(best.epoch), best: Some(best), last: Some(of_last), ..summary },
            None => summary,
        }
    }

    /// The measures that warnings are based on. Returns `None` if the network is no classifier.
    fn outcome<'a>(&'a self, splits: &'a Splits, weight_norm_squared: f64) -> Option<Outcome<'a>> {
        Some(Outcome {
            train: splits.train.classification()?,
            validation: splits.validation.as_ref().and_then(Measures::classification),
            test: splits.test.as_ref().and_then(Measures::classification),
            classes: &self.data.classes,
            penalties: self.penalties().labels(),
            first_weight_norm_squared: self.training.state.first_weight_norm_squared,
            weight_norm_squared,
        })
    }

    /// Computes outputs with `network`, as validation, test and exported files do.
    pub(super) fn predictor_of(&self, network: &Network) -> Predictor {
        Predictor::new(network, &self.data.normalizer)
            .with_features(self.features.as_ref(), network)
            .with_views(self.experiment.augment.views())
    }

    /// The network after the last step.
    fn last_candidate(&self) -> Candidate {
        let network = self.training.measured_network();
        let (weights, predictor) = (network.weights(), self.predictor_of(&network));
        Candidate { epoch: self.training.state.epoch, predictor, weights, penalties: self.training.penalties().clone() }
    }

    /// The best network, with the λ at that time.
    fn best_candidate(&self, best: &Best) -> Candidate {
        let Best { epoch, weights, lambdas, bounds } = best.clone();
        let mut penalties = self.penalties().clone();
        penalties.advance(Observed::Checkpoint { lambdas: &lambdas, bounds: &bounds });
        let network = Network::of_weights(self.graph(), &weights, &self.opened.device);
        Candidate { epoch, predictor: self.predictor_of(&network), weights, penalties }
    }

    /// Measures the last and the best network. Returns `None` if it was stopped.
    fn measure_all(&self, last: &Candidate, best: Option<&Candidate>, progress: &mut Progress) -> Option<(Splits, Option<Splits>)> {
        let best = match best {
            Some(best) => Some(self.splits(best, progress)?),
            None => None,
        };
        Some((self.splits(last, progress)?, best))
    }

    /// Measures a network on all splits. Returns `None` if it was stopped.
    fn splits(&self, candidate: &Candidate, progress: &mut Progress) -> Option<Splits> {
        let (_, evaluated) = self.evaluated_split();
        let mut collected = Collected::new(self.data.classes.len());
        let mut measure = |subset: &Subset| {
            let mut each = |index, score: Score| {
                if std::ptr::eq(subset, evaluated) {
                    collected.add(index, score);
                }
            };
            let (reporter, before, total) = (&progress.reporter, progress.done, progress.total);
            let mut report = |done| reporter.report("measurement", before + done, total);
            let measures = self.task.measure(&candidate.predictor, subset, Some(&mut each), &mut report);
            progress.done += subset.count() as u64;
            measures
        };
        let mut each = |subset: &Option<Subset>| match subset {
            None => Some(None),
            Some(subset) => measure(subset).map(Some),
        };
        let (validation, test) = (each(&self.data.validation)?, each(&self.data.test)?);
        let train = measure(&self.data.train)?;
        Some(Splits { collected, train, validation, test })
    }

    /// The split that reports show.
    fn evaluated_split(&self) -> (MeasuredSplit, &Subset) {
        match (&self.data.test, &self.data.validation) {
            (Some(test), _) => (MeasuredSplit::Test, test),
            (None, Some(validation)) => (MeasuredSplit::Validation, validation),
            (None, None) => (MeasuredSplit::Train, &self.data.train),
        }
    }

    /// What reports show of the kept network. Returns `None` if it was stopped.
    fn evaluated(&self, kept: &Candidate, splits: &mut Splits, progress: &Progress) -> Option<Evaluation> {
        let (split, subset) = self.evaluated_split();
        let measures = match split {
            MeasuredSplit::Test => splits.test.as_ref()?,
            MeasuredSplit::Validation => splits.validation.as_ref()?,
            MeasuredSplit::Train => &splits.train,
        };
        let Candidate { epoch, predictor, .. } = kept;
        let (epoch, checkpoint) = (*epoch, self.keep);
        let evaluated = Evaluated { split, subset, checkpoint, epoch, task: &*self.task, predictor, classes: &self.data.classes };
        let collected = std::mem::take(&mut splits.collected);
        evaluated.evaluation(measures, collected, &|| progress.reporter.report("measurement", progress.total, progress.total))
    }

    /// The summary before the measurement.
    pub(crate) fn unmeasured(&self, status: Status) -> Summary {
        let (state, train) = (&self.training.state, &self.experiment.train);
        let all = (train.epochs.get() as u64).saturating_mul(train.steps_per_epoch(self.data.train.count()));
        let ended_by = if train.max_steps > 0 && train.max_steps < all { EndedBy::MaxSteps } else { EndedBy::Epochs };
        Summary {
            status,
            ended_by: (status == Status::Completed).then_some(ended_by),
            epochs: state.epoch,
            steps: state.step,
            seconds: state.seconds + state.sums.seconds,
            images_per_second: Summary::median_speed(&state.speeds),
            kept: None,
            train: None,
            validation: None,
            test: None,
            penalty: None,
            lambda: None,
            lambdas: Vec::new(),
            weight_norm_squared: None,
            zero_weights: None,
            zero_channels: None,
            best_epoch: state.best_epoch,
            best_by: train.best_by,
            best: None,
            last: None,
            warnings: Vec::new(),
            parameters: self.graph().parameter_count(),
            backend: self.experiment.backend.kind.name().to_owned(),
        }
    }

    fn measured_of(&self, candidate: &Candidate, splits: &Splits) -> Measured {
        let Candidate { epoch, weights, penalties, .. } = candidate;
        let zeros = Sparsity::of(weights, self.graph());
        Measured {
            epoch: *epoch,
            train: Some(SplitSummary::from(&splits.train)),
            validation: splits.validation.as_ref().map(SplitSummary::from),
            test: splits.test.as_ref().map(SplitSummary::from),
            penalty: penalties.value(weights, self.experiment.train.batch(self.data.train.count())),
            lambdas: penalties.lambdas(),
            weight_norm_squared: penalties.weight_norm_squared(weights),
            zero_weights: zeros.weights,
            zero_channels: zeros.channels,
        }
    }
}

/// A warning if a denoising network makes pictures no better: on the validation split, else the test split, else the training split. Returns `None` otherwise.
fn no_better_than_its_input(splits: &Splits) -> Option<String> {
    let others = [("validation", &splits.validation), ("test", &splits.test)];
    let first = others.into_iter().find_map(|(name, measures)| Some((name, measures.as_ref()?)));
    let (split, measures) = first.unwrap_or(("training", &splits.train));
    let Measures::Means(Means { metrics, input_metrics, .. }) = measures else { return None };
    let (psnr, noisy) = (metrics.get("psnr")?, input_metrics.get("noisy_psnr")?);
    (psnr <= noisy).then(|| {
        format!("PSNR on the {split} split is {psnr:.2} dB, no more than that of the noisy pictures, {noisy:.2} dB: train longer, or with another learning rate or penalty")
    })
}
