//! The regularization terms.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::ParamId;
use burn::optim::GradientsParams;
use burn::prelude::*;
use regulus_kernels::proximal::Proximal;
use regulus_model::graph::{Graph, Parameter, Role};
use regulus_model::{Values, Weights};

use super::cpr::{Bound, Rule};
use super::norm::{Norms, norm_of, normed};
use super::term::Term;
use crate::backend::fused::Norm;
use crate::config::{ConfigError, Implementation, Lambda, Penalty, PenaltyKind, Schedule, Structure};
use crate::network::{Network, ParamVisitor, Scope};

/// What the penalties do to a parameter besides their gradient, per unit of the learning rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Around {
    /// Before the optimizer's step, the weights lose this part of themselves.
    pub decay: f64,
    /// The proximal step after it.
    pub proximal: Option<Proximal>,
}

/// The widest layer of which a Kronecker factor is made: 2 GiB of float64.
const WIDEST: usize = 1 << 14;

/// Every regularization term of an objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Penalties {
    pub(super) terms: Vec<Term>,
    bounds: BTreeMap<String, Bound>,
    train_samples: usize,
    /// The names of all kernels.
    kernels: BTreeSet<String>,
}

impl Penalties {
    /// The terms `config` lists on the parameters of `graph`, for a training split of `train_samples` samples.
    ///
    /// # Errors
    ///
    /// When a scope has no parameter, or a parameter has two proximal terms, for whose sum there is no step, or two `evidence` or `cpr` ones.
    pub fn new(config: &[Penalty], graph: &Graph, train_samples: usize) -> Result<Self, ConfigError> {
        let parameters: Vec<&Parameter> = graph.parameters().filter(|parameter| parameter.role.is_trained()).collect();
        let mut terms: Vec<Term> = Vec::new();
        for (place, penalty) in config.iter().enumerate() {
            let inside = parameters.iter().filter(|parameter| penalty.scope.has(parameter));
            let names: BTreeSet<String> = inside.map(|parameter| parameter.name.clone()).collect();
            if names.is_empty() {
                let all: Vec<String> = parameters.iter().map(|parameter| format!("`{}`", parameter.name)).collect();
                let problem = format!(
                    "is {:?}, which matches no parameter; expected `kernels`, `biases`, `all`, or one of {}, with `*` for any characters",
                    String::from(penalty.scope.clone()),
                    all.join(", ")
                );
                return Err(ConfigError::value(format!("penalty.{place}.scope"), problem));
            }
            for (key, what) in [("proximal", "proximal"), ("schedule.kind", "evidence"), ("schedule.kind", "cpr")] {
                let is = |proximal: bool, schedule: &Lambda| if key == "proximal" { proximal } else { schedule.name() == what };
                let others = terms.iter().filter(|term| is(penalty.proximal, &penalty.schedule) && is(term.proximal, &term.schedule));
                if let Some(name) = others.flat_map(|term| term.names.intersection(&names)).next() {
                    let value = if key == "proximal" { "true".to_owned() } else { format!("{what:?}") };
                    let problem = format!("is {value}, but `{name}` has a penalty with `{what}` already; give them different scopes");
                    return Err(ConfigError::value(format!("penalty.{place}.{key}"), problem));
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

    /// λ of each term before its schedule, and the schedule; none where λ depends on more than the step.
    pub fn schedules(&self) -> impl Iterator<Item = Option<(f64, &Schedule)>> {
        self.terms.iter().map(|term| match &term.schedule {
            Lambda::Scheduled(schedule) => Some((term.base, schedule)),
            _ => None,
        })
    }

    /// Sets the λ in force of the terms for which there is one.
    pub fn set(&mut self, lambdas: impl IntoIterator<Item = Option<f64>>) {
        self.terms.iter_mut().zip(lambdas).for_each(|(term, lambda)| term.lambda = lambda.unwrap_or(term.lambda));
    }

    /// Goes on from the λ in force and the bounds of a checkpoint.
    pub fn resume(&mut self, lambdas: &[f64], bounds: &BTreeMap<String, Bound>) {
        self.set(lambdas.iter().copied().map(Some));
        self.bounds.clone_from(bounds);
    }

    /// The λ in force of each term.
    #[must_use]
    pub fn lambdas(&self) -> Vec<f64> {
        self.terms.iter().map(|term| term.lambda).collect()
    }

    /// The constraint on each parameter that has one.
    #[must_use]
    pub fn bounds(&self) -> &BTreeMap<String, Bound> {
        &self.bounds
    }

    /// The λ in force of the only term; none where there are several, whose λ do not compare, or none.
    #[must_use]
    pub fn lambda(&self) -> Option<f64> {
        if let [term] = self.terms.as_slice() { Some(term.lambda) } else { None }
    }

    /// What each term is called: `l2 on kernels`.
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        self.terms.iter().map(|term| format!("{} on {}", term.kind.name(), term.scope)).collect()
    }

    /// Such λ of the terms for a message: `0.5`, or `0.5 (l2 on kernels), 2 (l1 on conv*.weight)`.
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

    /// What is on a parameter, in words: `l1 with λ = 2, proximal`.
    #[must_use]
    pub fn described(&self, name: &str) -> Vec<String> {
        let on = self.terms.iter().filter(|term| term.names.contains(name));
        on.map(|term| {
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

    /// The penalty of `network` as a tensor autodiff can follow, for a step of `batch` samples; none where every λ is 0. Proximal terms are in
    /// its value, and have no gradient.
    ///
    /// # Shapes
    ///
    /// - output: `[1]`
    #[must_use]
    pub fn on(&self, network: &Network, batch: usize) -> Option<Tensor<1>> {
        let mut sum: Option<Tensor<1>> = None;
        for term in self.terms.iter().filter(|term| term.lambda > 0.0) {
            for (norm, share) in term.norms() {
                let (implementation, followed) = (network.implementation(), !term.proximal);
                let mut norms = Norms { names: &term.names, norm, implementation, followed, sum: None };
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

    /// Whether [`Penalties::on`] gives something that has a gradient.
    #[must_use]
    pub fn have_gradient(&self) -> bool {
        self.terms.iter().any(|term| term.lambda > 0.0 && !term.proximal && !term.norms().is_empty())
    }

    /// What is done to a parameter around a step of `batch` samples.
    #[must_use]
    pub fn around(&self, name: &str, batch: usize) -> Around {
        let mut around = Around::default();
        let here = |term: &&Term| term.lambda > 0.0 && !term.is_bounded() && term.names.contains(name);
        for term in self.terms.iter().filter(here) {
            let factor = term.factor(self.train_samples, batch);
            if term.kind == PenaltyKind::Decoupled {
                around.decay += factor;
            }
            if term.proximal {
                let share = |norm| term.norms().iter().filter(|(other, _)| *other == norm).map(|(_, share)| share * factor).sum::<f64>();
                around.proximal =
                    Some(Proximal { absolutes: share(Norm::Absolutes), squares: 2.0 * share(Norm::Squares), norms: share(Norm::Groups) });
            }
        }
        around
    }

    /// Whether a λ depends on the gradient of the data loss.
    #[must_use]
    pub fn follow_gradient(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.schedule, Lambda::Adaptive { .. }))
    }

    /// Sets every adaptive λ by the gradient of the data loss: λ ← 0.1·λ + 0.9·m·r·‖g‖/‖w‖, over the parameters in scope
    /// (arXiv 2210.00094, algorithm 1).
    pub fn adapt(&mut self, network: &Network, gradients: &GradientsParams) {
        for term in &mut self.terms {
            let Lambda::Adaptive { ratio } = term.schedule else { continue };
            let mut lengths = Lengths { names: &term.names, implementation: network.implementation(), gradients, found: Vec::new() };
            network.visit_parameters(&mut lengths);
            let numbers: Vec<f64> = Tensor::cat(lengths.found, 0).into_data().iter::<f64>().collect();
            let sum = |first| numbers.iter().skip(first).step_by(2).sum::<f64>();
            let (gradient, weights) = (sum(0), sum(1));
            let now = if weights > 0.0 { ratio.get() * (gradient / weights).sqrt() } else { 0.0 };
            term.lambda = 0.1 * term.lambda + 0.9 * self.train_samples as f64 * now;
        }
    }

    /// How a parameter is bounded; none where it is not.
    #[must_use]
    pub fn rule(&self, name: &str) -> Option<Rule> {
        self.terms.iter().filter(|term| term.names.contains(name)).find_map(|term| match term.schedule {
            Lambda::Cpr { warm_start_steps, bound_factor, multiplier_rate } => {
                Some(Rule { warm_start_steps, bound_factor: bound_factor.get(), multiplier_rate: multiplier_rate.get() })
            }
            _ => None,
        })
    }

    /// Updates the multiplier of a bounded parameter of `count` numbers after step `step`, counted from 1, by Σ w² before and after it; returns the fraction
    /// of the weights to subtract. Its term's λ becomes the mean over its parameters, in the scale in which a step subtracts λ/m.
    #[must_use]
    pub fn update_multiplier(&mut self, name: &str, rule: Rule, step: u64, count: usize, [before, after]: [f64; 2]) -> f64 {
        let part = self.bounds.entry(name.to_owned()).or_default().part(rule, step, count, before, after);
        for term in self.terms.iter_mut().filter(|term| term.is_bounded() && term.names.contains(name)) {
            let multipliers = term.names.iter().filter_map(|name| self.bounds.get(name)).map(|bound| bound.multiplier);
            term.lambda = 2.0 * self.train_samples as f64 * multipliers.sum::<f64>() / term.names.len() as f64;
        }
        part
    }

    /// The layers whose curvature `evidence` needs.
    ///
    /// # Errors
    ///
    /// When there is no curvature of one, or its Kronecker factors, squares of its width, fill the memory: it has more than 2¹⁴ inputs or outputs.
    pub fn curvature_scope(&self, graph: &Graph) -> Result<Scope, ConfigError> {
        let learned = |term: &&Term| matches!(term.schedule, Lambda::Evidence { .. });
        for (place, term) in self.terms.iter().enumerate().filter(|(_, term)| learned(term)) {
            let scope = Scope::new(graph, &term.names).map_err(|problem| {
                ConfigError::value(format!("penalty.{place}.schedule.kind"), format!("is \"evidence\", but {problem}"))
            })?;
            let widest = scope.widest(graph);
            if matches!(term.schedule, Lambda::Evidence { structure: Structure::Kronecker, .. }) && widest > WIDEST {
                let problem = format!(
                    "is \"kronecker\", for which a layer of {widest} inputs or outputs is too wide; expected at most {WIDEST}; use \"diagonal\""
                );
                return Err(ConfigError::value(format!("penalty.{place}.schedule.structure"), problem));
            }
        }
        let names = self.terms.iter().filter(learned).flat_map(|term| term.names.iter().cloned()).collect();
        Scope::new(graph, &names).map_err(|problem| ConfigError::value("penalty.schedule.kind", format!("is \"evidence\", but {problem}")))
    }

    /// The penalty of weights on the host, in float64, for a step of `batch` samples.
    #[must_use]
    pub fn value(&self, weights: &Weights, batch: usize) -> f64 {
        let value = |term: &Term| {
            let on =
                |norm| weights.iter().filter(|(name, _)| term.names.contains(*name)).map(|(_, values)| normed(norm, values)).sum::<f64>();
            term.factor(self.train_samples, batch) * term.norms().into_iter().map(|(norm, share)| share * on(norm)).sum::<f64>()
        };
        // A sum of nothing is -0.0 in Rust.
        self.terms.iter().map(value).fold(0.0, |sum, value| sum + value)
    }

    /// ‖w‖² over every parameter that a term is on; over the kernels where there is no term.
    #[must_use]
    pub fn weight_norm_squared(&self, weights: &Weights) -> f64 {
        let penalized = |(name, _): &(&String, &Values)| match self.terms.as_slice() {
            [] => self.kernels.contains(*name),
            terms => terms.iter().any(|term| term.names.contains(*name)),
        };
        weights.iter().filter(penalized).map(|(_, values)| normed(Norm::Squares, values)).sum()
    }
}

/// Σ g² and Σ w² of each parameter.
struct Lengths<'a> {
    names: &'a BTreeSet<String>,
    implementation: Implementation,
    gradients: &'a GradientsParams,
    found: Vec<Tensor<1>>,
}

impl ParamVisitor for Lengths<'_> {
    fn visit<const D: usize>(&mut self, parameter: &Parameter, id: ParamId, tensor: Tensor<D>) {
        if let (true, Some(gradient)) = (self.names.contains(&parameter.name), self.gradients.get::<D>(id)) {
            self.found.push(norm_of(self.implementation, gradient, Norm::Squares, 0));
            self.found.push(norm_of(self.implementation, tensor.inner(), Norm::Squares, 0));
        }
    }
}
