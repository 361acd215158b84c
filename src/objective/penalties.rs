//! The regularization terms of an objective.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use burn::prelude::*;
use regulus_model::{Values, Weights};

use super::cpr::Bound;
use super::lambda::{Observed, Rule};
use super::norm::host_norm;
use super::origin::Origin;
use super::proximal::ProximalUpdate;
use super::term::Term;
use crate::backend::fused::Norm;
use crate::config::{Decay, Schedule};
use crate::network::Network;
use crate::schedule::RunLength;

/// The regularization terms of an objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Penalties {
    pub(super) terms: Vec<Term>,
    pub(super) length: RunLength,
    /// The names of all kernels.
    pub(super) kernels: BTreeSet<String>,
    /// The starting point of `l2_sp` penalties.
    pub(super) origin: Option<Arc<Origin>>,
}

/// The update of a parameter by penalties that do not act by a gradient, per unit of the learning rate.
#[derive(Clone, Debug, Default)]
pub struct NonGradientUpdate {
    /// Decoupled weight decay: the fraction of the weights that is subtracted before the optimizer step.
    pub decay: f64,
    /// The proximal step after the optimizer step.
    pub proximal: Option<ProximalUpdate>,
}

impl Penalties {
    /// Changes every λ by its rule, after something was observed.
    pub fn advance(&mut self, observed: Observed) {
        self.terms.iter_mut().enumerate().for_each(|(index, term)| term.advance(index, observed));
    }

    /// The penalty of `network` in a step of `batch` samples, tracked by autodiff. Proximal terms are included without a gradient. Returns `None` if every
    /// λ is 0. An `l2_sp` penalty is 0 before [`Penalties::start_from`].
    ///
    /// # Shapes
    ///
    /// - output: `[1]`
    #[must_use]
    pub fn on(&self, network: &Network, batch: usize) -> Option<Tensor<1>> {
        let terms = self.terms.iter().filter(|term| term.lambda() > 0.0);
        terms.flat_map(|term| term.on(network, batch, self.origin.as_deref())).reduce(|sum, summand| sum + summand)
    }

    /// The current λ of each term.
    #[must_use]
    pub fn lambdas(&self) -> Vec<f64> {
        self.terms.iter().map(Term::lambda).collect()
    }

    /// The current λ, if there is one term. Returns `None` for no or several terms.
    #[must_use]
    pub fn lambda(&self) -> Option<f64> {
        if let [term] = self.terms.as_slice() { Some(term.lambda()) } else { None }
    }

    /// The λ before the schedule, and the schedule, of each term. `None` if λ depends on more than the step.
    pub fn schedules(&self) -> impl Iterator<Item = Option<(f64, &Schedule)>> {
        self.terms.iter().map(|term| match &term.rule {
            Rule::Scheduled(value) => Some((value.base(), value.schedule())),
            _ => None,
        })
    }

    /// The constraints by name of parameter.
    #[must_use]
    pub fn bounds(&self) -> BTreeMap<String, Bound> {
        let bounds =
            self.terms.iter().filter_map(|term| if let Rule::Bounded(bounds) = &term.rule { Some(bounds.by_name()) } else { None });
        bounds.flat_map(|bounds| bounds.iter().map(|(name, bound)| (name.clone(), *bound))).collect()
    }

    /// The label of each term, such as `l2 on kernels`.
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        self.terms.iter().map(|term| format!("{} on {}", term.form.name(), term.scope)).collect()
    }

    /// A term with a constant λ that is not the one that was `saved` after `steps` steps, in words. Returns `None` if there is none.
    pub(crate) fn changed_lambda(&self, saved: &[f64], steps: u64) -> Option<String> {
        let last = steps.checked_sub(1)?;
        self.terms.iter().zip(saved).zip(self.labels()).find_map(|((term, saved), label)| {
            let Rule::Scheduled(value) = &term.rule else { return None };
            // A decay depends on the length of the run, which may have been extended.
            let now = (value.schedule().decay == Decay::Constant).then(|| value.clone().at(last))?;
            ((now - saved).abs() > 1e-12 * now.abs()).then(|| format!("`{label}` had λ {saved}, and has {now} now"))
        })
    }

    /// The λ of the terms for a message, such as `0.5` or `0.5 (l2 on kernels), 2 (l1 on conv*.weight)`.
    #[must_use]
    pub fn in_words(&self, lambdas: &[f64]) -> String {
        match lambdas {
            [] => "none".to_owned(),
            [lambda] => lambda.to_string(),
            _ => {
                let each = lambdas.iter().zip(self.labels()).map(|(lambda, label)| format!("{lambda} ({label})"));
                each.collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// Descriptions of the penalties of a parameter, such as `l1 with λ = 2, proximal`.
    #[must_use]
    pub fn described(&self, name: &str) -> Vec<String> {
        self.terms_on(name)
            .map(|term| {
                let (kind, lambda) = (term.form.name(), term.rule.described(term.base));
                format!("{kind} with {lambda}{}", if term.proximal { ", proximal" } else { "" })
            })
            .collect()
    }

    /// Whether the penalty of [`Penalties::on`] has a gradient.
    #[must_use]
    pub fn have_gradient(&self) -> bool {
        self.terms.iter().any(Term::has_gradient)
    }

    /// Whether a λ depends on the gradient of the data loss.
    #[must_use]
    pub fn need_data_gradient(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.rule, Rule::Adaptive { .. }))
    }

    /// The non-gradient update of a parameter in a step of `batch` samples.
    #[must_use]
    pub fn non_gradient_update(&self, name: &str, batch: usize) -> NonGradientUpdate {
        NonGradientUpdate {
            decay: self.terms_on(name).filter_map(|term| term.decay(batch)).fold(0.0, |sum, decay| sum + decay),
            proximal: self.terms_on(name).find_map(|term| term.proximal_update(batch)),
        }
    }

    /// The fraction of the weights of a bounded parameter to subtract after an optimizer step. Returns `None` if the parameter has no bound.
    #[must_use]
    pub fn bounded_fraction(&self, name: &str) -> Option<f64> {
        self.terms_on(name).find_map(|term| match &term.rule {
            Rule::Bounded(bounds) => Some(bounds.by_name().get(name).copied().unwrap_or_default().fraction()),
            _ => None,
        })
    }

    /// The penalty of weights on the host, in a step of `batch` samples.
    #[must_use]
    pub fn value(&self, weights: &Weights, batch: usize) -> f64 {
        // An empty sum is -0.0 in Rust.
        self.terms.iter().map(|term| term.value(weights, batch, self.origin.as_deref())).fold(0.0, |sum, value| sum + value)
    }

    /// ‖w‖² over all penalized parameters, or over the kernels if there is no term.
    #[must_use]
    pub fn weight_norm_squared(&self, weights: &Weights) -> f64 {
        let penalized = |(name, _): &(&String, &Values)| match self.terms.as_slice() {
            [] => self.kernels.contains(*name),
            _ => self.terms_on(name).next().is_some(),
        };
        weights.iter().filter(penalized).map(|(_, values)| host_norm(Norm::Squares, values)).sum()
    }

    /// The precision of the Gaussian prior that the squares among the penalties are, by name of parameter, in a step of `batch` samples: the sum of their λ, for
    /// the objective summed over the training samples. Without those that are 0.
    #[must_use]
    pub fn precisions(&self, batch: usize) -> BTreeMap<String, f64> {
        let mut precisions = BTreeMap::new();
        for term in &self.terms {
            let precision = term.precision(batch);
            if precision > 0.0 {
                term.names.iter().for_each(|name| *precisions.entry(name.clone()).or_insert(0.0) += precision);
            }
        }
        precisions
    }

    fn terms_on(&self, name: &str) -> impl Iterator<Item = &Term> {
        self.terms.iter().filter(move |term| term.names.contains(name))
    }
}
