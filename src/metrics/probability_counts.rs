//! Counts of predicted probabilities, from which curves of precision and recall are made.

use regulus_model::infer::probabilities;
use serde::{Deserialize, Serialize};

/// The thresholds 0, 0.01, …, 1.
const THRESHOLDS: u32 = 101;

/// The most classes that are counted.
const CLASSES: usize = 100;

/// How probable a classifier found one class, for samples of the class and for all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbabilityCounts {
    /// The number of samples of the class whose probability of it is in [k/100, (k + 1)/100), for k from 0 to 100.
    pub own: Vec<u64>,
    /// The same for the samples of other classes.
    pub others: Vec<u64>,
}

/// The decisions at a threshold: a sample is assigned to the class if its probability is at least that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decisions {
    /// Samples of the class that are assigned to it.
    pub true_positives: u64,
    /// Samples of other classes that are assigned to it.
    pub false_positives: u64,
    /// Samples of other classes that are not.
    pub true_negatives: u64,
    /// Samples of the class that are not.
    pub false_negatives: u64,
}

impl ProbabilityCounts {
    /// Empty counts for each of `classes` classes. Returns none if there are more than 100.
    #[must_use]
    pub fn of_classes(classes: usize) -> Vec<Self> {
        let empty = vec![0; THRESHOLDS as usize];
        vec![Self { own: empty.clone(), others: empty }; if classes > CLASSES { 0 } else { classes }]
    }

    /// Adds a sample to the counts of every class.
    pub fn add(classes: &mut [Self], logits: &[f32], label: usize) {
        if classes.is_empty() {
            return;
        }
        for (class, (counts, probability)) in classes.iter_mut().zip(probabilities(logits)).enumerate() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a probability is from 0 to 1")]
            let bin = ((probability * f64::from(THRESHOLDS - 1)) as usize).min(THRESHOLDS as usize - 1);
            let counts = if class == label { &mut counts.own } else { &mut counts.others };
            counts[bin] += 1;
        }
    }

    /// The decisions at each threshold, from 0 to 1.
    #[must_use]
    pub fn decisions(&self) -> Vec<Decisions> {
        let (own, others): (u64, u64) = (self.own.iter().sum(), self.others.iter().sum());
        let mut below = (0, 0);
        let each = self.own.iter().zip(&self.others).map(|(of_own, of_others)| {
            let (false_negatives, true_negatives) = below;
            below = (false_negatives + of_own, true_negatives + of_others);
            let (true_positives, false_positives) = (own - false_negatives, others - true_negatives);
            Decisions { true_positives, false_positives, true_negatives, false_negatives }
        });
        each.collect()
    }
}

impl Decisions {
    /// Of the samples that are assigned to the class, the fraction that are of it; 0 if there are none.
    #[must_use]
    pub fn precision(&self) -> f64 {
        self.true_positives as f64 / (self.true_positives + self.false_positives).max(1) as f64
    }

    /// Of the samples of the class, the fraction that are assigned to it; 0 if there are none.
    #[must_use]
    pub fn recall(&self) -> f64 {
        self.true_positives as f64 / (self.true_positives + self.false_negatives).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_by_hand() {
        let mut classes = ProbabilityCounts::of_classes(2);
        // The probabilities of class 0 are 3/4, 1/2 and 1/4.
        let third = 3.0_f32.ln();
        for (logits, label) in [([third, 0.0], 0), ([0.0, 0.0], 1), ([0.0, third], 0)] {
            ProbabilityCounts::add(&mut classes, &logits, label);
        }
        let decisions = classes[0].decisions();
        let at = |threshold: usize| {
            let Decisions { true_positives, false_positives, true_negatives, false_negatives } = decisions[threshold];
            [true_positives, false_positives, true_negatives, false_negatives]
        };
        assert_eq!((decisions.len(), at(0), at(30), at(60), at(100)), (101, [2, 1, 0, 0], [1, 1, 0, 1], [1, 0, 1, 1], [0, 0, 1, 2]));
        assert!((decisions[30].precision() - 0.5).abs() < 1e-12 && (decisions[30].recall() - 0.5).abs() < 1e-12);
        assert!(decisions[100].precision() == 0.0 && decisions[100].recall() == 0.0);
        assert!(ProbabilityCounts::of_classes(101).is_empty());
    }
}
