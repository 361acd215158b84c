//! Which trials go on: successive halving, and the best after a few epochs.
//!
//! Trials are compared at fixed numbers of epochs, when all that are left have reached them. So the result does not depend on the number of trainings at once, as it
//! does in asynchronous halving (ASHA, Li et al. 2020, arXiv 1810.05934).

use std::collections::BTreeMap;

use super::{Fit, FitResult, FitState, Plan};
use crate::config::{Pruner, Sweep};

/// The work that is left: which trainings go on, to which epoch, and which have ended early.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Work {
    /// The trainings that go on.
    pub(super) fits: Vec<Fit>,
    /// The epoch until which they are trained. `None`: the last.
    pub(super) until: Option<u64>,
    /// The paused trainings of trials that do not go on.
    pub(super) pruned: Vec<Fit>,
}

/// The epochs after which trials are compared, and how many of `trials` go on: fewer than before.
fn decisions(sweep: &Sweep, trials: usize, epochs: u64) -> Vec<(u64, usize)> {
    let (first, factor) = (sweep.first_decision(epochs), sweep.pruner_factor.get());
    let mut decisions = match sweep.pruner {
        Pruner::None => Vec::new(),
        Pruner::TopK => vec![(first, sweep.pruner_keep.get().min(trials))],
        Pruner::Halving => {
            let next = |(epoch, left): &(u64, usize)| (*left > 1).then(|| (epoch.saturating_mul(factor as u64), left.div_ceil(factor)));
            std::iter::successors(Some((first, trials.div_ceil(factor))), next).collect()
        }
    };
    decisions.retain(|(epoch, _)| *epoch < epochs);
    decisions
}

/// Whether any of `trials` trials ends early.
pub(super) fn ends_any(sweep: &Sweep, trials: usize, epochs: u64) -> bool {
    decisions(sweep, trials, epochs).iter().any(|(_, left)| *left < trials)
}

/// The next work of a sweep whose trainings have these results. `epochs`: those of a whole training. Nothing is left if it has no trainings.
pub(super) fn next_work(plan: &Plan, results: &BTreeMap<Fit, FitResult>, epochs: u64) -> Work {
    let fits = plan.fits();
    let mut left: Vec<usize> = (0..plan.trials.len()).collect();
    for (epoch, count) in decisions(&plan.sweep, plan.trials.len(), epochs) {
        let is_short = |fit: &Fit| match results.get(fit) {
            None => true,
            Some(result) => result.state == FitState::Paused && result.epochs < epoch,
        };
        let short: Vec<Fit> = fits.iter().filter(|fit| left.contains(&fit.trial) && is_short(fit)).copied().collect();
        if !short.is_empty() {
            return Work { fits: short, until: Some(epoch), ..Work::default() };
        }
        let loss = |trial: usize| {
            let results = fits.iter().filter(|fit| fit.trial == trial).filter_map(|fit| results.get(fit));
            results.map(|result| result.loss_at(epoch).unwrap_or(f64::INFINITY)).sum::<f64>()
        };
        // Of equal losses the first trial goes on.
        let mut ranked: Vec<(usize, f64)> = left.iter().map(|trial| (*trial, loss(*trial))).collect();
        ranked.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        let going_on: Vec<usize> = ranked.iter().take(count).map(|(trial, _)| *trial).collect();
        let is_pruned = |fit: &&Fit| {
            left.contains(&fit.trial)
                && !going_on.contains(&fit.trial)
                && results.get(fit).is_some_and(|result| result.state == FitState::Paused)
        };
        let pruned: Vec<Fit> = fits.iter().filter(is_pruned).copied().collect();
        left.retain(|trial| going_on.contains(trial));
        if !pruned.is_empty() {
            return Work { pruned, ..Work::default() };
        }
    }
    let has_not_ended = |fit: &&Fit| left.contains(&fit.trial) && results.get(fit).is_none_or(|result| result.state == FitState::Paused);
    Work { fits: fits.iter().filter(has_not_ended).copied().collect(), ..Work::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_by_hand() {
        let sweep = |text: &str| toml::from_str::<Sweep>(text).unwrap();
        // 13, 5, 2 and 1 trials, after 1, 3 and 9 epochs.
        let halving = sweep("pruner = \"halving\"\npruner_epochs = 1");
        assert_eq!(decisions(&halving, 13, 50), [(1, 5), (3, 2), (9, 1)]);
        assert_eq!(decisions(&halving, 13, 9), [(1, 5), (3, 2)], "all are trained to the last epoch");
        assert_eq!(decisions(&sweep("pruner = \"halving\""), 13, 31), [(16, 5)], "half of the epochs");
        assert_eq!(decisions(&sweep("pruner = \"halving\"\npruner_epochs = 2\npruner_factor = 2"), 5, 10), [(2, 3), (4, 2), (8, 1)]);
        assert_eq!(decisions(&sweep("pruner = \"top_k\"\npruner_keep = 4"), 13, 50), [(25, 4)]);
        assert_eq!(decisions(&sweep("pruner = \"top_k\""), 2, 50), [(25, 2)]);
        assert!(decisions(&sweep(""), 13, 50).is_empty());
        assert!(ends_any(&sweep("pruner = \"top_k\""), 4, 50) && !ends_any(&sweep("pruner = \"top_k\""), 3, 50));
        assert!(ends_any(&halving, 2, 50) && !ends_any(&halving, 1, 50));
    }
}
