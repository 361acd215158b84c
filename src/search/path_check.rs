//! The losses from initial weights of a path, which decide.

use serde::{Deserialize, Serialize};

use super::study::{by_trial, chosen, losses, relation};
use super::{Choice, FitResult, Plan, choose, settings};
use crate::config::Rule;
use crate::numbers::Losses;

/// A trial of a path with a loss from initial weights: warm starts can lead to other networks (Ash and Adams 2020, arXiv 1910.08475).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathCheck {
    /// The trial.
    pub trial: usize,
    /// Whether it is the first of the path, which starts from initial weights anyway.
    #[serde(default)]
    pub is_first: bool,
    /// Its mean loss on the path.
    pub on_path: f64,
    /// Its mean loss from initial weights, with all epochs.
    pub from_start: f64,
    /// The standard error of their difference over splits or seeds. `None` for one training.
    pub standard_error: Option<f64>,
}

/// The choice among the finalists and the first trial of a path, by the losses from initial weights. `None` without any.
pub(super) fn among_finalists(plan: &Plan, results: &[FitResult]) -> Option<Choice> {
    let compared = plan.with_initial_weights();
    let from_start = by_trial(plan, results, true).into_iter().enumerate();
    let losses: Vec<Option<Vec<f64>>> =
        from_start.map(|(trial, results)| losses(plan, &results).filter(|_| compared.contains(&trial))).collect();
    chosen(plan, results, &losses)
}

/// The losses of the first trial and the finalists of a path, from initial weights and on the path.
pub(super) fn check_of_path(plan: &Plan, results: &[FitResult]) -> Vec<PathCheck> {
    let (on_path, from_start) = (by_trial(plan, results, false), by_trial(plan, results, true));
    let check = |trial: usize| {
        let [path, start] = [&on_path[trial], &from_start[trial]].map(|results| losses(plan, results));
        let choice = choose(&[path, start], relation(plan, results), Rule::Minimum, &[None; 2])?;
        let [path, start] = [choice.comparisons[0]?, choice.comparisons[1]?];
        // That of the lower one to itself is 0.
        let standard_error = [start, path].iter().filter_map(|found| found.standard_error).reduce(f64::max);
        let is_first = plan.first_of_path() == Some(trial);
        Some(PathCheck { trial, is_first, on_path: path.mean, from_start: start.mean, standard_error })
    };
    plan.with_initial_weights().into_iter().filter_map(check).collect()
}

/// Warnings about finalists of a path whose loss from initial weights is another one.
pub(super) fn off_path(plan: &Plan, checks: &[PathCheck]) -> Vec<String> {
    let is_far = |check: &&PathCheck| (check.from_start - check.on_path).abs() > 2.0 * check.standard_error.unwrap_or(f64::INFINITY);
    let warning = |check: &PathCheck| {
        let (settings, start, path) = (settings(&plan.trials[check.trial]), check.from_start, check.on_path);
        let losses = Losses::of([start, path]);
        // Warm starts add up to more epochs than a training from initial weights has.
        let key = if start > path { "train.epochs" } else { "sweep.path_epochs" };
        format!(
            "{settings} has the loss {} from initial weights, but {} on the path; increase `{key}`, or leave out the path",
            losses.shown(start),
            losses.shown(path)
        )
    };
    checks.iter().filter(is_far).map(warning).collect()
}
