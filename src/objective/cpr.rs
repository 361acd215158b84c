//! Constrained parameter regularization (Franke et al. 2024, arXiv 2311.09058).

use serde::{Deserialize, Serialize};

/// The settings of a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rule {
    /// Steps after which the bound is set.
    pub(super) warm_start_steps: u64,
    /// The bound κ as a fraction of Σ w² at that step.
    pub(super) bound_factor: f64,
    /// μ, the learning rate of the multiplier.
    pub(super) multiplier_rate: f64,
}

/// The constraint Σ w² ≤ κ on one parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// The Lagrange multiplier. Each step subtracts twice this fraction of the weights.
    pub multiplier: f64,
    /// κ, once it is set.
    pub bound: Option<f64>,
}

impl Bound {
    /// Updates the multiplier after step `step` (from 1) of a parameter of `count` weights. `before` and `after` are Σ w² before and after the optimizer
    /// step. Returns the fraction of the weights to subtract.
    pub(super) fn update(&mut self, rule: Rule, step: u64, count: usize, [before, after]: [f64; 2]) -> f64 {
        if rule.warm_start_steps == 0 && self.bound.is_none() {
            self.bound = Some(rule.bound_factor * before);
        }
        let Some(bound) = self.bound else {
            self.bound = (step >= rule.warm_start_steps).then_some(rule.bound_factor * after);
            return 0.0;
        };
        self.multiplier = (self.multiplier + rule.multiplier_rate / count as f64 * (after - bound)).max(0.0);
        2.0 * self.multiplier
    }
}
