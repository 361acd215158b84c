//! The evidence of penalties after an epoch, and the λ it leads to.

use regulus_model::graph::Graph;
use regulus_model::{Values, Weights};
use serde::{Deserialize, Serialize};

use super::Penalties;
use super::evidence::Evidence;
use super::lambda::{Observed, Rule};
use super::norm::host_norm;
use super::term::Term;
use crate::backend::fused::Norm;
use crate::config::{ConfigError, Structure};
use crate::network::{Curvature, Scope, Spectrum, Stopped};

/// The widest layer with a Kronecker factor: 2 GiB of float64.
const WIDEST: usize = 1 << 14;

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
        self.terms.iter().any(|term| term.rule.structure_after(epoch).is_some())
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
        for structure in self.terms.iter().filter_map(|term| term.rule.structure_after(epoch)) {
            if curvatures.iter().all(|(other, _)| *other != structure) {
                curvatures.push((structure, curvature(structure)?));
            }
        }
        let Some((_, first)) = curvatures.first() else { return Ok(None) };
        let mut result = EvidenceUpdate { gamma: 0.0, log_evidence: -first.loss, updates: Vec::new() };
        for term in &self.terms {
            let due = term.rule.structure_after(epoch).and_then(|structure| curvatures.iter().find(|(other, _)| *other == structure));
            let Some((_, curvature)) = due else {
                result.updates.push(None);
                continue;
            };
            let squared_norm = |(name, values): (&String, &Values)| term.names.contains(name).then(|| host_norm(Norm::Squares, values));
            let spectra: Vec<&Spectrum> = term.names.iter().filter_map(|name| curvature.spectra.get(name)).collect();
            let evidence = Evidence::of(term.lambda(), &spectra, weights.iter().filter_map(squared_norm).sum());
            result.gamma += evidence.gamma;
            result.log_evidence += evidence.log_evidence;
            result.updates.push(Some(LambdaUpdate { gamma: evidence.gamma, lambda: evidence.lambda }));
        }
        self.advance(Observed::Evidence(&result.updates));
        Ok(Some(result))
    }

    /// The layers whose curvature evidence needs.
    ///
    /// # Errors
    ///
    /// When the curvature of a layer is not supported, or a layer has more than 2¹⁴ inputs or outputs: its Kronecker factors would be too large.
    pub fn curvature_scope(&self, graph: &Graph) -> Result<Scope, ConfigError> {
        let by_evidence = |term: &&Term| matches!(term.rule, Rule::Evidence { .. });
        for (index, term) in self.terms.iter().enumerate().filter(|(_, term)| by_evidence(term)) {
            let scope = Scope::new(graph, &term.names).map_err(|problem| {
                ConfigError::value(format!("penalty.{index}.schedule.kind"), format!("is \"evidence\", but {problem}"))
            })?;
            let widest = scope.widest(graph);
            if matches!(term.rule, Rule::Evidence { structure: Structure::Kronecker, .. }) && widest > WIDEST {
                let problem = format!(
                    "is \"kronecker\", for which a layer of {widest} inputs or outputs is too wide; expected at most {WIDEST}; use \"ekfac\" or \"diagonal\""
                );
                return Err(ConfigError::value(format!("penalty.{index}.schedule.structure"), problem));
            }
        }
        let names = self.terms.iter().filter(by_evidence).flat_map(|term| term.names.iter().cloned()).collect();
        Scope::new(graph, &names).map_err(|problem| ConfigError::value("penalty.schedule.kind", format!("is \"evidence\", but {problem}")))
    }
}
