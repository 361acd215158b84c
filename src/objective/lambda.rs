//! How the λ of a term changes.

use std::collections::BTreeMap;

use burn::optim::GradientsParams;

use super::cpr::{Bound, BoundSettings, Bounds, SteppedParameter};
use super::evidence_update::LambdaUpdate;
use crate::config::notation::exact;
use crate::config::{Lambda, Schedule, Structure};
use crate::network::Network;
use crate::schedule::{RunLength, ScheduledValue};

/// The rule by which the λ of a term changes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rule {
    /// By the step alone.
    Scheduled(ScheduledValue),
    /// By evidence, after some epochs.
    Evidence { structure: Structure, burn_in_epochs: u64, every_epochs: u64 },
    /// By the gradient of the data loss: λ ← 0.1·λ + 0.9·m·r·‖g‖/‖w‖ (arXiv 2210.00094, algorithm 1).
    Adaptive { ratio: f64 },
    /// By bounds on the parameters: λ is 2·m times the mean multiplier, so that a step subtracts λ/m of the weights.
    Bounded(Bounds),
}

/// What a λ changes by.
#[derive(Clone, Copy)]
pub enum Observed<'a> {
    /// A step begins; its index, from 0.
    Step(u64),
    /// The gradient g of the data loss in the current step.
    DataGradient {
        /// The network with the weights w of the step.
        network: &'a Network,
        /// The gradient of every parameter.
        gradients: &'a GradientsParams,
    },
    /// The optimizer step of one parameter.
    OptimizerStep(SteppedParameter<'a>),
    /// The evidence after an epoch, with an update for each term that is due.
    Evidence(&'a [Option<LambdaUpdate>]),
    /// A checkpoint that training goes on from.
    Checkpoint {
        /// The λ of each term.
        lambdas: &'a [f64],
        /// The bounds by name of parameter.
        bounds: &'a BTreeMap<String, Bound>,
    },
}

impl Rule {
    /// The rule of a config, for an initial λ and a run of this length.
    pub(super) fn new(base: f64, lambda: &Lambda, length: RunLength) -> Self {
        match lambda {
            Lambda::Scheduled(schedule) => Self::Scheduled(ScheduledValue::new(base, schedule, length)),
            Lambda::Evidence { structure, burn_in_epochs, every_epochs } => Self::Evidence {
                structure: *structure,
                burn_in_epochs: burn_in_epochs.get() as u64,
                every_epochs: every_epochs.get() as u64,
            },
            Lambda::Adaptive { ratio } => Self::Adaptive { ratio: ratio.get() },
            Lambda::Cpr { warm_start_steps, bound_factor, multiplier_rate } => Self::Bounded(Bounds::new(BoundSettings {
                warm_start_steps: *warm_start_steps,
                bound_factor: bound_factor.get(),
                multiplier_rate: multiplier_rate.get(),
            })),
        }
    }

    /// The rule in words, for a λ that is or begins with `base`.
    pub(super) fn described(&self, base: f64) -> String {
        let base = exact(base);
        match self {
            Self::Scheduled(value) if *value.schedule() == Schedule::default() => format!("λ = {base}"),
            Self::Scheduled(_) => format!("λ = {base} before its schedule"),
            Self::Evidence { .. } => format!("λ by evidence, from {base}"),
            Self::Adaptive { .. } => "λ by adaptive".to_owned(),
            Self::Bounded(_) => "λ by cpr".to_owned(),
        }
    }

    /// The curvature for an update of λ after `epoch` (from 1). Returns `None` if λ is not updated then.
    pub(super) fn structure_after(&self, epoch: u64) -> Option<Structure> {
        let Self::Evidence { structure, burn_in_epochs, every_epochs } = *self else { return None };
        (epoch >= burn_in_epochs && (epoch - burn_in_epochs).is_multiple_of(every_epochs)).then_some(structure)
    }
}
