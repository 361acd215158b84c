//! Constrained parameter regularization (Franke et al. 2024, arXiv 2311.09058).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The settings of a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct BoundSettings {
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

/// A parameter after an optimizer step.
#[derive(Clone, Copy, Debug)]
pub struct SteppedParameter<'a> {
    /// Its name.
    pub name: &'a str,
    /// The step, from 1.
    pub step: u64,
    /// The number of its weights.
    pub count: usize,
    /// Σ w² before and after the step.
    pub squares: [f64; 2],
}

/// The bounds on the parameters of one term.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bounds {
    settings: BoundSettings,
    by_name: BTreeMap<String, Bound>,
}

impl Bounds {
    pub(super) fn new(settings: BoundSettings) -> Self {
        Self { settings, by_name: BTreeMap::new() }
    }

    /// The bounds that are set, by name of parameter.
    pub(super) fn by_name(&self) -> &BTreeMap<String, Bound> {
        &self.by_name
    }

    /// Restores the bounds of a checkpoint on the parameters for which `is_inside` is true.
    pub(super) fn restore(&mut self, saved: &BTreeMap<String, Bound>, is_inside: impl Fn(&str) -> bool) {
        self.by_name = saved.iter().filter(|(name, _)| is_inside(name)).map(|(name, bound)| (name.clone(), *bound)).collect();
    }

    /// Updates the multiplier of a parameter. Returns the sum of all multipliers.
    pub(super) fn update(&mut self, parameter: SteppedParameter) -> f64 {
        self.by_name.entry(parameter.name.to_owned()).or_default().update(self.settings, parameter);
        self.by_name.values().map(|bound| bound.multiplier).sum()
    }
}

impl Bound {
    /// Updates the multiplier after a step.
    fn update(&mut self, settings: BoundSettings, parameter: SteppedParameter) {
        let SteppedParameter { step, count, squares: [before, after], .. } = parameter;
        if settings.warm_start_steps == 0 && self.bound.is_none() {
            self.bound = Some(settings.bound_factor * before);
        }
        match self.bound {
            None => self.bound = (step >= settings.warm_start_steps).then_some(settings.bound_factor * after),
            Some(bound) => self.multiplier = (self.multiplier + settings.multiplier_rate / count as f64 * (after - bound)).max(0.0),
        }
    }

    /// The fraction of the weights that a step subtracts.
    pub(super) fn fraction(self) -> f64 {
        2.0 * self.multiplier
    }
}
