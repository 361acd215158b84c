//! The result of a sweep.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::path_check::{PathCheck, among_finalists, check_of_path, off_path};
use super::student::t975;
use super::{Choice, Comparison, FitCriteria, FitResult, FitState, Plan, Relation, choose, reason};
use crate::config::{Criterion, Dimension, Rule, Values};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::numbers::setting as in_words;
use crate::session::Summary;

/// The comparison of all trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// What ranks the trials.
    pub criterion: Criterion,
    /// The rule of the choice.
    pub rule: Rule,
    /// The number of seeds of each trial.
    pub seeds: usize,
    /// The number of folds of each trial. `None`: the validation split of the config.
    pub folds: Option<usize>,
    /// The number of random splits, or sets of folds.
    pub repeats: usize,
    /// The keys that were searched, and their values.
    #[serde(default)]
    pub searched: Vec<Dimension>,
    /// The trials, in the order of the plan.
    pub trials: Vec<TrialSummary>,
    /// The trial with the lowest mean validation loss. `None` if none was completed.
    pub minimum: Option<usize>,
    /// The chosen trial.
    pub chosen: Option<usize>,
    /// The settings of the chosen trial.
    #[serde(default)]
    pub chosen_settings: Option<BTreeMap<String, toml::Value>>,
    /// Why it was chosen.
    #[serde(default)]
    pub reason: Option<String>,
    /// The trials of a path whose losses from initial weights are compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<PathCheck>,
    /// What is doubtful about the trainings and the choice.
    pub warnings: Vec<String>,
    /// Seconds of training of all fits.
    pub seconds: f64,
    /// The summary of the chosen trial's run on all images but the test split.
    pub refit: Option<Summary>,
}

/// The results of one trial over its seeds and folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialSummary {
    /// The trial, from 0.
    pub trial: usize,
    /// Its settings.
    pub settings: BTreeMap<String, toml::Value>,
    /// How it ended: completed if all its fits were.
    pub state: FitState,
    /// Why it was not completed.
    pub message: Option<String>,
    /// Validation loss, and its difference to the lowest one.
    #[serde(flatten)]
    pub comparison: Option<Comparison>,
    /// The 95 % interval of that difference, from Student's t distribution. `None` for the trial of the lowest mean, and where there is no standard error.
    #[serde(default)]
    pub interval: Option<[f64; 2]>,
    /// The mean of each metric on the validation split.
    pub validation: Metrics,
    /// The epochs of the shortest training.
    pub epochs: u64,
    /// The mean of ‖w‖².
    pub weight_norm_squared: Option<f64>,
    /// The mean fraction of kernel weights that are 0.
    pub zero_weights: Option<f64>,
    /// The mean of γ, the effective number of parameters.
    pub gamma: Option<f64>,
    /// The mean of −ln p(data | λ)/m.
    #[serde(default)]
    pub evidence: Option<f64>,
    /// The mean leave-one-out loss of the training images, reliable or not.
    #[serde(default)]
    pub leave_one_out_loss: Option<f64>,
    /// The mean fraction of training images whose leave-one-out loss is not reliable.
    pub unreliable: Option<f64>,
}

impl Study {
    /// Whether a trial was completed and is not ranked, for the leave-one-out loss of a training of it is unreliable.
    #[must_use]
    pub fn is_unreliable(&self, trial: &TrialSummary) -> bool {
        let is_left_out = trial.state == FitState::Completed && trial.comparison.is_none();
        is_left_out && self.criterion == Criterion::Loo && trial.unreliable.is_some_and(|fraction| fraction > 0.0)
    }

    /// Compares the trials of `plan` by the results of all its fits.
    #[must_use]
    pub fn new(plan: &Plan, results: &[FitResult]) -> Self {
        let by_trial = by_trial(plan, results, false);
        let losses = losses_of_trials(plan, results);
        let choice = chosen(plan, results, &losses);
        let comparisons = choice.as_ref().map_or_else(|| vec![None; plan.trials.len()], |choice| choice.comparisons.clone());
        let finalists = among_finalists(plan, results);
        let chosen = if plan.finalists.is_empty() { choice.as_ref() } else { finalists.as_ref() }.map(|choice| choice.chosen);
        let minimum = choice.map(|choice| choice.minimum);
        let quantile = t975(plan.degrees(results));
        let trials = by_trial.iter().zip(comparisons).enumerate().map(|(trial, (results, comparison))| {
            let interval = comparison.filter(|_| minimum != Some(trial)).and_then(|found| {
                let half = quantile? * found.standard_error?;
                Some([found.difference - half, found.difference + half])
            });
            TrialSummary { interval, ..TrialSummary::new(plan, trial, results, comparison) }
        });
        let path = check_of_path(plan, results);
        let mut study = Self {
            criterion: plan.sweep.criterion,
            rule: plan.sweep.rule,
            seeds: plan.seeds.len(),
            folds: plan.folds(),
            repeats: plan.sweep.repeats.get(),
            searched: plan.space.clone(),
            trials: trials.collect(),
            minimum,
            chosen,
            chosen_settings: chosen.map(|chosen| plan.trials[chosen].iter().cloned().collect()),
            reason: None,
            warnings: [warnings(plan, results, chosen), off_path(plan, &path)].concat(),
            path,
            // The sum of nothing is −0.
            seconds: results.iter().map(|result| result.seconds).fold(0.0, |sum, seconds| sum + seconds),
            refit: None,
        };
        study.reason = chosen.map(|chosen| reason(plan, &study, chosen));
        study
    }
}

/// The results of each trial: those of the plan, or those from initial weights of a path, which the first trial of it has anyway.
pub(super) fn by_trial<'a>(plan: &Plan, results: &'a [FitResult], from_start: bool) -> Vec<Vec<&'a FitResult>> {
    let first = plan.first_of_path();
    let counts =
        |result: &&FitResult, trial: usize| result.fit.trial == trial && result.fit.is_finalist == (from_start && first != Some(trial));
    (0..plan.trials.len()).map(|trial| results.iter().filter(|result| counts(result, trial)).collect()).collect()
}

/// The losses of each trial. `None` for one that was not completed.
fn losses_of_trials(plan: &Plan, results: &[FitResult]) -> Vec<Option<Vec<f64>>> {
    by_trial(plan, results, false).iter().map(|results| losses(plan, results)).collect()
}

/// The choice among trials with these losses.
pub(super) fn chosen(plan: &Plan, results: &[FitResult], losses: &[Option<Vec<f64>>]) -> Option<Choice> {
    let relation = relation(plan, results);
    let minimum = choose(losses, relation, Rule::Minimum, &vec![None; plan.trials.len()])?.minimum;
    choose(losses, relation, plan.sweep.rule, &plan.lambdas_beside(minimum))
}

/// The choice among the trials of `plan`.
pub(super) fn choice(plan: &Plan, results: &[FitResult]) -> Option<Choice> {
    chosen(plan, results, &losses_of_trials(plan, results))
}

/// The mean loss of each trial; infinite for one that was not completed.
pub(super) fn mean_losses(plan: &Plan, results: &[FitResult]) -> Vec<f64> {
    let mean = |losses: Vec<f64>| losses.iter().sum::<f64>() / losses.len() as f64;
    by_trial(plan, results, false).iter().map(|results| losses(plan, results).map_or(f64::INFINITY, mean)).collect()
}

/// The mean loss of a trial of a path over its trainings from initial weights. `None` without a path, or if one was not completed.
pub(super) fn mean_from_start(plan: &Plan, results: &[&FitResult]) -> Option<f64> {
    let losses = losses(plan, results).filter(|losses| plan.sweep.path && !losses.is_empty())?;
    Some(losses.iter().sum::<f64>() / losses.len() as f64)
}

/// The losses of a trial that are compared with those of others: for each split the mean over the seeds, or with one split those of all seeds. Leave-one-out losses
/// are those of the images, each the mean over the seeds. Returns `None` if a training was not completed, or its loss is not defined.
pub(super) fn losses(plan: &Plan, results: &[&FitResult]) -> Option<Vec<f64>> {
    let criterion = plan.sweep.criterion;
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    if criterion == Criterion::Loo {
        let first = results.first()?.criteria.as_ref()?;
        results.iter().try_for_each(|result| result.loss(criterion).map(drop))?;
        let of_image = |image: usize| {
            let losses = results.iter().filter_map(|result| result.criteria.as_ref()?.leave_one_out.get(image));
            mean(&losses.map(|loss| f64::from(*loss)).collect::<Vec<_>>())
        };
        return Some((0..first.leave_one_out.len()).map(of_image).collect());
    }
    if plan.splits() == 1 {
        return results.iter().map(|result| result.loss(criterion)).collect::<Option<Vec<f64>>>().filter(|losses| !losses.is_empty());
    }
    let mut by_split: BTreeMap<(Option<usize>, Option<usize>), Vec<f64>> = BTreeMap::new();
    for result in results {
        by_split.entry((result.fit.repeat, result.fit.fold)).or_default().push(result.loss(criterion)?);
    }
    (by_split.len() == plan.splits()).then(|| by_split.values().map(|losses| mean(losses)).collect())
}

/// How the losses of the trials are related. Several splits overlap by the ratio of validation to training samples.
pub(super) fn relation(plan: &Plan, results: &[FitResult]) -> Relation {
    let of_split = |result: &FitResult| result.validation_samples as f64 / result.train_samples as f64;
    let overlap = match (plan.splits(), plan.folds()) {
        (1, _) => 0.0,
        (_, None) => results.iter().map(of_split).find(|ratio| ratio.is_finite()).unwrap_or(0.0),
        (_, Some(folds)) => 1.0 / (folds as f64 - 1.0),
    };
    Relation { overlap, is_paired: !plan.sweep.reshuffle }
}

/// What is doubtful about the trainings and the choice.
fn warnings(plan: &Plan, results: &[FitResult], chosen: Option<usize>) -> Vec<String> {
    let mut counts: Vec<(&String, usize)> = Vec::new();
    for warning in results.iter().flat_map(|result| &result.warnings) {
        match counts.iter_mut().find(|(known, _)| *known == warning) {
            Some((_, count)) => *count += 1,
            None => counts.push((warning, 1)),
        }
    }
    let of_fits = counts.into_iter().map(|(warning, count)| format!("in {count} of {} trainings: {warning}", results.len()));
    of_fits.chain(chosen.into_iter().flat_map(|chosen| at_an_end(plan, chosen))).collect()
}

/// The part of a range that counts as its end.
const END: f64 = 0.03;

/// Warnings about numbers of the chosen trial at an end of the values. λ = 0 has no smaller one.
fn at_an_end(plan: &Plan, chosen: usize) -> Vec<String> {
    let number = |value: &toml::Value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
    let warning = |dimension: &Dimension| {
        let (key, values) = (&dimension.key, &dimension.values);
        let setting = plan.setting(chosen, key)?;
        let value = number(setting)?;
        let [is_smallest, is_largest] = match (values, values.share_of(setting)) {
            (Values::List(list), _) => {
                let others: Vec<f64> = list.iter().filter_map(number).collect();
                [others.iter().all(|other| *other >= value), others.iter().all(|other| *other <= value)]
            }
            (_, share) => [share? < END, share? > 1.0 - END],
        };
        let end = match (is_smallest, is_largest) {
            (false, true) => "largest",
            (true, false) if value > 0.0 => "smallest",
            _ => return None,
        };
        Some(format!("the chosen {key}={} is at the {end} end of the values; the best may lie beyond it", in_words(setting)))
    };
    plan.space.iter().filter_map(warning).collect()
}

impl TrialSummary {
    fn new(plan: &Plan, trial: usize, results: &[&FitResult], comparison: Option<Comparison>) -> Self {
        let ended_badly = results.iter().find(|result| result.state != FitState::Completed);
        let mean = |value: &dyn Fn(&FitResult) -> Option<f64>| {
            let values: Option<Vec<f64>> = results.iter().map(|result| value(result)).collect();
            values.filter(|values| !values.is_empty()).map(|values| values.iter().sum::<f64>() / values.len() as f64)
        };
        let names = results.first().map(|result| result.validation.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let metric = |name: String| Some((name.clone(), mean(&|result| result.validation.get(&name).copied())?));
        Self {
            trial,
            settings: plan.trials[trial].iter().cloned().collect(),
            state: ended_badly.map_or(FitState::Completed, |result| result.state),
            message: ended_badly.and_then(|result| result.message.clone()),
            comparison,
            interval: None,
            validation: names.into_iter().filter_map(metric).collect(),
            epochs: results.iter().map(|result| result.epochs).min().unwrap_or(0),
            weight_norm_squared: mean(&|result| result.weight_norm_squared),
            zero_weights: mean(&|result| result.zero_weights),
            gamma: mean(&|result| result.criteria.as_ref()?.gamma),
            evidence: mean(&|result| result.negative_log_evidence()),
            leave_one_out_loss: mean(&|result| result.criteria.as_ref()?.leave_one_out_loss),
            unreliable: mean(&|result| result.criteria.as_ref()?.unreliable),
        }
    }
}

/// One line of CSV for each fit.
///
/// # Errors
///
/// When a setting can't be written.
pub fn trials_csv(plan: &Plan, results: &[FitResult]) -> Result<String, Error> {
    let keys: Vec<&str> = plan.space.iter().map(|dimension| dimension.key.as_str()).collect();
    let metrics: Vec<&String> =
        results.iter().find(|result| !result.validation.is_empty()).map(|result| result.validation.keys().collect()).unwrap_or_default();
    let failed = |error: csv::Error| Error::Usage(format!("can't write trials.csv: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let own: &[&str] = &["trial", "state", "seed", "repeat", "fold"];
    let of_path: &[&str] = if plan.sweep.path { &["start"] } else { &[] };
    let own = [own, of_path].concat();
    let measured = ["validation_loss", "train_loss", "weight_norm_squared", "zero_weights", "epochs", "seconds", "message"];
    let of_criterion: &[&str] = if plan.needs_validation() { &[] } else { &["criterion"] };
    let has_curvature = plan.sweep.needs_curvature();
    let of_curvature: &[&str] = if has_curvature { &["log_evidence", "gamma", "leave_one_out_loss", "unreliable"] } else { &[] };
    let of_training = [of_criterion, of_curvature].concat();
    let header =
        own.iter().chain(&keys).copied().chain(metrics.iter().map(|name| name.as_str())).chain(of_training.iter().copied()).chain(measured);
    writer.write_record(header).map_err(failed)?;
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    for result in results {
        let index = |index: Option<usize>| index.map_or(String::new(), |index| index.to_string());
        let fit = &result.fit;
        let mut line =
            vec![fit.trial.to_string(), result.state.name().to_owned(), fit.seed.to_string(), index(fit.repeat), index(fit.fold)];
        line.extend(plan.sweep.path.then(|| if result.is_warm { "warm" } else { "cold" }.to_owned()));
        line.extend(keys.iter().map(|key| match plan.setting(result.fit.trial, key) {
            None => String::new(),
            Some(toml::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        }));
        line.extend(metrics.iter().map(|name| number(result.validation.get(*name).copied())));
        if !plan.needs_validation() {
            line.push(number(result.loss(plan.sweep.criterion)));
        }
        if has_curvature {
            let of = |value: fn(&FitCriteria) -> Option<f64>| number(result.criteria.as_ref().and_then(value));
            let losses = [of(|found| found.leave_one_out_loss), of(|found| found.unreliable)];
            line.extend([of(|found| found.log_evidence), of(|found| found.gamma)].into_iter().chain(losses));
        }
        line.extend([result.validation_loss, result.train_loss, result.weight_norm_squared, result.zero_weights].map(number));
        line.extend([result.epochs.to_string(), result.seconds.to_string(), result.message.clone().unwrap_or_default()]);
        writer.write_record(line).map_err(failed)?;
    }
    let bytes = writer.into_inner().unwrap_or_else(|error| unreachable!("it is written to memory: {error}"));
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
