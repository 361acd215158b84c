//! The result of a sweep.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Comparison, Plan, Rule, UnitResult, UnitState, choose};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::session::Summary;

/// The comparison of all trials.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Study {
    /// The rule of the choice.
    pub rule: Rule,
    /// The number of seeds of each trial.
    pub seeds: usize,
    /// The number of folds of each trial. `None`: the validation split of the config.
    pub folds: Option<usize>,
    /// The trials, in the order of the plan.
    pub trials: Vec<TrialSummary>,
    /// The trial with the lowest mean validation loss. `None` if none was completed.
    pub minimum: Option<usize>,
    /// The chosen trial.
    pub chosen: Option<usize>,
    /// Seconds of training of all units.
    pub seconds: f64,
    /// The summary of the chosen trial's run on all images but the test split.
    pub refit: Option<Summary>,
}

/// The results of one trial over its seeds and folds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialSummary {
    /// The trial, from 0.
    pub trial: usize,
    /// Its settings.
    pub settings: BTreeMap<String, toml::Value>,
    /// How it ended: completed if all its units were.
    pub state: UnitState,
    /// Why it was not completed.
    pub message: Option<String>,
    /// Validation loss, and its difference to the lowest one.
    #[serde(flatten)]
    pub comparison: Option<Comparison>,
    /// The mean of each metric on the validation split.
    pub validation: Metrics,
    /// The mean of ‖w‖².
    pub weight_norm_squared: Option<f64>,
    /// The mean fraction of kernel weights that are 0.
    pub zero_weights: Option<f64>,
}

impl Study {
    /// Compares the trials of `plan` by the results of all its units.
    #[must_use]
    pub fn new(plan: &Plan, results: &[UnitResult]) -> Self {
        let by_trial: Vec<Vec<&UnitResult>> =
            (0..plan.trials.len()).map(|trial| results.iter().filter(|result| result.unit.trial == trial).collect()).collect();
        let losses: Vec<Option<Vec<f64>>> = by_trial.iter().map(|results| losses(plan, results)).collect();
        let correction = plan.folds.map_or(0.0, |folds| 1.0 / (folds as f64 - 1.0));
        let minimum = choose(&losses, correction, Rule::Minimum, &vec![None; plan.trials.len()]).map(|choice| choice.minimum);
        let choice = minimum.and_then(|minimum| choose(&losses, correction, plan.rule, &plan.lambdas_beside(minimum)));
        let comparisons = choice.as_ref().map_or_else(|| vec![None; plan.trials.len()], |choice| choice.comparisons.clone());
        let trials = by_trial.iter().zip(comparisons).enumerate();
        Self {
            rule: plan.rule,
            seeds: plan.seeds.len(),
            folds: plan.folds,
            trials: trials.map(|(trial, (results, comparison))| TrialSummary::new(plan, trial, results, comparison)).collect(),
            minimum,
            chosen: choice.map(|choice| choice.chosen),
            seconds: results.iter().map(|result| result.seconds).sum(),
            refit: None,
        }
    }
}

/// The losses of a trial: for each fold the mean over the seeds, or without folds those of all seeds. Returns `None` if a training was not completed.
fn losses(plan: &Plan, results: &[&UnitResult]) -> Option<Vec<f64>> {
    let loss = |result: &&&UnitResult| result.validation_loss.filter(|_| result.state == UnitState::Completed);
    let Some(folds) = plan.folds else {
        return results.iter().map(|result| loss(&result)).collect::<Option<Vec<f64>>>().filter(|losses| !losses.is_empty());
    };
    let of_fold = |fold: usize| {
        let losses: Vec<f64> =
            results.iter().filter(|result| result.unit.fold == Some(fold)).map(|result| loss(&result)).collect::<Option<_>>()?;
        (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64)
    };
    (1..=folds).map(of_fold).collect()
}

impl TrialSummary {
    fn new(plan: &Plan, trial: usize, results: &[&UnitResult], comparison: Option<Comparison>) -> Self {
        let ended_badly = results.iter().find(|result| result.state != UnitState::Completed);
        let mean = |value: &dyn Fn(&UnitResult) -> Option<f64>| {
            let values: Option<Vec<f64>> = results.iter().map(|result| value(result)).collect();
            values.filter(|values| !values.is_empty()).map(|values| values.iter().sum::<f64>() / values.len() as f64)
        };
        let names = results.first().map(|result| result.validation.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let metric = |name: String| Some((name.clone(), mean(&|result| result.validation.get(&name).copied())?));
        Self {
            trial,
            settings: plan.trials[trial].iter().cloned().collect(),
            state: ended_badly.map_or(UnitState::Completed, |result| result.state),
            message: ended_badly.and_then(|result| result.message.clone()),
            comparison,
            validation: names.into_iter().filter_map(metric).collect(),
            weight_norm_squared: mean(&|result| result.weight_norm_squared),
            zero_weights: mean(&|result| result.zero_weights),
        }
    }
}

/// One line of CSV for each unit.
///
/// # Errors
///
/// When a setting can't be written.
pub fn trials_csv(plan: &Plan, results: &[UnitResult]) -> Result<String, Error> {
    let keys: Vec<&str> = plan.space.iter().map(|dimension| dimension.key.as_str()).collect();
    let metrics: Vec<&String> =
        results.iter().find(|result| !result.validation.is_empty()).map(|result| result.validation.keys().collect()).unwrap_or_default();
    let failed = |error: csv::Error| Error::Usage(format!("can't write trials.csv: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let own = ["trial", "state", "seed", "fold"];
    let measured = ["validation_loss", "train_loss", "weight_norm_squared", "zero_weights", "epochs", "seconds", "message"];
    let header = own.iter().chain(&keys).copied().chain(metrics.iter().map(|name| name.as_str())).chain(measured);
    writer.write_record(header).map_err(failed)?;
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    for result in results {
        let state = serde_json::to_value(result.state).ok().and_then(|state| state.as_str().map(str::to_owned)).unwrap_or_default();
        let mut line = vec![result.unit.trial.to_string(), state, result.unit.seed.to_string()];
        line.push(result.unit.fold.map_or(String::new(), |fold| fold.to_string()));
        line.extend(keys.iter().map(|key| match plan.setting(result.unit.trial, key) {
            None => String::new(),
            Some(toml::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        }));
        line.extend(metrics.iter().map(|name| number(result.validation.get(*name).copied())));
        line.extend([result.validation_loss, result.train_loss, result.weight_norm_squared, result.zero_weights].map(number));
        line.extend([result.epochs.to_string(), result.seconds.to_string(), result.message.clone().unwrap_or_default()]);
        writer.write_record(line).map_err(failed)?;
    }
    let bytes = writer.into_inner().unwrap_or_else(|error| unreachable!("it is written to memory: {error}"));
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
