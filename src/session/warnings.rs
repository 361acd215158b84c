//! Warnings about a trained network.

use crate::metrics::Classification;
use crate::numbers::magnitude;

/// The largest number of classes in a warning.
const LISTED: usize = 5;
/// Weights count as collapsed if ‖w‖² is below this fraction of its initial value and the accuracy is not above the share of the largest class.
const COLLAPSED: f64 = 0.01;

/// A trained network and its measures.
pub(super) struct Outcome<'a> {
    pub(super) train: &'a Classification,
    pub(super) validation: Option<&'a Classification>,
    pub(super) test: Option<&'a Classification>,
    pub(super) classes: &'a [String],
    pub(super) penalties: Vec<String>,
    pub(super) first_weight_norm_squared: Option<f64>,
    pub(super) weight_norm_squared: f64,
}

/// The warnings, based on the validation split, else the test split, else the training split.
pub(super) fn warnings(outcome: &Outcome) -> Vec<String> {
    let (split, measures) = reference_split(outcome);
    let constant = no_better_than_one_class(split, measures, outcome.classes);
    let collapsed = constant.as_ref().and_then(|_| collapsed(outcome));
    collapsed.into_iter().chain(constant).chain(never_predicted(split, measures, outcome.classes)).collect()
}

/// A warning if the last weights have collapsed.
pub(super) fn collapsed_last(outcome: &Outcome) -> Option<String> {
    let (split, measures) = reference_split(outcome);
    no_better_than_one_class(split, measures, outcome.classes)
        .and_then(|_| collapsed(outcome))
        .map(|warning| format!("by the last epoch {warning}"))
}

fn reference_split<'a>(outcome: &Outcome<'a>) -> (&'static str, &'a Classification) {
    match (outcome.validation, outcome.test) {
        (Some(validation), _) => ("validation", validation),
        (None, Some(test)) => ("test", test),
        (None, None) => ("training", outcome.train),
    }
}

fn collapsed(outcome: &Outcome) -> Option<String> {
    let (first, now) = (outcome.first_weight_norm_squared?, outcome.weight_norm_squared);
    let is_small = first > 0.0 && now < COLLAPSED * first && !outcome.penalties.is_empty();
    is_small.then(|| {
        format!(
            "the penalized weights have collapsed: ‖w‖² is {} and was {} before the first step, and nothing is learned; use a smaller lambda",
            magnitude(now),
            magnitude(first)
        )
    })
}

fn no_better_than_one_class(split: &str, measures: &Classification, names: &[String]) -> Option<String> {
    // With one class, an accuracy of 100 % equals the share of the class.
    if measures.classes.iter().filter(|class| class.count > 0).count() < 2 {
        return None;
    }
    let (largest, class) = measures.classes.iter().enumerate().rev().max_by_key(|(_, class)| class.count)?;
    let share = class.count as f64 / measures.count as f64;
    let percent = |fraction: f64| 100.0 * fraction;
    (measures.accuracy <= share).then(|| {
        format!(
            "accuracy on the {split} split is {:.2} %, no more than the share of its largest class `{}`, {:.2} %: always predicting this class is as good",
            percent(measures.accuracy),
            names[largest],
            percent(share)
        )
    })
}

fn never_predicted(split: &str, measures: &Classification, names: &[String]) -> Option<String> {
    let is_missed = |class: &usize| measures.classes[*class].count > 0 && measures.confusion.iter().all(|row| row[*class] == 0);
    let missed: Vec<usize> = (0..measures.classes.len()).filter(is_missed).collect();
    let named: Vec<String> = missed.iter().take(LISTED).map(|class| format!("`{}`", names[*class])).collect();
    let rest = match missed.len().saturating_sub(LISTED) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    let (noun, verb) = if missed.len() == 1 { ("class", "is") } else { ("classes", "are") };
    (!missed.is_empty()).then(|| format!("{noun} {}{rest} {verb} never predicted on the {split} split", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Tally;

    fn measures(classes: usize, predictions: &[(usize, usize)]) -> Classification {
        let mut tally = Tally::new(classes);
        for (label, predicted) in predictions {
            let mut logits = vec![0.0; classes];
            logits[*predicted] = 1.0;
            tally.add(&logits, *label);
        }
        tally.measures()
    }

    fn warnings_for(measures: &Classification, now: f64) -> Vec<String> {
        let classes: Vec<String> = (0..measures.classes.len()).map(|class| format!("c{class}")).collect();
        warnings(&Outcome {
            train: measures,
            validation: None,
            test: Some(measures),
            classes: &classes,
            penalties: vec!["l2 on kernels".to_owned()],
            first_weight_norm_squared: Some(100.0),
            weight_norm_squared: now,
        })
    }

    #[test]
    fn a_good_network_has_no_warnings() {
        assert_eq!(
            warnings_for(&measures(3, &[(0, 0), (0, 0), (1, 1), (2, 2), (2, 1)]), 0.5),
            [""; 0],
            "small weights with a good accuracy are fine"
        );
        // The last class has no sample.
        assert_eq!(warnings_for(&measures(3, &[(0, 0), (0, 0), (1, 1)]), 50.0), [""; 0]);
    }

    #[test]
    fn classes_that_are_never_predicted_are_named() {
        assert_eq!(
            warnings_for(&measures(3, &[(0, 0), (0, 0), (1, 1), (1, 1), (2, 1)]), 50.0),
            ["class `c2` is never predicted on the test split"]
        );
        let samples: Vec<(usize, usize)> = (0..8).flat_map(|class| [(class, class / 7 * 7); 2]).collect();
        let expected = "classes `c1`, `c2`, `c3`, `c4`, `c5` and 1 more are never predicted on the test split";
        assert_eq!(warnings_for(&measures(8, &samples), 50.0), [expected]);
    }

    #[test]
    fn a_network_that_learned_nothing_is_reported_and_collapsed_weights_too() {
        let constant = measures(2, &[(0, 0), (0, 0), (1, 0)]);
        let accuracy = "accuracy on the test split is 66.67 %, no more than the share of its largest class `c0`, 66.67 %: always predicting this class is as good";
        let missed = "class `c1` is never predicted on the test split";
        assert_eq!(warnings_for(&constant, 1.0), [accuracy, missed]);
        let collapsed = "the penalized weights have collapsed: ‖w‖² is 0.900 and was 100.000 before the first step, and nothing is learned; use a smaller lambda";
        assert_eq!(warnings_for(&constant, 0.9), [collapsed, accuracy, missed]);
    }
}
