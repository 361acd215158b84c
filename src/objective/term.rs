//! One regularization term.

use std::collections::BTreeSet;

use crate::backend::fused::Norm;
use crate::config::number::Samples;
use crate::config::{Lambda, PenaltyKind, Structure};

/// A regularization term with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) kind: PenaltyKind,
    /// The scope as in the config.
    pub(super) scope: String,
    /// The current λ.
    pub(super) lambda: f64,
    /// λ before the schedule.
    pub(super) base: f64,
    pub(super) schedule: Lambda,
    pub(super) samples: Samples,
    pub(super) proximal: bool,
    /// The names of the penalized parameters.
    pub(super) names: BTreeSet<String>,
}

impl Term {
    /// λ/m, for `train` training samples and a batch of `batch` samples.
    pub(super) fn factor(&self, train: usize, batch: usize) -> f64 {
        let m = match self.samples {
            Samples::Train => train,
            Samples::Batch => batch,
            Samples::Number(count) => count.get(),
        };
        self.lambda / m as f64
    }

    /// Whether each parameter has a bound and a multiplier.
    pub(super) fn is_bounded(&self) -> bool {
        matches!(self.schedule, Lambda::Cpr { .. })
    }

    /// The curvature for an update of λ after `epoch` (from 1). Returns `None` if λ is not updated then.
    pub(super) fn structure_after(&self, epoch: u64) -> Option<Structure> {
        let Lambda::Evidence { structure, burn_in_epochs, every_epochs } = self.schedule else { return None };
        let (first, every) = (burn_in_epochs.get() as u64, every_epochs.get() as u64);
        (epoch >= first && (epoch - first).is_multiple_of(every)).then_some(structure)
    }

    /// The norms of the term, each with its factor besides λ/m.
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
