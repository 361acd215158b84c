//! The measures of a classifier.

use serde::{Deserialize, Serialize};

/// The measures of a classifier on a set of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// The number of samples.
    pub count: u64,
    /// Mean cross-entropy in nats, without any penalty.
    pub data_loss: f64,
    /// The fraction of correctly classified samples.
    pub accuracy: f64,
    /// The mean recall over the classes with samples (scikit-learn's `balanced_accuracy_score`). `None` without samples, and in files of version 0.1.0.
    #[serde(default)]
    pub balanced_accuracy: Option<f64>,
    /// The mean F1 over the classes with samples or predictions (scikit-learn's `f1_score` with `average="macro"`). `None` as above.
    #[serde(default)]
    pub macro_f1: Option<f64>,
    /// Expected calibration error over 15 equal bins of confidence (Guo et al. 2017, eq. 3).
    pub calibration_error: f64,
    /// Those bins, for a reliability diagram. Empty in files of earlier versions.
    #[serde(default)]
    pub reliability: Vec<ReliabilityBin>,
    /// The measures of each class.
    pub classes: Vec<ClassMeasures>,
    /// `[actual class][predicted class]`.
    pub confusion: Vec<Vec<u64>>,
}

/// The samples whose confidence, the probability of the predicted class, is in one of the equal bins from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Their number.
    pub count: u64,
    /// Their mean confidence. `None` without samples.
    pub confidence: Option<f64>,
    /// The fraction of them that is correctly classified. `None` without samples.
    pub accuracy: Option<f64>,
}

/// The measures of one class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassMeasures {
    /// The number of samples of the class.
    pub count: u64,
    /// True positives / predictions of the class. `None` without predictions.
    pub precision: Option<f64>,
    /// True positives / samples of the class. `None` without samples.
    pub recall: Option<f64>,
    /// 2·true positives / (samples + predictions), the harmonic mean of precision and recall. `None` without samples and predictions.
    #[serde(default)]
    pub f1: Option<f64>,
}

/// The samples of one class that were predicted as another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confusion {
    /// The actual class.
    pub actual: usize,
    /// The predicted class.
    pub predicted: usize,
    /// Their number.
    pub count: u64,
    /// Their fraction of the samples of the actual class.
    pub share: f64,
}

impl Classification {
    /// The `limit` most frequent confusions. Ties are sorted by decreasing share, then by label.
    #[must_use]
    pub fn top_confusions(&self, limit: usize) -> Vec<Confusion> {
        let mut all: Vec<Confusion> = Vec::new();
        for (actual, row) in self.confusion.iter().enumerate() {
            let samples: u64 = row.iter().sum();
            let mistakes = row.iter().enumerate().filter(|(predicted, count)| *predicted != actual && **count > 0);
            all.extend(mistakes.map(|(predicted, count)| Confusion {
                actual,
                predicted,
                count: *count,
                share: *count as f64 / samples as f64,
            }));
        }
        all.sort_by(|a, b| b.count.cmp(&a.count).then(b.share.total_cmp(&a.share)));
        all.truncate(limit);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Tally;

    /// Measures with this confusion matrix.
    fn measures(confusion: &[[u64; 4]; 4]) -> Classification {
        let mut tally = Tally::new(4);
        for (actual, row) in confusion.iter().enumerate() {
            for (predicted, count) in row.iter().enumerate() {
                let mut logits = [0.0; 4];
                logits[predicted] = 1.0;
                (0..*count).for_each(|_| {
                    tally.add(&logits, actual);
                });
            }
        }
        tally.measures()
    }

    fn assert_near(found: Option<f64>, expected: f64) {
        assert!(found.is_some_and(|found| (found - expected).abs() < 1e-12), "{found:?}, expected {expected}");
    }

    /// The expected numbers are computed by scikit-learn in `tests/fixtures/metrics.py`.
    #[test]
    fn balanced_accuracy_and_macro_f1_agree_with_scikit_learn() {
        let all = measures(&[[5, 2, 0, 1], [1, 3, 0, 0], [0, 4, 10, 2], [0, 0, 1, 6]]);
        assert_near(all.balanced_accuracy, 0.714_285_714_285_714_3);
        assert_near(all.macro_f1, 0.666_641_229_141_229_1);
        // The last class has no samples, but predictions: it counts for the F1 alone.
        let unsampled = measures(&[[5, 2, 0, 1], [1, 3, 0, 0], [0, 4, 10, 2], [0; 4]]);
        assert_near(unsampled.balanced_accuracy, 0.666_666_666_666_666_6);
        assert_near(unsampled.macro_f1, 0.486_263_736_263_736_3);
        // The last class has neither: it counts for nothing.
        let absent = measures(&[[5, 2, 1, 0], [1, 3, 0, 0], [0, 4, 12, 0], [0; 4]]);
        assert_near(absent.balanced_accuracy, 0.708_333_333_333_333_4);
        assert_near(absent.macro_f1, 0.667_803_460_906_909_2);
        assert_eq!(absent.classes[3], ClassMeasures { count: 0, precision: None, recall: None, f1: None });
        let nothing = measures(&[[0; 4]; 4]);
        assert_eq!((nothing.balanced_accuracy, nothing.macro_f1), (None, None));
    }

    #[test]
    fn the_most_frequent_confusions_come_first() {
        let measures = measures(&[[5, 2, 0, 1], [1, 3, 0, 0], [0, 4, 10, 2], [0, 0, 1, 6]]);
        let top: Vec<(usize, usize, u64)> = measures.top_confusions(5).iter().map(|top| (top.actual, top.predicted, top.count)).collect();
        assert_eq!(top, [(2, 1, 4), (0, 1, 2), (2, 3, 2), (1, 0, 1), (3, 2, 1)]);
        assert!((measures.top_confusions(1)[0].share - 0.25).abs() < 1e-12);
    }

    #[test]
    fn measures_of_older_versions_are_read() {
        let old = r#"{"count": 1, "data_loss": 0.5, "accuracy": 1.0, "calibration_error": 0.1,
            "classes": [{"count": 1, "precision": 1.0, "recall": 1.0}], "confusion": [[1]]}"#;
        let measures: Classification = serde_json::from_str(old).unwrap();
        assert_eq!((measures.balanced_accuracy, measures.classes[0].f1, measures.reliability), (None, None, Vec::new()));
    }
}
