//! The choice among trials by paired differences of their validation losses.

use serde::{Deserialize, Serialize};

use crate::config::Rule;

/// A trial compared with the one of the lowest mean loss, over the same folds or seeds, or with splits of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The mean loss over all trainings.
    pub mean: f64,
    /// The mean of the differences to the trial of the lowest mean.
    pub difference: f64,
    /// The standard error of that mean, s·√(1/J + r) over J splits or seeds, s the standard deviation of the differences. Over splits r is the ratio of validation to
    /// training samples, over k folds 1/(k − 1) (Nadeau and Bengio 2003): the training splits overlap, so the differences are not independent. Over seeds on one
    /// split r is 0. Where each trial has splits of its own, s² is the sum of the variances of both trials' losses. `None` with J = 1.
    pub standard_error: Option<f64>,
    /// s/√J, which is too small, for comparison.
    pub naive_standard_error: Option<f64>,
}

/// How the losses of the trials are related.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Relation {
    /// r in [`Comparison::standard_error`].
    pub overlap: f64,
    /// Whether the losses of different trials at the same place are of the same split, so that their difference is paired.
    pub is_paired: bool,
}

/// The result of a choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The comparison of each trial. `None` for a trial that has failed or is not complete.
    pub comparisons: Vec<Option<Comparison>>,
    /// The trial with the lowest mean loss; the first of equal ones.
    pub minimum: usize,
    /// The chosen trial.
    pub chosen: usize,
}

/// Chooses a trial.
///
/// `losses[trial]` has the loss for every fold, or without folds for every seed, in the same order for all trials; `None` for a trial that has failed or is not
/// complete. `lambdas[trial]` is λ, by which the rule of one standard error takes the strongest; a trial without one, or with other values of other keys than the
/// minimum, has `None`. Returns `None` if no trial is complete.
#[must_use]
pub fn choose(losses: &[Option<Vec<f64>>], relation: Relation, rule: Rule, lambdas: &[Option<f64>]) -> Option<Choice> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let complete = || losses.iter().enumerate().filter_map(|(trial, losses)| Some((trial, losses.as_ref()?)));
    let (minimum, best) = complete().min_by(|(_, one), (_, other)| mean(one).total_cmp(&mean(other)))?;
    let compare = |(trial, losses): (usize, &Vec<f64>)| {
        let differences: Vec<f64> = losses.iter().zip(best).map(|(loss, best)| loss - best).collect();
        let count = differences.len() as f64;
        let (difference, paired) = mean_and_deviation(&differences);
        let [own, of_best] = [losses, best].map(|losses| mean_and_deviation(losses).1);
        // The difference to itself is 0.
        let is_paired = relation.is_paired || trial == minimum;
        let deviation = if is_paired { paired } else { own.zip(of_best).map(|(own, best)| own.hypot(best)) };
        Comparison {
            mean: mean(losses),
            difference,
            standard_error: deviation.map(|deviation| deviation * (1.0 / count + relation.overlap).sqrt()),
            naive_standard_error: deviation.map(|deviation| deviation * (1.0 / count).sqrt()),
        }
    };
    let comparisons: Vec<Option<Comparison>> =
        losses.iter().enumerate().map(|(trial, losses)| Some(compare((trial, losses.as_ref()?)))).collect();
    let chosen = match rule {
        Rule::Minimum => minimum,
        Rule::OneStandardError => {
            let is_near = |trial: usize| comparisons[trial].is_some_and(|found| found.difference <= found.standard_error.unwrap_or(0.0));
            let near = (0..losses.len()).filter(|trial| is_near(*trial)).filter_map(|trial| Some((trial, lambdas[trial]?)));
            near.max_by(|(_, one), (_, other)| one.total_cmp(other)).map_or(minimum, |(trial, _)| trial)
        }
    };
    Some(Choice { comparisons, minimum, chosen })
}

/// The mean, and the standard deviation with the divisor n − 1, which one value does not have.
pub(crate) fn mean_and_deviation(values: &[f64]) -> (f64, Option<f64>) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = || values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (values.len() > 1).then(|| (squares() / (count - 1.0)).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAMBDAS: [Option<f64>; 4] = [Some(0.0), Some(1.0), Some(10.0), Some(100.0)];

    fn paired(overlap: f64) -> Relation {
        Relation { overlap, is_paired: true }
    }

    #[test]
    fn the_standard_error_of_unpaired_trials_by_hand() {
        // The variances are 0.01 (1.0, 1.1, 1.2) and 0.04 (1.3, 1.5, 1.7), their sum 0.05. The paired differences 0.3, 0.4, 0.5 would have 0.01.
        let losses = [Some(vec![1.0, 1.1, 1.2]), Some(vec![1.3, 1.5, 1.7])];
        let found = |is_paired| choose(&losses, Relation { overlap: 0.5, is_paired }, Rule::Minimum, &LAMBDAS[..2]).unwrap();
        let own = found(false).comparisons[0].unwrap();
        assert!(own.difference.abs() < 1e-15 && own.standard_error.unwrap().abs() < 1e-15, "{own:?}");
        let other = found(false).comparisons[1].unwrap();
        // √0.05·√(1/3 + 1/2) and √(0.05/3)
        assert!((other.difference - 0.4).abs() < 1e-12);
        assert!((other.standard_error.unwrap() - 0.204_124_145_231_931_5).abs() < 1e-12, "{other:?}");
        assert!((other.naive_standard_error.unwrap() - 0.129_099_444_873_580_6).abs() < 1e-12, "{other:?}");
        // 0.1·√(1/3 + 1/2)
        assert!((found(true).comparisons[1].unwrap().standard_error.unwrap() - 0.091_287_092_917_527_7).abs() < 1e-12);
    }

    #[test]
    fn the_corrected_standard_error_by_hand() {
        // Differences to the second trial: 0.1, 0.3, 0.2; their deviation is 0.1.
        let losses = [Some(vec![1.1, 1.2, 1.4]), Some(vec![1.0, 0.9, 1.2]), None, Some(vec![2.0, 2.0, 2.0])];
        let choice = choose(&losses, paired(0.5), Rule::Minimum, &LAMBDAS).unwrap();
        assert_eq!((choice.minimum, choice.chosen), (1, 1));
        let found = choice.comparisons[0].unwrap();
        assert!((found.difference - 0.2).abs() < 1e-12);
        // 0.1·√(1/3 + 1/2) and 0.1/√3
        assert!((found.standard_error.unwrap() - 0.091_287_092_917_527_7).abs() < 1e-12);
        assert!((found.naive_standard_error.unwrap() - 0.057_735_026_918_962_6).abs() < 1e-12);
        assert_eq!(choice.comparisons[2], None);
        let own = choice.comparisons[1].unwrap();
        assert!(own.difference.abs() < 1e-15 && own.standard_error.unwrap().abs() < 1e-15);
    }

    #[test]
    fn one_standard_error_takes_the_largest_lambda_that_is_near() {
        let losses = [Some(vec![1.10, 1.22]), Some(vec![1.0, 1.0]), Some(vec![1.01, 1.03]), Some(vec![1.5, 1.6])];
        let rule = |lambdas: &[Option<f64>]| choose(&losses, paired(1.0), Rule::OneStandardError, lambdas).unwrap().chosen;
        // The third: 0.02 against 0.0141·√(1/2 + 1) = 0.0173: too far. With a ratio of 2: 0.0224.
        assert_eq!(rule(&LAMBDAS), 1);
        assert_eq!(choose(&losses, paired(2.0), Rule::OneStandardError, &LAMBDAS).unwrap().chosen, 2);
        let foreign = [Some(0.0), Some(1.0), None, Some(100.0)];
        assert_eq!(choose(&losses, paired(2.0), Rule::OneStandardError, &foreign).unwrap().chosen, 1, "other keys differ");
    }

    #[test]
    fn one_unit_has_no_error_and_no_trial_no_choice() {
        let choice = choose(&[Some(vec![1.0]), Some(vec![0.5])], paired(0.1), Rule::OneStandardError, &LAMBDAS[..2]).unwrap();
        assert_eq!((choice.chosen, choice.comparisons[0].unwrap().standard_error), (1, None));
        assert_eq!(choose(&[None, None], paired(0.1), Rule::Minimum, &LAMBDAS[..2]), None);
    }
}
