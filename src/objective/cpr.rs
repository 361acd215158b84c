//! Constrained parameter regularization (Franke et al. 2024, arXiv 2311.09058).

use serde::{Deserialize, Serialize};

/// How bounds come about and multipliers learn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Steps after which the bound is taken.
    pub warm_start_steps: u64,
    /// The bound κ as a fraction of Σ w² then.
    pub bound_factor: f64,
    /// μ.
    pub multiplier_rate: f64,
}

/// The constraint Σ w² ≤ κ on one parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// The Lagrange multiplier: each step takes twice this part off the weights.
    pub multiplier: f64,
    /// κ, once it is known.
    pub bound: Option<f64>,
}

impl Bound {
    /// Takes note of step `step`, counted from 1, of a parameter of `count` numbers, by Σ w² before and after the optimizer's step. What
    /// part of the weights is to be taken off now.
    pub(super) fn part(&mut self, rule: Rule, step: u64, count: usize, before: f64, after: f64) -> f64 {
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
