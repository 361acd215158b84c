//! The regularization terms.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;

use crate::backend::fused::{self, Norm};
use crate::config::number::Samples;
use crate::config::{ConfigError, Kernels, Penalty, PenaltyKind, Schedule};
use crate::kernels::groups::Proximal;
use crate::model::{Network, Parameter, Values, Weights, parameter_name};

/// One regularization term, and the parameters it is on.
#[derive(Clone, Debug, PartialEq)]
struct Term {
    kind: PenaltyKind,
    /// λ in force.
    lambda: f64,
    /// λ before its schedule.
    base: f64,
    schedule: Schedule,
    samples: Samples,
    proximal: bool,
    names: BTreeSet<String>,
}

impl Term {
    /// λ/m, where the training part has `train` samples and the step's batch `batch`.
    fn factor(&self, train: usize, batch: usize) -> f64 {
        let m = match self.samples {
            Samples::Train => train,
            Samples::Batch => batch,
            Samples::Number(count) => count.get(),
        };
        self.lambda / m as f64
    }

    /// The norms it is made of, each with what multiplies it besides λ/m.
    fn norms(&self) -> Vec<(Norm, f64)> {
        match self.kind {
            PenaltyKind::L2 => vec![(Norm::Squares, 0.5)],
            PenaltyKind::L1 => vec![(Norm::Absolutes, 1.0)],
            PenaltyKind::ElasticNet { l1_ratio } => {
                vec![(Norm::Absolutes, l1_ratio.get()), (Norm::Squares, 0.5 * (1.0 - l1_ratio.get()))]
            }
            PenaltyKind::GroupLasso => vec![(Norm::Groups, 1.0)],
            PenaltyKind::Decoupled => Vec::new(),
        }
    }
}

/// What the penalties do to a parameter besides their gradient, per unit of the learning rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Around {
    /// Before the optimizer's step, the weights lose this part of themselves.
    pub decay: f64,
    /// The proximal step after it.
    pub proximal: Option<Proximal>,
}

/// Every regularization term of an objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Penalties {
    terms: Vec<Term>,
    train_samples: usize,
}

impl Penalties {
    /// The terms `config` lists on these parameters, for a training part of `train_samples` samples.
    ///
    /// # Errors
    ///
    /// When a scope has no parameter, or a parameter has two proximal terms, for whose sum there is no step.
    pub fn new(config: &[Penalty], parameters: &[Parameter], train_samples: usize) -> Result<Self, ConfigError> {
        let mut terms: Vec<Term> = Vec::new();
        for (place, penalty) in config.iter().enumerate() {
            let inside = parameters.iter().filter(|parameter| penalty.scope.has(&parameter.name, parameter.rank));
            let names: BTreeSet<String> = inside.map(|parameter| parameter.name.clone()).collect();
            if names.is_empty() {
                let all: Vec<String> = parameters.iter().map(|parameter| format!("`{}`", parameter.name)).collect();
                let problem = format!(
                    "is {:?}, which no parameter fits; expected `kernels`, `biases`, `all`, or one of {}, with `*` for any characters",
                    String::from(penalty.scope.clone()),
                    all.join(", ")
                );
                return Err(ConfigError::value(format!("penalty.{place}.scope"), problem));
            }
            let taken =
                terms.iter().filter(|term| term.proximal && penalty.proximal).find_map(|term| term.names.intersection(&names).next());
            if let Some(name) = taken {
                let problem =
                    format!("is true, but `{name}` has a proximal penalty already; give them different scopes, or one a gradient");
                return Err(ConfigError::value(format!("penalty.{place}.proximal"), problem));
            }
            let Penalty { kind, samples, proximal, .. } = *penalty;
            let (base, schedule) = (penalty.lambda.get(), penalty.schedule.clone());
            terms.push(Term { kind, lambda: base, base, schedule, samples, proximal, names });
        }
        Ok(Self { terms, train_samples })
    }

    /// λ of each term before its schedule, and the schedule.
    pub fn schedules(&self) -> impl Iterator<Item = (f64, &Schedule)> {
        self.terms.iter().map(|term| (term.base, &term.schedule))
    }

    /// Sets the λ in force of each term.
    pub fn set(&mut self, lambdas: &[f64]) {
        self.terms.iter_mut().zip(lambdas).for_each(|(term, lambda)| term.lambda = *lambda);
    }

    /// The sum of the terms' coefficients in force; none without terms.
    #[must_use]
    pub fn lambda(&self) -> Option<f64> {
        (!self.terms.is_empty()).then(|| self.terms.iter().map(|term| term.lambda).sum())
    }

    /// What is on a parameter, in words: `l1 with λ = 2, proximal`.
    #[must_use]
    pub fn told(&self, name: &str) -> Vec<String> {
        let on = self.terms.iter().filter(|term| term.names.contains(name));
        on.map(|term| {
            let changing = if term.schedule == Schedule::default() { "" } else { " before its schedule" };
            format!("{} with λ = {}{changing}{}", term.kind.name(), term.base, if term.proximal { ", proximal" } else { "" })
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
                let (kernels, followed) = (network.kernels(), !term.proximal);
                let mut norms = Norms { names: &term.names, norm, kernels, followed, path: Vec::new(), sum: None };
                network.visit(&mut norms);
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

    /// What is done to a parameter around a step of `batch` samples.
    #[must_use]
    pub fn around(&self, name: &str, batch: usize) -> Around {
        let mut around = Around::default();
        for term in self.terms.iter().filter(|term| term.lambda > 0.0 && term.names.contains(name)) {
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
        let penalized = |(name, values): &(&String, &Values)| match self.terms.as_slice() {
            [] => values.shape.len() >= 2,
            terms => terms.iter().any(|term| term.names.contains(*name)),
        };
        weights.iter().filter(penalized).map(|(_, values)| normed(Norm::Squares, values)).sum()
    }
}

/// A norm of a parameter in PyTorch's layout, whose outputs come first.
fn normed(norm: Norm, values: &Values) -> f64 {
    let numbers = &values.numbers;
    let squares = |numbers: &[f32]| numbers.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>();
    match norm {
        Norm::Squares => squares(numbers),
        Norm::Absolutes => numbers.iter().map(|number| f64::from(number.abs())).sum(),
        Norm::Groups => {
            let size = numbers.len() / values.shape[0];
            (size as f64).sqrt() * numbers.chunks(size).map(|group| squares(group).sqrt()).sum::<f64>()
        }
    }
}

/// Adds up a norm of some parameters.
struct Norms<'a> {
    names: &'a BTreeSet<String>,
    norm: Norm,
    kernels: Kernels,
    /// Whether autodiff follows it; a proximal term is only told.
    followed: bool,
    path: Vec<String>,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Norms<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.names.contains(&parameter_name(&self.path)) {
            return;
        }
        let weights = if self.followed { param.val() } else { param.val().inner() };
        let norm = match (self.kernels, self.norm) {
            (Kernels::Fused, norm) => fused::norm(weights, norm),
            (Kernels::Stock, Norm::Squares) => weights.square().sum(),
            (Kernels::Stock, Norm::Absolutes) => weights.abs().sum(),
            (Kernels::Stock, Norm::Groups) => stock_group_norms(weights),
        };
        self.sum = Some(match self.sum.take() {
            None => norm,
            Some(sum) => sum + norm,
        });
    }
}

/// Σ √|g|·‖w(g)‖ of stock operations.
fn stock_group_norms<const D: usize>(weights: Tensor<D>) -> Tensor<1> {
    let count = weights.dims().iter().product::<usize>();
    let groups = weights.dims()[usize::from(D == 2)];
    let weights = if D == 2 { weights.swap_dims(0, 1) } else { weights };
    let squares = weights.reshape([groups, count / groups]).square().sum_dim(1);
    // The root has no gradient at 0.
    let zero = squares.clone().equal_elem(0.0);
    let norms = squares.mask_fill(zero.clone(), 1.0).sqrt().mask_fill(zero, 0.0);
    norms.sum().mul_scalar((count as f64 / groups as f64).sqrt())
}
