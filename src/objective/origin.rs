//! The starting point of penalties on the distance to it (Li, Grandvalet and Davoine 2018, arXiv 1802.01483).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use burn::module::ParamId;
use burn::prelude::*;
use regulus_model::graph::{Graph, Parameter};
use regulus_model::{Values, Weights};

use super::Penalties;
use super::term::Form;
use crate::backend::fused;
use crate::config::{ConfigError, Implementation, PenaltyKind};
use crate::network::{Network, ParamVisitor, flat};

/// The weights w₀ that `l2_sp` penalties draw towards, on the host and on a device without autodiff.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    weights: Weights,
    tensors: BTreeMap<String, Tensor<1>>,
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.weights == other.weights
    }
}

impl Penalties {
    /// Whether a penalty needs the starting point.
    #[must_use]
    pub fn need_origin(&self) -> bool {
        self.terms.iter().any(|term| term.form == Form::BuiltIn(PenaltyKind::L2Sp))
    }

    /// The weights w₀ of `l2_sp` penalties. Returns `None` without such penalties.
    #[must_use]
    pub fn origin(&self) -> Option<&Weights> {
        self.origin.as_deref().map(|origin| &origin.weights)
    }

    /// Sets the starting point of `l2_sp` penalties; `device` has no autodiff. Parameters that `start` does not have, such as those of a new head, are left out of them. Returns a
    /// warning for each penalty that leaves out what no other penalty has. Does nothing without such penalties.
    ///
    /// # Errors
    ///
    /// When there is no starting point, or a penalty has no parameter that it has.
    pub fn start_from(&mut self, start: Option<&Weights>, graph: &Graph, device: &Device) -> Result<Vec<String>, ConfigError> {
        let (mut notes, mut inside) = (Vec::new(), BTreeSet::new());
        if !self.need_origin() {
            return Ok(notes);
        }
        let has = |name: &String| start.is_some_and(|start| start.get(name).is_some());
        let others = self.terms.iter().filter(|term| term.form != Form::BuiltIn(PenaltyKind::L2Sp));
        let elsewhere: BTreeSet<String> = others.flat_map(|term| term.names.iter().cloned()).collect();
        for (index, term) in self.terms.iter_mut().enumerate().filter(|(_, term)| term.form == Form::BuiltIn(PenaltyKind::L2Sp)) {
            let (kept, left_out): (BTreeSet<String>, BTreeSet<String>) = std::mem::take(&mut term.names).into_iter().partition(has);
            if kept.is_empty() {
                let problem =
                    "has only parameters without initial weights, such as those of a new last layer; use kind `l2` for them".to_owned();
                return Err(ConfigError::value(format!("penalty.{index}.scope"), problem));
            }
            inside.extend(kept.iter().cloned());
            term.names = kept;
            let listed: Vec<String> = left_out.difference(&elsewhere).map(|name| format!("`{name}`")).collect();
            if !listed.is_empty() {
                notes.push(format!(
                    "`penalty.{index}` (l2_sp) leaves out {}, without initial weights; another penalty can have them, such as kind `l2`",
                    listed.join(" and ")
                ));
            }
        }
        let values = |name: &String| start.and_then(|start| start.get(name));
        let weights: Weights = inside.iter().filter_map(|name| Some((name.clone(), values(name)?.clone()))).collect();
        let tensor = |parameter: &Parameter| Some((parameter.name.clone(), flat(parameter, weights.get(&parameter.name)?, device)));
        let tensors = graph.parameters().filter_map(tensor).collect();
        self.origin = Some(Arc::new(Origin { weights, tensors }));
        Ok(notes)
    }
}

impl Origin {
    /// Σ (w − w₀)² over some parameters, `[1]`.
    pub(super) fn squared_distance(&self, names: &BTreeSet<String>, network: &Network) -> Option<Tensor<1>> {
        let mut distance = Distance { origin: self, names, implementation: network.implementation(), sum: None };
        network.visit_parameters(&mut distance);
        distance.sum
    }

    /// Σ (w − w₀)² of a parameter on the host.
    pub(super) fn host_squared_distance(&self, name: &str, values: &Values) -> f64 {
        let origin = self.weights.get(name).map(|origin| origin.numbers.as_slice()).unwrap_or_default();
        values.numbers.iter().zip(origin).map(|(weight, origin)| (f64::from(*weight) - f64::from(*origin)).powi(2)).sum()
    }
}

/// Sums the squared distances of some parameters.
struct Distance<'a> {
    origin: &'a Origin,
    names: &'a BTreeSet<String>,
    implementation: Implementation,
    sum: Option<Tensor<1>>,
}

impl ParamVisitor for Distance<'_> {
    fn visit<const D: usize>(&mut self, parameter: &Parameter, _id: ParamId, tensor: Tensor<D>) {
        let Some(origin) = self.origin.tensors.get(&parameter.name).filter(|_| self.names.contains(&parameter.name)) else { return };
        let origin = origin.clone().reshape(tensor.dims());
        let origin = if tensor.is_autodiff() { Tensor::from_inner(origin) } else { origin };
        let is_fused = self.implementation.is_fused();
        let distance = if is_fused { fused::squared_distance(tensor, origin) } else { (tensor - origin).square().sum() };
        self.sum = Some(match self.sum.take() {
            None => distance,
            Some(sum) => sum + distance,
        });
    }
}
