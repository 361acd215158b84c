//! A penalty that is not built in.

use std::sync::Arc;

use super::regularizer::Regularizer;
use crate::config::number::Samples;
use crate::config::{Schedule, Scope};

/// A penalty λ/m·R(w) with an R of one's own. [`Penalties::add`](super::Penalties::add) checks it and adds it to those of the config.
#[derive(Clone, Debug)]
pub struct OwnPenalty {
    /// R(w).
    pub regularizer: Arc<dyn Regularizer>,
    /// λ before the schedule, a finite number ≥ 0.
    pub lambda: f64,
    /// The divisor `m`.
    pub samples: Samples,
    /// The penalized parameters.
    pub scope: Scope,
    /// The schedule of λ.
    pub schedule: Schedule,
    /// Whether it is applied as a proximal step after each optimizer step, instead of by its gradient.
    pub proximal: bool,
}

impl OwnPenalty {
    /// A penalty on the kernels, with a constant λ, that acts by its gradient. `m` is the number of training samples.
    #[must_use]
    pub fn new(regularizer: impl Regularizer + 'static, lambda: f64) -> Self {
        let (samples, scope, schedule) = (Samples::Train, Scope::default(), Schedule::default());
        Self { regularizer: Arc::new(regularizer), lambda, samples, scope, schedule, proximal: false }
    }

    /// The penalized parameters: `kernels`, `biases`, `all`, or a name with `*` for any characters.
    #[must_use]
    pub fn scope(self, scope: &str) -> Self {
        Self { scope: Scope::from(scope.to_owned()), ..self }
    }

    /// The divisor `m`.
    #[must_use]
    pub fn samples(self, samples: Samples) -> Self {
        Self { samples, ..self }
    }

    /// The schedule of λ.
    #[must_use]
    pub fn schedule(self, schedule: Schedule) -> Self {
        Self { schedule, ..self }
    }

    /// It acts by [`Regularizer::proximal_step`] after each optimizer step, or by [`Regularizer::scaled_proximal_step`] with Adam. A term that is a
    /// constraint needs λ > 0.
    #[must_use]
    pub fn proximal(self) -> Self {
        Self { proximal: true, ..self }
    }
}
