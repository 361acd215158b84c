//! One regularization term: what it penalizes, on which parameters, and its λ.

use std::collections::BTreeSet;
use std::sync::Arc;

use burn::prelude::*;
use regulus_kernels::proximal::Proximal;
use regulus_model::Weights;

use super::definition::Definition;
use super::lambda::{Observed, Rule};
use super::norm::{NormSum, host_norm, squared_norms};
use super::origin::Origin;
use super::proximal::ProximalUpdate;
use super::regularizer::{Regularizer, RegularizerSum, host_value};
use crate::backend::fused::Norm;
use crate::config::PenaltyKind;
use crate::config::number::Samples;
use crate::network::Network;

/// A regularization term λ/m·R(w).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) form: Form,
    /// The scope as in the config.
    pub(super) scope: String,
    /// The names of the penalized parameters.
    pub(super) names: BTreeSet<String>,
    samples: Samples,
    train_samples: usize,
    pub(super) proximal: bool,
    /// λ before the schedule, or its initial value.
    pub(super) base: f64,
    pub(super) rule: Rule,
    /// The current λ. Only [`Term::advance`] assigns it.
    lambda: f64,
}

/// What R(w) is.
#[derive(Clone, Debug)]
pub(super) enum Form {
    BuiltIn(PenaltyKind),
    Own(Arc<dyn Regularizer>),
}

impl PartialEq for Form {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::BuiltIn(one), Self::BuiltIn(other)) => one == other,
            (Self::Own(one), Self::Own(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Form {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::BuiltIn(kind) => kind.name(),
            Self::Own(regularizer) => regularizer.name(),
        }
    }

    /// The norms of a built-in term, each with its factor besides λ/m.
    fn norms(&self) -> Vec<(Norm, f64)> {
        match self {
            Self::BuiltIn(PenaltyKind::L2) => vec![(Norm::Squares, 0.5)],
            Self::BuiltIn(PenaltyKind::L1) => vec![(Norm::Absolutes, 1.0)],
            Self::BuiltIn(PenaltyKind::ElasticNet { l1_ratio }) => {
                vec![(Norm::Absolutes, l1_ratio.get()), (Norm::Squares, 0.5 * (1.0 - l1_ratio.get()))]
            }
            Self::BuiltIn(PenaltyKind::GroupLasso) => vec![(Norm::Groups, 1.0)],
            Self::BuiltIn(PenaltyKind::L2Sp | PenaltyKind::Decoupled) | Self::Own(_) => Vec::new(),
        }
    }
}

impl Term {
    /// The term of a definition on these parameters, with its initial λ.
    pub(super) fn new(definition: Definition, names: BTreeSet<String>, train_samples: usize) -> Self {
        let Definition { form, base, rule, samples, scope, proximal, .. } = definition;
        Self { form, scope: String::from(scope), names, samples, train_samples, proximal, base, rule, lambda: base }
    }

    /// The current λ.
    pub(super) fn lambda(&self) -> f64 {
        self.lambda
    }

    /// Changes λ by its rule. This is the only place where λ changes. `index` is the place of the term among the penalties.
    pub(super) fn advance(&mut self, index: usize, observed: Observed) {
        let m = self.train_samples as f64;
        let next = match (&mut self.rule, observed) {
            (Rule::Scheduled(value), Observed::Step(step)) => Some(value.at(step)),
            (Rule::Adaptive { ratio }, Observed::DataGradient { network, gradients }) => {
                let [gradient, weights] = squared_norms(&self.names, network, gradients);
                let target = if weights > 0.0 { *ratio * (gradient / weights).sqrt() } else { 0.0 };
                Some(0.1 * self.lambda + 0.9 * m * target)
            }
            (Rule::Bounded(bounds), Observed::OptimizerStep(parameter)) if self.names.contains(parameter.name) => {
                Some(2.0 * m * bounds.update(parameter) / self.names.len() as f64)
            }
            (Rule::Evidence { .. }, Observed::Evidence(updates)) => updates.get(index).copied().flatten().map(|update| update.lambda),
            (rule, Observed::Checkpoint { lambdas, bounds }) => {
                if let Rule::Bounded(own) = rule {
                    own.restore(bounds, |name| self.names.contains(name));
                }
                lambdas.get(index).copied()
            }
            _ => None,
        };
        self.lambda = next.unwrap_or(self.lambda);
    }

    /// Whether the term has an option of which a parameter can have one.
    pub(super) fn has(&self, option: &str) -> bool {
        match option {
            "proximal" => self.proximal,
            "evidence" => matches!(self.rule, Rule::Evidence { .. }),
            _ => matches!(self.rule, Rule::Bounded(_)),
        }
    }

    /// λ/m in a step of `batch` samples.
    fn factor(&self, batch: usize) -> f64 {
        let m = match self.samples {
            Samples::Train => self.train_samples,
            Samples::Batch => batch,
            Samples::Number(count) => count.get(),
        };
        self.lambda / m as f64
    }

    /// The second derivative of the term in a weight, for the objective summed over the training samples, in a step of `batch` samples: λ of an L2 penalty, and of one on the distance
    /// to the starting point.
    pub(super) fn precision(&self, batch: usize) -> f64 {
        let of_squares = |(norm, share): (Norm, f64)| if norm == Norm::Squares { 2.0 * share } else { 0.0 };
        let of_distance = if self.form == Form::BuiltIn(PenaltyKind::L2Sp) { 1.0 } else { 0.0 };
        let share = of_distance + self.form.norms().into_iter().map(of_squares).sum::<f64>();
        self.train_samples as f64 * self.factor(batch) * share
    }

    /// The summands of λ/m·R(w) in a step of `batch` samples, each `[1]`. Autodiff tracks them, unless the term is proximal.
    pub(super) fn on(&self, network: &Network, batch: usize, origin: Option<&Origin>) -> Vec<Tensor<1>> {
        let (factor, tracked) = (self.factor(batch), !self.proximal);
        let of_norm = |(norm, share): (Norm, f64)| {
            let mut norms = NormSum { names: &self.names, norm, implementation: network.implementation(), tracked, sum: None };
            network.visit_parameters(&mut norms);
            norms.sum.map(|sum| sum.mul_scalar(share * factor))
        };
        let summands: Vec<Tensor<1>> = match &self.form {
            Form::BuiltIn(PenaltyKind::L2Sp) => {
                let distance = origin.and_then(|origin| origin.squared_distance(&self.names, network));
                distance.map(|sum| sum.mul_scalar(0.5 * factor)).into_iter().collect()
            }
            Form::BuiltIn(_) => self.form.norms().into_iter().filter_map(of_norm).collect(),
            Form::Own(regularizer) => {
                let mut values = RegularizerSum { regularizer: &**regularizer, names: &self.names, tracked, sum: None };
                network.visit_parameters(&mut values);
                values.sum.map(|sum| sum.mul_scalar(factor)).into_iter().collect()
            }
        };
        if tracked { summands } else { summands.into_iter().map(Tensor::from_inner).collect() }
    }

    /// λ/m·R(w) of weights on the host in a step of `batch` samples.
    pub(super) fn value(&self, weights: &Weights, batch: usize, origin: Option<&Origin>) -> f64 {
        let named = || weights.iter().filter(|(name, _)| self.names.contains(*name));
        let inside = || named().map(|(_, values)| values);
        let value = match &self.form {
            Form::BuiltIn(PenaltyKind::L2Sp) => {
                let distance = |origin: &Origin| named().map(|(name, values)| origin.host_squared_distance(name, values)).sum::<f64>();
                0.5 * origin.map_or(0.0, distance)
            }
            Form::BuiltIn(_) => {
                let sum = |norm| inside().map(|values| host_norm(norm, values)).sum::<f64>();
                self.form.norms().into_iter().map(|(norm, share)| share * sum(norm)).sum::<f64>()
            }
            Form::Own(regularizer) => inside().map(|values| host_value(&**regularizer, values)).sum(),
        };
        self.factor(batch) * value
    }

    /// Whether the term is in the loss with a gradient.
    pub(super) fn has_gradient(&self) -> bool {
        self.lambda > 0.0 && !self.proximal && self.form != Form::BuiltIn(PenaltyKind::Decoupled)
    }

    /// Decoupled weight decay in a step of `batch` samples: the fraction of the weights that is subtracted, per unit of the learning rate. Bounds subtract
    /// theirs after the step.
    pub(super) fn decay(&self, batch: usize) -> Option<f64> {
        let is_decay = self.form == Form::BuiltIn(PenaltyKind::Decoupled) && !matches!(self.rule, Rule::Bounded(_));
        (is_decay && self.lambda > 0.0).then(|| self.factor(batch))
    }

    /// The proximal step in a step of `batch` samples. Returns `None` if λ is 0 or the term is not proximal.
    pub(super) fn proximal_update(&self, batch: usize) -> Option<ProximalUpdate> {
        if !self.proximal || self.lambda <= 0.0 {
            return None;
        }
        let factor = self.factor(batch);
        Some(match &self.form {
            Form::BuiltIn(_) => {
                let share =
                    |norm| self.form.norms().iter().filter(|(other, _)| *other == norm).map(|(_, share)| share * factor).sum::<f64>();
                let (absolutes, squares, norms) = (share(Norm::Absolutes), 2.0 * share(Norm::Squares), share(Norm::Groups));
                ProximalUpdate::BuiltIn(Proximal { absolutes, squares, norms })
            }
            Form::Own(regularizer) => ProximalUpdate::Own { regularizer: Arc::clone(regularizer), factor },
        })
    }
}
