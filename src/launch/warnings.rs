//! What a trained network is warned of.

use crate::metrics::Measures;

/// Classes named in a warning, at most.
const NAMED: usize = 5;
/// ‖w‖² has collapsed below this fraction of what it began with, where the network predicts no better than the largest class.
const COLLAPSED: f64 = 0.01;

/// A trained network and its measures.
pub(super) struct Outcome<'a> {
    pub(super) train: &'a Measures,
    pub(super) validation: Option<&'a Measures>,
    pub(super) test: Option<&'a Measures>,
    pub(super) classes: &'a [String],
    pub(super) penalties: &'a [String],
    pub(super) first_weight_norm_squared: Option<f64>,
    pub(super) weight_norm_squared: f64,
}

/// What is wrong with it, judged by the validation part, else the test part, else the part trained on.
pub(super) fn warnings(outcome: &Outcome) -> Vec<String> {
    let (part, measures) = judged_by(outcome);
    let blind = no_better_than_one_class(part, measures, outcome.classes);
    let collapsed = blind.as_ref().and_then(|_| collapsed(outcome));
    collapsed.into_iter().chain(blind).chain(never_predicted(part, measures, outcome.classes)).collect()
}

/// That the last weights have collapsed, where the network that is kept is of an earlier epoch.
pub(super) fn collapsed_last(outcome: &Outcome) -> Option<String> {
    let (part, measures) = judged_by(outcome);
    no_better_than_one_class(part, measures, outcome.classes)
        .and_then(|_| collapsed(outcome))
        .map(|warning| format!("by the last epoch {warning}"))
}

fn judged_by<'a>(outcome: &Outcome<'a>) -> (&'static str, &'a Measures) {
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
            "the penalized weights have collapsed: ‖w‖² is {now:.2e} and was {first:.2e} before the first step, and nothing is learned; use a smaller lambda"
        )
    })
}

fn no_better_than_one_class(part: &str, measures: &Measures, names: &[String]) -> Option<String> {
    // Of one class alone, every sample may be right.
    if measures.classes.iter().filter(|class| class.count > 0).count() < 2 {
        return None;
    }
    let (largest, class) = measures.classes.iter().enumerate().rev().max_by_key(|(_, class)| class.count)?;
    let share = class.count as f64 / measures.count as f64;
    let percent = |fraction: f64| 100.0 * fraction;
    (measures.accuracy <= share).then(|| {
        format!(
            "accuracy on the {part} part is {:.2} %, no more than the share of its largest class `{}`, {:.2} %: the network tells nothing of an image",
            percent(measures.accuracy),
            names[largest],
            percent(share)
        )
    })
}

fn never_predicted(part: &str, measures: &Measures, names: &[String]) -> Option<String> {
    let is_missed = |class: &usize| measures.classes[*class].count > 0 && measures.confusion.iter().all(|row| row[*class] == 0);
    let missed: Vec<usize> = (0..measures.classes.len()).filter(is_missed).collect();
    let named: Vec<String> = missed.iter().take(NAMED).map(|class| format!("`{}`", names[*class])).collect();
    let rest = match missed.len().saturating_sub(NAMED) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    let (noun, verb) = if missed.len() == 1 { ("class", "is") } else { ("classes", "are") };
    (!missed.is_empty()).then(|| format!("{noun} {}{rest} {verb} never predicted on the {part} part", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Tally;

    fn measures(classes: usize, predictions: &[(usize, usize)]) -> Measures {
        let mut tally = Tally::new(classes);
        for (label, predicted) in predictions {
            let mut logits = vec![0.0; classes];
            logits[*predicted] = 1.0;
            tally.add(&logits, *label);
        }
        tally.measures()
    }

    fn told(measures: &Measures, now: f64) -> Vec<String> {
        let classes: Vec<String> = (0..measures.classes.len()).map(|class| format!("c{class}")).collect();
        warnings(&Outcome {
            train: measures,
            validation: None,
            test: Some(measures),
            classes: &classes,
            penalties: &["l2 on kernels".to_owned()],
            first_weight_norm_squared: Some(100.0),
            weight_norm_squared: now,
        })
    }

    #[test]
    fn a_good_network_is_not_warned_of() {
        assert_eq!(
            told(&measures(3, &[(0, 0), (0, 0), (1, 1), (2, 2), (2, 1)]), 0.5),
            [""; 0],
            "small weights that do their work are good"
        );
        // The last class has no sample.
        assert_eq!(told(&measures(3, &[(0, 0), (0, 0), (1, 1)]), 50.0), [""; 0]);
    }

    #[test]
    fn classes_that_are_never_predicted_are_named() {
        assert_eq!(told(&measures(3, &[(0, 0), (0, 0), (1, 1), (1, 1), (2, 1)]), 50.0), ["class `c2` is never predicted on the test part"]);
        let samples: Vec<(usize, usize)> = (0..8).flat_map(|class| [(class, class / 7 * 7); 2]).collect();
        let expected = "classes `c1`, `c2`, `c3`, `c4`, `c5` and 1 more are never predicted on the test part";
        assert_eq!(told(&measures(8, &samples), 50.0), [expected]);
    }

    #[test]
    fn a_network_that_learned_nothing_is_told_and_one_of_no_weights_besides() {
        let blind = measures(2, &[(0, 0), (0, 0), (1, 0)]);
        let accuracy = "accuracy on the test part is 66.67 %, no more than the share of its largest class `c0`, 66.67 %: the network tells nothing of an image";
        let missed = "class `c1` is never predicted on the test part";
        assert_eq!(told(&blind, 1.0), [accuracy, missed]);
        let collapsed = "the penalized weights have collapsed: ‖w‖² is 9.00e-1 and was 1.00e2 before the first step, and nothing is learned; use a smaller lambda";
        assert_eq!(told(&blind, 0.9), [collapsed, accuracy, missed]);
    }
}
