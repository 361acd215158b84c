//! The regularization terms.

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;

use crate::backend::fused;
use crate::config::number::Samples;
use crate::config::{Kernels, Penalty, PenaltyKind, Scope};
use crate::model::{Cnn, Weights};

/// R(w) = λ/(2m)·Σ w² over the parameters in scope; ∂R/∂w = λ/m·w.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct L2 {
    lambda: f64,
    samples: Samples,
    scope: Scope,
}

impl L2 {
    /// λ/(2m), where the training part has `train` samples and the step's batch `batch`.
    fn factor(&self, train: usize, batch: usize) -> f64 {
        let m = match self.samples {
            Samples::Train => train,
            Samples::Batch => batch,
            Samples::Number(count) => count.get(),
        };
        self.lambda / (2.0 * m as f64)
    }
}

/// Every regularization term of an objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Penalties {
    terms: Vec<L2>,
    train_samples: usize,
}

impl Penalties {
    /// The terms `config` lists, for a training part of `train_samples` samples.
    #[must_use]
    pub fn new(config: &[Penalty], train_samples: usize) -> Self {
        let term = |penalty: &Penalty| match penalty.kind {
            PenaltyKind::L2 => L2 { lambda: penalty.lambda.get(), samples: penalty.samples, scope: penalty.scope },
        };
        Self { terms: config.iter().map(term).collect(), train_samples }
    }

    /// The sum of the terms' coefficients; none without terms.
    #[must_use]
    pub fn lambda(&self) -> Option<f64> {
        (!self.terms.is_empty()).then(|| self.terms.iter().map(|term| term.lambda).sum())
    }

    /// The penalty of `network` as a tensor autodiff can follow, for a step of `batch` samples; none where every λ is 0.
    ///
    /// # Shapes
    ///
    /// - output: `[1]`
    #[must_use]
    pub fn on(&self, network: &Cnn, batch: usize) -> Option<Tensor<1>> {
        let mut sum: Option<Tensor<1>> = None;
        for term in self.terms.iter().filter(|term| term.lambda > 0.0) {
            let mut squares = Squares { scope: term.scope, kernels: network.kernels(), sum: None };
            network.visit(&mut squares);
            let Some(squares) = squares.sum else { continue };
            let value = squares.mul_scalar(term.factor(self.train_samples, batch));
            sum = Some(match sum {
                None => value,
                Some(sum) => sum + value,
            });
        }
        sum
    }

    /// The penalty of weights on the host, in float64, for a step of `batch` samples.
    #[must_use]
    pub fn value(&self, weights: &Weights, batch: usize) -> f64 {
        let squares = |term: &L2| weights_squared(weights, |rank| in_scope(term.scope, rank));
        // A sum of nothing is -0.0 in Rust.
        self.terms.iter().map(|term| term.factor(self.train_samples, batch) * squares(term)).fold(0.0, |sum, value| sum + value)
    }

    /// ‖w‖² over every parameter that a term is on; over the kernels where there is no term.
    #[must_use]
    pub fn weight_norm_squared(&self, weights: &Weights) -> f64 {
        let penalized = |rank| match self.terms.as_slice() {
            [] => in_scope(Scope::Kernels, rank),
            terms => terms.iter().any(|term| in_scope(term.scope, rank)),
        };
        weights_squared(weights, penalized)
    }
}

fn in_scope(scope: Scope, rank: usize) -> bool {
    match scope {
        Scope::Kernels => rank >= 2,
        Scope::Biases => rank < 2,
        Scope::All => true,
    }
}

fn weights_squared(weights: &Weights, counts: impl Fn(usize) -> bool) -> f64 {
    let counted = weights.iter().filter(|(_, values)| counts(values.shape.len()));
    counted.flat_map(|(_, values)| &values.numbers).map(|number| f64::from(*number).powi(2)).sum()
}

/// Sums the squares of the parameters in scope.
struct Squares {
    scope: Scope,
    kernels: Kernels,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if in_scope(self.scope, D) {
            let squares = match self.kernels {
                Kernels::Fused => fused::squares(param.val()),
                Kernels::Stock => param.val().square().sum(),
            };
            self.sum = Some(match self.sum.take() {
                None => squares,
                Some(sum) => sum + squares,
            });
        }
    }
}
