//! The updates of λ by evidence.

use serde::{Deserialize, Serialize};

use super::Penalties;
use super::evidence::Evidence;
use super::norm::host_norm;
use crate::backend::fused::Norm;
use regulus_model::{Values, Weights};

use crate::config::Structure;
use crate::network::{Curvature, Spectrum, Stopped};

/// The result of an update of λ by evidence, for the weights and λ before the update.
#[derive(Clone, Debug, PartialEq)]
pub struct EvidenceUpdate {
    /// γ, the effective number of parameters, summed over the penalties.
    pub gamma: f64,
    /// ln p(data | λ), in nats.
    pub log_evidence: f64,
    /// The update of each penalty. `None` if the penalty was not updated.
    pub updates: Vec<Option<LambdaUpdate>>,
}

/// The update of one penalty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LambdaUpdate {
    /// γ, the effective number of parameters of the penalty.
    pub gamma: f64,
    /// The new λ, used from the next step on.
    pub lambda: f64,
}

impl Penalties {
    /// Whether a λ is updated by evidence after `epoch` (from 1).
    #[must_use]
    pub fn is_evidence_epoch(&self, epoch: u64) -> bool {
        self.terms.iter().any(|term| term.structure_after(epoch).is_some())
    }

    /// Updates every λ that is due by evidence after `epoch` (from 1), with the curvature at `weights`. Returns `None` if none is due.
    ///
    /// # Errors
    ///
    /// When `curvature` was stopped. No λ is changed.
    pub fn update_by_evidence(
        &mut self,
        epoch: u64,
        weights: &Weights,
        mut curvature: impl FnMut(Structure) -> Result<Curvature, Stopped>,
    ) -> Result<Option<EvidenceUpdate>, Stopped> {
        let mut curvatures: Vec<(Structure, Curvature)> = Vec::new();
        for structure in self.terms.iter().filter_map(|term| term.structure_after(epoch)) {
            if curvatures.iter().all(|(other, _)| *other != structure) {
                curvatures.push((structure, curvature(structure)?));
            }
        }
        let Some((_, first)) = curvatures.first() else { return Ok(None) };
        let mut result = EvidenceUpdate { gamma: 0.0, log_evidence: -first.loss, updates: Vec::new() };
        for term in &mut self.terms {
            let due = term.structure_after(epoch).and_then(|structure| curvatures.iter().find(|(other, _)| *other == structure));
            let Some((_, curvature)) = due else {
                result.updates.push(None);
                continue;
            };
            let squared_norm = |(name, values): (&String, &Values)| term.names.contains(name).then(|| host_norm(Norm::Squares, values));
            let spectra: Vec<&Spectrum> = term.names.iter().filter_map(|name| curvature.spectra.get(name)).collect();
            let evidence = Evidence::of(term.lambda, &spectra, weights.iter().filter_map(squared_norm).sum());
            term.lambda = evidence.lambda;
            result.gamma += evidence.gamma;
            result.log_evidence += evidence.log_evidence;
            result.updates.push(Some(LambdaUpdate { gamma: evidence.gamma, lambda: evidence.lambda }));
        }
        Ok(Some(result))
    }
}
