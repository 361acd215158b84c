//! Words about sweeps for people.

use super::{FitState, Plan, Study, TrialSummary};
use crate::config::{Criterion, Rule};
use crate::numbers::{Losses, setting};

/// The title of what ranks the trials.
#[must_use]
pub fn criterion_title(criterion: Criterion) -> &'static str {
    match criterion {
        Criterion::ValidationLoss => "validation loss",
        Criterion::Loo => "leave-one-out loss",
        Criterion::Evidence => "−log evidence/m",
    }
}

/// How the means of the trials are written, and their differences with the standard errors.
#[must_use]
pub fn digits(study: &Study) -> [Losses; 2] {
    let compared = || study.trials.iter().filter_map(|trial| trial.comparison);
    let differences = compared().flat_map(|found| std::iter::once(found.difference).chain(found.standard_error));
    [Losses::of(compared().map(|found| found.mean)), Losses::of(differences)]
}

/// What is special about a trial.
#[must_use]
pub fn mark(trial: &TrialSummary, study: &Study) -> String {
    let state = match trial.state {
        FitState::Completed if study.is_unreliable(trial) => Some("unreliable"),
        FitState::Completed if trial.comparison.is_none() => Some("not defined"),
        FitState::Completed => None,
        state => Some(state.name()),
    };
    let marks = [state, (study.minimum == Some(trial.trial)).then_some("minimum"), (study.chosen == Some(trial.trial)).then_some("chosen")];
    marks.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The settings of a trial, such as `penalty.0.lambda=0.1`.
#[must_use]
pub fn settings(settings: &[(String, toml::Value)]) -> String {
    settings.iter().map(|(key, value)| format!("{key}={}", setting(value))).collect::<Vec<_>>().join(" ")
}

/// Why a trial was chosen, as the study says. That of an earlier version does not.
#[must_use]
pub fn why(plan: &Plan, study: &Study, chosen: usize) -> String {
    study.reason.clone().unwrap_or_else(|| reason(plan, study, chosen))
}

/// Why a trial was chosen.
pub(crate) fn reason(plan: &Plan, study: &Study, chosen: usize) -> String {
    let lowest = format!("the lowest {}", criterion_title(study.criterion));
    if !study.path.is_empty() {
        let compared = format!("from initial weights among {} trials of the path", study.path.len());
        let mut losses = study.path.iter().map(|check| check.from_start);
        let is_lowest = study.path.iter().any(|check| check.trial == chosen && losses.all(|other| check.from_start <= other));
        return if is_lowest {
            format!("{lowest} {compared}")
        } else {
            format!("the largest λ within one standard error of {lowest} {compared}")
        };
    }
    match (study.rule, study.minimum) {
        (Rule::OneStandardError, Some(minimum)) if minimum == chosen => format!("{lowest}; no larger λ is within one standard error of it"),
        (Rule::OneStandardError, Some(minimum)) => {
            format!("the largest λ within one standard error of {lowest}, that of {}", settings(&plan.trials[minimum]))
        }
        _ => lowest,
    }
}
