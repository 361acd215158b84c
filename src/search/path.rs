//! A path through λ, from small to large, each training starting from the weights of the one before; and its finalists, trained again from initial weights. The first
//! training has initial weights and all epochs, so it counts among them as it is.

use super::{Fit, FitResult, Plan, study};
use crate::config::{CheckpointKind, ConfigError, Experiment};

impl Plan {
    /// The trials from the smallest λ to the largest. `None` without a path. With a large λ all weights go to 0, from where gradients lead no further: the other
    /// way a path would stay there.
    pub(super) fn path(&self) -> Option<Vec<usize>> {
        if !self.sweep.path {
            return None;
        }
        let lambdas = self.lambdas_beside(0);
        let mut trials: Vec<usize> = (0..self.trials.len()).collect();
        trials.sort_by(|one, other| lambdas[*one].unwrap_or(0.0).total_cmp(&lambdas[*other].unwrap_or(0.0)));
        Some(trials)
    }

    /// The first trial of a path, which starts from initial weights. `None` without a path.
    pub(super) fn first_of_path(&self) -> Option<usize> {
        self.path()?.first().copied()
    }

    /// The trials of a path whose losses from initial weights are compared: the first, and the finalists. Empty until the path is done.
    pub(super) fn with_initial_weights(&self) -> Vec<usize> {
        let first = self.first_of_path().filter(|_| !self.finalists.is_empty());
        first.into_iter().chain(self.finalists.iter().copied().filter(|trial| Some(*trial) != first)).collect()
    }

    /// The trials of a path that are trained again.
    pub(super) fn trained_again(&self) -> Vec<usize> {
        self.with_initial_weights().into_iter().skip(1).collect()
    }

    /// The fit before this one on a path.
    pub(super) fn fit_before(&self, fit: &Fit) -> Option<Fit> {
        let path = self.path().filter(|_| !fit.is_finalist)?;
        let position = path.iter().position(|trial| *trial == fit.trial)?;
        Some(Fit { trial: path[position.checked_sub(1)?], ..*fit })
    }

    /// Fits that are trained one after another: those of a path with the same seed and split; else each by itself.
    pub(super) fn chains(&self, fits: &[Fit]) -> Vec<Vec<Fit>> {
        let Some(path) = self.path() else { return fits.iter().map(|fit| vec![*fit]).collect() };
        let mut chains: Vec<Vec<Fit>> = Vec::new();
        let mut ordered = fits.to_vec();
        ordered.sort_by_key(|fit| path.iter().position(|trial| *trial == fit.trial));
        for fit in ordered {
            let is_same = |chain: &&mut Vec<Fit>| chain.first().is_some_and(|first| Fit { trial: fit.trial, ..*first } == fit);
            match chains.iter_mut().find(is_same).filter(|_| !fit.is_finalist) {
                Some(chain) => chain.push(fit),
                None => chains.push(vec![fit]),
            }
        }
        chains
    }

    /// The finalists of a path: the choice of the rule, and the trials with the lowest losses.
    pub(super) fn finalists_of(&self, results: &[FitResult]) -> Vec<usize> {
        let Some(choice) = study::choice(self, results) else { return Vec::new() };
        let mut ranked: Vec<(usize, f64)> =
            choice.comparisons.iter().enumerate().filter_map(|(trial, found)| Some((trial, found.as_ref()?.mean))).collect();
        ranked.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        let others = ranked.into_iter().map(|(trial, _)| trial).filter(|trial| *trial != choice.chosen);
        std::iter::once(choice.chosen).chain(others).take(self.sweep.path_finalists.get()).collect()
    }

    /// Checks that a path can be gone: one λ is searched, and nothing else.
    pub(super) fn check_path(&self) -> Result<(), ConfigError> {
        let is_path = self.space.is_empty() || (self.space.len() == 1 && self.lambdas_beside(0).iter().all(Option::is_some));
        if !self.sweep.path || is_path {
            return Ok(());
        }
        Err(ConfigError::value(
            "sweep.path",
            "needs the values of one λ, such as `--grid penalty.0.lambda=0,log:0.01:100:9`, and no other key",
        ))
    }
}

/// The experiment of a fit that starts from the weights in a file.
pub(super) fn continued(mut experiment: Experiment, plan: &Plan, weights: std::path::PathBuf) -> Experiment {
    experiment.model.init = Some(weights);
    experiment.model.whiten = None;
    experiment.train.epochs = plan.sweep.path_epochs;
    experiment.train.keep = Some(CheckpointKind::Last);
    experiment
}
