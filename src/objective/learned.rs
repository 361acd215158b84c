//! The updates of λ by evidence.

use serde::{Deserialize, Serialize};

use super::Penalties;
use super::evidence::Evidence;
use super::norm::normed;
use crate::backend::fused::Norm;
use regulus_model::{Values, Weights};

use crate::config::Structure;
use crate::network::{Curvature, Spectrum, Stopped};

/// What the training data told of the λ of `evidence`, with the weights as they were and the λ before.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// γ, the effective number of parameters, summed over the penalties.
    pub gamma: f64,
    /// ln p(data | λ), in nats.
    pub log_evidence: f64,
    /// Of each penalty in order; none where it is not one of those that were updated.
    pub updates: Vec<Option<Update>>,
}

/// One penalty's update.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// γ, the effective number of its parameters.
    pub gamma: f64,
    /// The λ that was found, in force from the next step on.
    pub lambda: f64,
}

impl Penalties {
    /// Whether a λ of `evidence` is due after `epoch`, counted from 1.
    #[must_use]
    pub fn learn_after(&self, epoch: u64) -> bool {
        self.terms.iter().any(|term| term.structure_after(epoch).is_some())
    }

    /// Updates the λ of `evidence` that are due after `epoch`, counted from 1, by the curvature around `weights`; none where none is due.
    ///
    /// # Errors
    ///
    /// When `curvature` was stopped; then every λ is as it was.
    pub fn learn(
        &mut self,
        epoch: u64,
        weights: &Weights,
        mut curvature: impl FnMut(Structure) -> Result<Curvature, Stopped>,
    ) -> Result<Option<Learned>, Stopped> {
        let mut known: Vec<(Structure, Curvature)> = Vec::new();
        for structure in self.terms.iter().filter_map(|term| term.structure_after(epoch)) {
            if known.iter().all(|(other, _)| *other != structure) {
                known.push((structure, curvature(structure)?));
            }
        }
        let Some((_, first)) = known.first() else { return Ok(None) };
        let mut learned = Learned { gamma: 0.0, log_evidence: -first.loss, updates: Vec::new() };
        for term in &mut self.terms {
            let own = term.structure_after(epoch).and_then(|structure| known.iter().find(|(other, _)| *other == structure));
            let Some((_, curvature)) = own else {
                learned.updates.push(None);
                continue;
            };
            let inside = |(name, values): (&String, &Values)| term.names.contains(name).then(|| normed(Norm::Squares, values));
            let spectra: Vec<&Spectrum> = term.names.iter().filter_map(|name| curvature.spectra.get(name)).collect();
            let evidence = Evidence::of(term.lambda, &spectra, weights.iter().filter_map(inside).sum());
            term.lambda = evidence.lambda;
            learned.gamma += evidence.gamma;
            learned.log_evidence += evidence.log_evidence;
            learned.updates.push(Some(Update { gamma: evidence.gamma, lambda: evidence.lambda }));
        }
        Ok(Some(learned))
    }
}
