//! The measurement at the end: the checkpoint that is kept, and the other one beside it.

use std::sync::atomic::AtomicBool;

use super::Launch;
use super::warnings::{Outcome, collapsed_last, warnings};
use crate::data::{Batcher, Subset};
use crate::error::Error;
use crate::metrics::{Measures, measure_watched};
use crate::model::{Network, Weights};
use crate::objective::{Penalties, Sparsity};
use crate::run::{Measured, SplitSummary, Summary, Which};
use crate::train::{Observer, Watched};

/// A network to measure.
struct Candidate {
    epoch: u64,
    network: Network,
    weights: Weights,
    penalties: Penalties,
}

/// A network on every part of the data.
struct Parts {
    train: Measures,
    validation: Option<Measures>,
    test: Option<Measures>,
}

/// How much of all measuring is done.
struct Progress<'a> {
    watched: Watched<'a>,
    done: u64,
    total: u64,
}

impl Launch {
    /// `summary` with the measures of the network that is kept, and of best and last where there are both. None if `stop` is raised before all is measured.
    pub(super) fn measured(&self, summary: Summary, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Option<Summary>, Error> {
        let last = self.last();
        let mut told = Vec::new();
        let best = if self.data.validation.is_some() {
            let (best, warning) = self.best()?;
            told.extend(warning);
            Some(best)
        } else {
            None
        };
        let best_is_last = best.as_ref().is_some_and(|best| best.epoch == last.epoch && best.weights == last.weights);
        let networks = if best.is_some() && !best_is_last { 2 } else { 1 };
        let mut progress = Progress { watched: Watched::new(stop, observer), done: 0, total: networks * self.samples() };
        let measured = self.measure_all(&last, best.as_ref().filter(|_| !best_is_last), &mut progress);
        progress.watched.end()?;
        let Some((of_last, of_best)) = measured else { return Ok(None) };
        let of_best = of_best.as_ref().unwrap_or(&of_last);
        let (kept, parts) = match (self.keep, &best) {
            (Which::Best, Some(best)) => (self.told(best, of_best), of_best),
            _ => (self.told(&last, &of_last), &of_last),
        };
        let judged = self.outcome(parts, kept.weight_norm_squared);
        // The kept network may be of an epoch before the collapse.
        if self.keep == Which::Best && collapsed_last(&judged).is_none() {
            told.extend(collapsed_last(&self.outcome(&of_last, self.told(&last, &of_last).weight_norm_squared)));
        }
        told.extend(warnings(&judged));
        let both = best.map(|best| (self.told(&best, of_best), self.told(&last, &of_last)));
        let (best, last) = both.unzip();
        let best_epoch = best.as_ref().map_or(summary.best_epoch, |best| Some(best.epoch));
        Ok(Some(Summary { best_epoch, best, last, warnings: told, ..summary }.with_kept(self.keep, &kept)))
    }

    /// What a network is judged by for its warnings.
    fn outcome<'a>(&'a self, parts: &'a Parts, weight_norm_squared: f64) -> Outcome<'a> {
        Outcome {
            train: &parts.train,
            validation: parts.validation.as_ref(),
            test: parts.test.as_ref(),
            classes: &self.manifest.classes,
            penalties: &self.manifest.penalties,
            first_weight_norm_squared: self.training.position.first_weight_norm_squared,
            weight_norm_squared,
        }
    }

    /// The network as the last step left it.
    fn last(&self) -> Candidate {
        let network = self.training.measured_network();
        let weights = Weights::of(&network);
        Candidate { epoch: self.training.position.epoch, network, weights, penalties: self.training.penalties().clone() }
    }

    /// The network of the lowest validation loss, with the λ that was known then; and that an older checkpoint had to be taken.
    fn best(&self) -> Result<(Candidate, Option<String>), Error> {
        let loaded = self.folder.load(Some(Which::Best))?;
        let mut penalties = self.training.penalties().clone();
        penalties.set(loaded.snapshot.position.lambdas.iter().copied().map(Some));
        let epoch = loaded.snapshot.position.epoch;
        let weights = loaded.snapshot.into_measured();
        let place = self.place.clone().inner();
        let network = Network::blank(&self.manifest.architecture, &place).with_weights(&weights, self.folder.path())?;
        Ok((Candidate { epoch, network, weights, penalties }, loaded.warning))
    }

    /// Samples of all parts.
    fn samples(&self) -> u64 {
        let others = [&self.data.validation, &self.data.test].into_iter().flatten();
        std::iter::once(&self.data.train).chain(others).map(|part| part.count() as u64).sum()
    }

    fn measure_all(&self, last: &Candidate, best: Option<&Candidate>, progress: &mut Progress) -> Option<(Parts, Option<Parts>)> {
        let best = match best {
            Some(best) => Some(self.parts(best, progress)?),
            None => None,
        };
        Some((self.parts(last, progress)?, best))
    }

    fn parts(&self, candidate: &Candidate, progress: &mut Progress) -> Option<Parts> {
        let batcher = Batcher::new(&self.data.normalizer, &self.place.clone().inner().device);
        let mut measure = |part: &Subset| {
            let (watched, before, total) = (&progress.watched, progress.done, progress.total);
            let measures =
                measure_watched(&candidate.network, part, &batcher, &mut |done| watched.goes_on("measurement", before + done, total));
            progress.done += part.count() as u64;
            measures
        };
        let validation = self.data.validation.as_ref().map(&mut measure);
        let test = self.data.test.as_ref().map(&mut measure);
        let train = measure(&self.data.train)?;
        let whole = |part: Option<Option<Measures>>| match part {
            None => Some(None),
            Some(measures) => measures.map(Some),
        };
        Some(Parts { train, validation: whole(validation)?, test: whole(test)? })
    }

    fn told(&self, candidate: &Candidate, parts: &Parts) -> Measured {
        let Candidate { epoch, weights, penalties, .. } = candidate;
        let zeros = Sparsity::of(weights);
        Measured {
            epoch: *epoch,
            train: Some(SplitSummary::from(&parts.train)),
            validation: parts.validation.as_ref().map(SplitSummary::from),
            test: parts.test.as_ref().map(SplitSummary::from),
            penalty: penalties.value(weights, self.experiment.train.batch(self.data.train.count())),
            lambdas: penalties.lambdas(),
            weight_norm_squared: penalties.weight_norm_squared(weights),
            zero_weights: zeros.weights,
            zero_channels: zeros.channels,
        }
    }
}
