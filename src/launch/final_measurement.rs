//! The measurement after training, of the best and the last checkpoint.

use std::sync::atomic::AtomicBool;

use regulus_model::Weights;

use super::Launch;
use super::warnings::{Outcome, collapsed_last, warnings};
use crate::data::Subset;
use crate::error::Error;
use crate::metrics::{Measures, measure_with_progress};
use crate::network::{Network, Predictor};
use crate::objective::{Observed, Penalties, Sparsity};
use crate::run::{CheckpointKind, Measured, SplitSummary, Summary};
use crate::train::{Observer, PhaseReporter};

/// A network to measure.
struct Candidate {
    epoch: u64,
    predictor: Predictor,
    weights: Weights,
    penalties: Penalties,
}

/// The measures of a network on every split.
struct Splits {
    train: Measures,
    validation: Option<Measures>,
    test: Option<Measures>,
}

/// The progress of the measurement.
struct Progress<'a> {
    reporter: PhaseReporter<'a>,
    done: u64,
    total: u64,
}

impl Launch {
    /// Adds the measures of the selected checkpoint, and of best and last if there are both, to `summary`. Returns `None` if it was stopped.
    pub(super) fn measured(&self, summary: Summary, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Option<Summary>, Error> {
        let last = self.last();
        let mut notes = Vec::new();
        let best = if self.data.validation.is_some() {
            let (best, warning) = self.best()?;
            notes.extend(warning);
            Some(best)
        } else {
            None
        };
        let best_is_last = best.as_ref().is_some_and(|best| best.epoch == last.epoch && best.weights == last.weights);
        let networks = if best.is_some() && !best_is_last { 2 } else { 1 };
        let mut progress = Progress { reporter: PhaseReporter::new(stop, observer), done: 0, total: networks * self.samples() };
        let measured = self.measure_all(&last, best.as_ref().filter(|_| !best_is_last), &mut progress);
        progress.reporter.finish()?;
        let Some((of_last, of_best)) = measured else { return Ok(None) };
        let of_best = of_best.as_ref().unwrap_or(&of_last);
        let (selected, splits) = match (self.keep, &best) {
            (CheckpointKind::Best, Some(best)) => (self.measured_of(best, of_best), of_best),
            _ => (self.measured_of(&last, &of_last), &of_last),
        };
        let outcome = self.outcome(splits, selected.weight_norm_squared);
        // The best checkpoint may be of an epoch before the collapse.
        if self.keep == CheckpointKind::Best && collapsed_last(&outcome).is_none() {
            notes.extend(collapsed_last(&self.outcome(&of_last, self.measured_of(&last, &of_last).weight_norm_squared)));
        }
        notes.extend(warnings(&outcome));
        let both = best.map(|best| (self.measured_of(&best, of_best), self.measured_of(&last, &of_last)));
        let (best, last) = both.unzip();
        let best_epoch = best.as_ref().map_or(summary.best_epoch, |best| Some(best.epoch));
        Ok(Some(Summary { best_epoch, best, last, warnings: notes, ..summary }.with_selected(self.keep, &selected)))
    }

    /// The measures that warnings are based on.
    fn outcome<'a>(&'a self, splits: &'a Splits, weight_norm_squared: f64) -> Outcome<'a> {
        Outcome {
            train: &splits.train,
            validation: splits.validation.as_ref(),
            test: splits.test.as_ref(),
            classes: &self.manifest.classes,
            penalties: &self.manifest.penalties,
            first_weight_norm_squared: self.training.state.first_weight_norm_squared,
            weight_norm_squared,
        }
    }

    /// The network after the last step.
    fn last(&self) -> Candidate {
        let network = self.training.measured_network();
        let (weights, predictor) = (network.weights(), Predictor::new(&network, &self.data.normalizer));
        Candidate { epoch: self.training.state.epoch, predictor, weights, penalties: self.training.penalties().clone() }
    }

    /// The network with the lowest validation loss and the λ of its checkpoint. Also returns a warning if the previous checkpoint was loaded.
    fn best(&self) -> Result<(Candidate, Option<String>), Error> {
        let loaded = self.folder.load(Some(CheckpointKind::Best))?;
        let mut penalties = self.training.penalties().clone();
        let state = &loaded.snapshot.state;
        penalties.advance(Observed::Checkpoint { lambdas: &state.lambdas, bounds: &state.bounds });
        let epoch = state.epoch;
        let weights = loaded.snapshot.into_measured();
        let device = self.device.clone().inner();
        let network = Network::blank(&self.manifest.graph, &device).with_weights(&weights, self.folder.path())?;
        let predictor = Predictor::new(&network, &self.data.normalizer);
        Ok((Candidate { epoch, predictor, weights, penalties }, loaded.warning))
    }

    /// The number of samples in all splits.
    fn samples(&self) -> u64 {
        let others = [&self.data.validation, &self.data.test].into_iter().flatten();
        std::iter::once(&self.data.train).chain(others).map(|subset| subset.count() as u64).sum()
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
        let mut measure = |subset: &Subset| {
            let (reporter, before, total) = (&progress.reporter, progress.done, progress.total);
            let measures =
                measure_with_progress(&candidate.predictor, subset, &mut |done| reporter.report("measurement", before + done, total));
            progress.done += subset.count() as u64;
            measures
        };
        let validation = self.data.validation.as_ref().map(&mut measure);
        let test = self.data.test.as_ref().map(&mut measure);
        let train = measure(&self.data.train)?;
        let complete = |measured: Option<Option<Measures>>| match measured {
            None => Some(None),
            Some(measures) => measures.map(Some),
        };
        Some(Splits { train, validation: complete(validation)?, test: complete(test)? })
    }

    fn measured_of(&self, candidate: &Candidate, splits: &Splits) -> Measured {
        let Candidate { epoch, weights, penalties, .. } = candidate;
        let zeros = Sparsity::of(weights, &self.manifest.graph);
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
