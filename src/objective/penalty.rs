//! The regularization terms.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::ParamId;
use burn::optim::GradientsParams;
use burn::prelude::*;
use regulus_kernels::proximal::Proximal;
use regulus_model::graph::{Graph, Parameter, Role};
use regulus_model::{Values, Weights};

use super::cpr::{Bound, Rule};
use super::norm::{NormSum, host_norm, norm_of};
use super::term::Term;
use crate::backend::fused::Norm;
use crate::config::{ConfigError, Implementation, Lambda, Penalty, PenaltyKind, Schedule, Structure};
use crate::network::{Network, ParamVisitor, Scope};

/// The update of a parameter by penalties that do not act by a gradient, per unit of the learning rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NonGradientUpdate {
    /// Decoupled weight decay: the fraction of the weights that is subtracted before the optimizer step.
    pub decay: f64,
    /// The proximal step after the optimizer step.
    pub proximal: Option<Proximal>,
}

/// The widest layer with a Kronecker factor: 2 GiB of float64.
const WIDEST: usize = 1 << 14;

/// The regularization terms of an objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Penalties {
    pub(super) terms: Vec<Term>,
    bounds: BTreeMap<String, Bound>,
    train_samples: usize,
    /// The names of all kernels.
    kernels: BTreeSet<String>,
}

impl Penalties {
    /// The terms of `config` for the parameters of `graph` and a training split of `train_samples` samples.
    ///
    /// # Errors
    ///
    /// When a scope has no parameter, or a parameter has two proximal terms, two `evidence` terms or two `cpr` terms.
    pub fn new(config: &[Penalty], graph: &Graph, train_samples: usize) -> Result<Self, ConfigError> {
        let parameters: Vec<&Parameter> = graph.parameters().filter(|parameter| parameter.role.is_trained()).collect();
        let mut terms: Vec<Term> = Vec::new();
        for (index, penalty) in config.iter().enumerate() {
            let inside = parameters.iter().filter(|parameter| penalty.scope.has(parameter));
            let names: BTreeSet<String> = inside.map(|parameter| parameter.name.clone()).collect();
            if names.is_empty() {
                let all: Vec<String> = parameters.iter().map(|parameter| format!("`{}`", parameter.name)).collect();
                let problem = format!(
                    "is {:?}, which matches no parameter; expected `kernels`, `biases`, `all`, or one of {}, with `*` for any characters",
                    String::from(penalty.scope.clone()),
                    all.join(", ")
                );
                return Err(ConfigError::value(format!("penalty.{index}.scope"), problem));
            }
            for (key, option) in [("proximal", "proximal"), ("schedule.kind", "evidence"), ("schedule.kind", "cpr")] {
                let is = |proximal: bool, schedule: &Lambda| if key == "proximal" { proximal } else { schedule.name() == option };
                let others = terms.iter().filter(|term| is(penalty.proximal, &penalty.schedule) && is(term.proximal, &term.schedule));
                if let Some(name) = others.flat_map(|term| term.names.intersection(&names)).next() {
                    let value = if key == "proximal" { "true".to_owned() } else { format!("{option:?}") };
                    let problem = format!("is {value}, but `{name}` has a penalty with `{option}` already; give them different scopes");
                    return Err(ConfigError::value(format!("penalty.{index}.{key}"), problem));
                }
            }
            let Penalty { kind, samples, proximal, .. } = *penalty;
            let (base, schedule) = (penalty.lambda.get(), penalty.schedule.clone());
            let scope = String::from(penalty.scope.clone());
            terms.push(Term { kind, scope, lambda: base, base, schedule, samples, proximal, names });
        }
        let kernels = parameters.iter().filter(|parameter| parameter.role == Role::Kernel).map(|parameter| parameter.name.clone());
        Ok(Self { terms, bounds: BTreeMap::new(), train_samples, kernels: kernels.collect() })
    }

    /// The initial λ and the schedule of each term. `None` if λ depends on more than the step.
    pub fn schedules(&self) -> impl Iterator<Item = Option<(f64, &Schedule)>> {
        self.terms.iter().map(|term| match &term.schedule {
            Lambda::Scheduled(schedule) => Some((term.base, schedule)),
            _ => None,
        })
    }

    /// Sets the current λ of each term; `None` leaves it unchanged.
    pub fn set(&mut self, lambdas: impl IntoIterator<Item = Option<f64>>) {
        self.terms.iter_mut().zip(lambdas).for_each(|(term, lambda)| term.lambda = lambda.unwrap_or(term.lambda));
    }

    /// Restores the λ and the bounds of a checkpoint.
    pub fn resume(&mut self, lambdas: &[f64], bounds: &BTreeMap<String, Bound>) {
        self.set(lambdas.iter().copied().map(Some));
        self.bounds.clone_from(bounds);
    }

    /// The current λ of each term.
    #[must_use]
    pub fn lambdas(&self) -> Vec<f64> {
        self.terms.iter().map(|term| term.lambda).collect()
    }

    /// The constraints by name of parameter.
    #[must_use]
    pub fn bounds(&self) -> &BTreeMap<String, Bound> {
        &self.bounds
    }

    /// The current λ, if there is one term. Returns `None` for no or several terms.
    #[must_use]
    pub fn lambda(&self) -> Option<f64> {
        if let [term] = self.terms.as_slice() { Some(term.lambda) } else { None }
    }

    /// The label of each term, such as `l2 on kernels`.
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        self.terms.iter().map(|term| format!("{} on {}", term.kind.name(), term.scope)).collect()
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
        let terms = self.terms.iter().filter(|term| term.names.contains(name));
        terms
            .map(|term| {
                let lambda = match &term.schedule {
                    schedule if *schedule == Lambda::default() => format!("λ = {}", term.base),
                    Lambda::Scheduled(_) => format!("λ = {} before its schedule", term.base),
                    Lambda::Evidence { .. } => format!("λ by evidence, from {}", term.base),
                    Lambda::Adaptive { .. } | Lambda::Cpr { .. } => format!("λ by {}", term.schedule.name()),
                };
                format!("{} with {lambda}{}", term.kind.name(), if term.proximal { ", proximal" } else { "" })
            })
            .collect()
    }

    /// The penalty of `network` for a step of `batch` samples, tracked by autodiff. Proximal terms are included without a gradient. Returns `None` if every
    /// λ is 0.
    ///
    /// # Shapes
    ///
    /// - output: `[1]`
    #[must_use]
    pub fn on(&self, network: &Network, batch: usize) -> Option<Tensor<1>> {
        let mut sum: Option<Tensor<1>> = None;
        for term in self.terms.iter().filter(|term| term.lambda > 0.0) {
            for (norm, share) in term.norms() {
                let (implementation, tracked) = (network.implementation(), !term.proximal);
                let mut norms = NormSum { names: &term.names, norm, implementation, tracked, sum: None };
                network.visit_parameters(&mut norms);
                let Some(norms) = norms.sum else { continue };
                let value = norms.mul_scalar(share * term.factor(self.train_samples, batch));
                let value = if term.proximal { Tensor::from_inner(value) } else { value };
                sum = Some(match sum {
                    None => value,
                    Some(sum) => sum + value,
                });
            }
        }
        sum
    }

    /// Whether the penalty of [`Penalties::on`] has a gradient.
    #[must_use]
    pub fn have_gradient(&self) -> bool {
        self.terms.iter().any(|term| term.lambda > 0.0 && !term.proximal && !term.norms().is_empty())
    }

    /// The non-gradient update of a parameter in a step of `batch` samples.
    #[must_use]
    pub fn non_gradient_update(&self, name: &str, batch: usize) -> NonGradientUpdate {
        let mut update = NonGradientUpdate::default();
        let applies = |term: &&Term| term.lambda > 0.0 && !term.is_bounded() && term.names.contains(name);
        for term in self.terms.iter().filter(applies) {
            let factor = term.factor(self.train_samples, batch);
            if term.kind == PenaltyKind::Decoupled {
                update.decay += factor;
            }
            if term.proximal {
                let share = |norm| term.norms().iter().filter(|(other, _)| *other == norm).map(|(_, share)| share * factor).sum::<f64>();
                update.proximal =
                    Some(Proximal { absolutes: share(Norm::Absolutes), squares: 2.0 * share(Norm::Squares), norms: share(Norm::Groups) });
            }
        }
        update
    }

    /// Whether a λ depends on the gradient of the data loss.
    #[must_use]
    pub fn need_data_gradient(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.schedule, Lambda::Adaptive { .. }))
    }

    /// Updates every adaptive λ by the gradient g of the data loss: λ ← 0.1·λ + 0.9·m·r·‖g‖/‖w‖ over the parameters in scope (arXiv 2210.00094,
    /// algorithm 1).
    pub fn adapt(&mut self, network: &Network, gradients: &GradientsParams) {
        for term in &mut self.terms {
            let Lambda::Adaptive { ratio } = term.schedule else { continue };
            let mut norms = SquaredNorms { names: &term.names, implementation: network.implementation(), gradients, found: Vec::new() };
            network.visit_parameters(&mut norms);
            let numbers: Vec<f64> = Tensor::cat(norms.found, 0).into_data().iter::<f64>().collect();
            let sum = |first| numbers.iter().skip(first).step_by(2).sum::<f64>();
            let (gradient, weights) = (sum(0), sum(1));
            let target = if weights > 0.0 { ratio.get() * (gradient / weights).sqrt() } else { 0.0 };
            term.lambda = 0.1 * term.lambda + 0.9 * self.train_samples as f64 * target;
        }
    }

    /// Whether a parameter has a bound.
    #[must_use]
    pub fn is_bounded(&self, name: &str) -> bool {
        self.rule(name).is_some()
    }

    /// The settings of the bound on a parameter. Returns `None` if it has no bound.
    fn rule(&self, name: &str) -> Option<Rule> {
        self.terms.iter().filter(|term| term.names.contains(name)).find_map(|term| match term.schedule {
            Lambda::Cpr { warm_start_steps, bound_factor, multiplier_rate } => {
                Some(Rule { warm_start_steps, bound_factor: bound_factor.get(), multiplier_rate: multiplier_rate.get() })
            }
            _ => None,
        })
    }

    /// Updates the multiplier of a bounded parameter of `count` weights after step `step` (from 1). `squares` are Σ w² before and after the optimizer step.
    /// Returns the fraction of the weights to subtract, 0 without a bound. The λ of the term becomes the mean over its parameters, scaled so that a step subtracts λ/m.
    #[must_use]
    pub fn update_multiplier(&mut self, name: &str, step: u64, count: usize, squares: [f64; 2]) -> f64 {
        let Some(rule) = self.rule(name) else { return 0.0 };
        let fraction = self.bounds.entry(name.to_owned()).or_default().update(rule, step, count, squares);
        for term in self.terms.iter_mut().filter(|term| term.is_bounded() && term.names.contains(name)) {
            let multipliers = term.names.iter().filter_map(|name| self.bounds.get(name)).map(|bound| bound.multiplier);
            term.lambda = 2.0 * self.train_samples as f64 * multipliers.sum::<f64>() / term.names.len() as f64;
        }
        fraction
    }

    /// The layers whose curvature evidence needs.
    ///
    /// # Errors
    ///
    /// When the curvature of a layer is not supported, or a layer has more than 2¹⁴ inputs or outputs: its Kronecker factors would be too large.
    pub fn curvature_scope(&self, graph: &Graph) -> Result<Scope, ConfigError> {
        let by_evidence = |term: &&Term| matches!(term.schedule, Lambda::Evidence { .. });
        for (index, term) in self.terms.iter().enumerate().filter(|(_, term)| by_evidence(term)) {
            let scope = Scope::new(graph, &term.names).map_err(|problem| {
                ConfigError::value(format!("penalty.{index}.schedule.kind"), format!("is \"evidence\", but {problem}"))
            })?;
            let widest = scope.widest(graph);
            if matches!(term.schedule, Lambda::Evidence { structure: Structure::Kronecker, .. }) && widest > WIDEST {
                let problem = format!(
                    "is \"kronecker\", for which a layer of {widest} inputs or outputs is too wide; expected at most {WIDEST}; use \"diagonal\""
                );
                return Err(ConfigError::value(format!("penalty.{index}.schedule.structure"), problem));
            }
        }
        let names = self.terms.iter().filter(by_evidence).flat_map(|term| term.names.iter().cloned()).collect();
        Scope::new(graph, &names).map_err(|problem| ConfigError::value("penalty.schedule.kind", format!("is \"evidence\", but {problem}")))
    }

    /// The penalty of weights on the host, in float64, for a step of `batch` samples.
    #[must_use]
    pub fn value(&self, weights: &Weights, batch: usize) -> f64 {
        let value = |term: &Term| {
            let sum = |norm| {
                weights.iter().filter(|(name, _)| term.names.contains(*name)).map(|(_, values)| host_norm(norm, values)).sum::<f64>()
            };
            term.factor(self.train_samples, batch) * term.norms().into_iter().map(|(norm, share)| share * sum(norm)).sum::<f64>()
        };
        // An empty sum is -0.0 in Rust.
        self.terms.iter().map(value).fold(0.0, |sum, value| sum + value)
    }

    /// ‖w‖² over all penalized parameters, or over the kernels if there is no term.
    #[must_use]
    pub fn weight_norm_squared(&self, weights: &Weights) -> f64 {
        let penalized = |(name, _): &(&String, &Values)| match self.terms.as_slice() {
            [] => self.kernels.contains(*name),
            terms => terms.iter().any(|term| term.names.contains(*name)),
        };
        weights.iter().filter(penalized).map(|(_, values)| host_norm(Norm::Squares, values)).sum()
    }
}

/// Collects Σ g² and Σ w² of each parameter.
struct SquaredNorms<'a> {
    names: &'a BTreeSet<String>,
    implementation: Implementation,
    gradients: &'a GradientsParams,
    found: Vec<Tensor<1>>,
}

impl ParamVisitor for SquaredNorms<'_> {
    fn visit<const D: usize>(&mut self, parameter: &Parameter, id: ParamId, tensor: Tensor<D>) {
        if let (true, Some(gradient)) = (self.names.contains(&parameter.name), self.gradients.get::<D>(id)) {
            self.found.push(norm_of(self.implementation, gradient, Norm::Squares, 0));
            self.found.push(norm_of(self.implementation, tensor.inner(), Norm::Squares, 0));
        }
    }
}
