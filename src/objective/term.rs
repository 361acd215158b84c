//! One regularization term.

use std::collections::BTreeSet;

use crate::backend::fused::Norm;
use crate::config::number::Samples;
use crate::config::{Lambda, PenaltyKind, Structure};

/// One regularization term, and the parameters it is on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) kind: PenaltyKind,
    /// As it is written in the config.
    pub(super) scope: String,
    /// λ in force.
    pub(super) lambda: f64,
    /// λ before its schedule.
    pub(super) base: f64,
    pub(super) schedule: Lambda,
    pub(super) samples: Samples,
    pub(super) proximal: bool,
    pub(super) names: BTreeSet<String>,
}

impl Term {
    /// λ/m, where the training part has `train` samples and the step's batch `batch`.
    pub(super) fn factor(&self, train: usize, batch: usize) -> f64 {
        let m = match self.samples {
            Samples::Train => train,
            Samples::Batch => batch,
            Samples::Number(count) => count.get(),
        };
        self.lambda / m as f64
    }

    /// Whether each of its parameters has a bound and a multiplier of its own.
    pub(super) fn is_bounded(&self) -> bool {
        matches!(self.schedule, Lambda::Cpr { .. })
    }

    /// The curvature by which its λ is updated after `epoch`, counted from 1; none where it is not.
    pub(super) fn structure_after(&self, epoch: u64) -> Option<Structure> {
        let Lambda::Evidence { structure, burn_in_epochs, every_epochs } = self.schedule else { return None };
        let (first, every) = (burn_in_epochs.get() as u64, every_epochs.get() as u64);
        (epoch >= first && (epoch - first).is_multiple_of(every)).then_some(structure)
    }

    /// The norms it is made of, each with what multiplies it besides λ/m.
    pub(super) fn norms(&self) -> Vec<(Norm, f64)> {
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
