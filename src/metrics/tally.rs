//! Counts of predictions and labels.

use regulus_model::infer::probabilities;

use super::{ClassMeasures, Classification, ReliabilityBin};

/// Bins of the calibration error, as in Guo et al. 2017 (arXiv 1706.04599).
const BINS: usize = 15;

/// Counts over predictions.
#[derive(Clone, Debug)]
pub struct Tally {
    loss: f64,
    /// `[actual class][predicted class]`.
    confusion: Vec<Vec<u64>>,
    bins: [Bin; BINS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    count: u64,
    correct: u64,
    confidence: f64,
}

/// The classification of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// The label.
    pub label: usize,
    /// The most probable class.
    pub predicted: usize,
    /// The probability of that class.
    pub probability: f64,
    /// The cross-entropy in nats.
    pub loss: f64,
}

impl Tally {
    /// An empty tally of `classes` classes.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self { loss: 0.0, confusion: vec![vec![0; classes]; classes], bins: [Bin::default(); BINS] }
    }

    /// Adds a sample with its logits. Returns its classification.
    pub fn add(&mut self, logits: &[f32], label: usize) -> Scored {
        let probabilities = probabilities(logits);
        let predicted = argmax(logits);
        let largest = f64::from(logits[predicted]);
        let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum();
        let loss = sum.ln() + largest - f64::from(logits[label]);
        self.loss += loss;
        self.confusion[label][predicted] += 1;
        let confidence = probabilities[predicted];
        // Bin k holds the confidences in (k/15, (k+1)/15].
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bins")]
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        self.bins[bin].count += 1;
        self.bins[bin].correct += u64::from(predicted == label);
        self.bins[bin].confidence += confidence;
        Scored { label, predicted, probability: confidence, loss }
    }

    /// The measures of all added samples. Losses and accuracies are NaN without samples.
    #[must_use]
    pub fn measures(&self) -> Classification {
        let count: u64 = self.confusion.iter().flatten().sum();
        let correct: u64 = (0..).zip(&self.confusion).map(|(class, row): (usize, _)| row[class]).sum();
        let classes: Vec<ClassMeasures> = (0..self.confusion.len())
            .map(|class| {
                let actual = self.confusion[class].iter().sum();
                let predicted = self.confusion.iter().map(|row| row[class]).sum();
                let both = self.confusion[class][class];
                ClassMeasures {
                    count: actual,
                    precision: ratio(both, predicted),
                    recall: ratio(both, actual),
                    f1: ratio(2 * both, actual + predicted),
                }
            })
            .collect();
        let gaps = self.bins.iter().map(|bin| (bin.correct as f64 - bin.confidence).abs()).sum::<f64>();
        let reliability = self.bins.iter().map(|bin| ReliabilityBin {
            count: bin.count,
            confidence: (bin.count > 0).then(|| bin.confidence / bin.count as f64),
            accuracy: ratio(bin.correct, bin.count),
        });
        Classification {
            count,
            data_loss: self.loss / count as f64,
            accuracy: correct as f64 / count as f64,
            balanced_accuracy: mean(classes.iter().filter_map(|class| class.recall)),
            macro_f1: mean(classes.iter().filter_map(|class| class.f1)),
            calibration_error: gaps / count as f64,
            reliability: reliability.collect(),
            classes,
            confusion: self.confusion.clone(),
        }
    }
}

/// `numerator / denominator`. Returns `None` if the denominator is 0.
fn ratio(numerator: u64, denominator: u64) -> Option<f64> {
    (denominator > 0).then(|| numerator as f64 / denominator as f64)
}

/// The mean. Returns `None` without values.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The index of the largest logit, the first one of equal ones.
fn argmax(logits: &[f32]) -> usize {
    let mut best = 0;
    for (class, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = class;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_of_four_samples_by_hand() {
        let mut tally = Tally::new(2);
        // ln 3 makes probabilities 3/4 and 1/4; three samples are right and one is wrong.
        let third = 3.0_f32.ln();
        tally.add(&[third, 0.0], 0);
        tally.add(&[third, 0.0], 0);
        tally.add(&[0.0, third], 1);
        tally.add(&[third, 0.0], 1);
        let measures = tally.measures();
        let loss = (3.0 * (4.0_f64 / 3.0).ln() + 4.0_f64.ln()) / 4.0;
        assert!((measures.data_loss - loss).abs() < 1e-7);
        assert!((measures.accuracy - 0.75).abs() < 1e-12);
        // All confidences are 0.75 and three of four are right: perfectly calibrated.
        assert!(measures.calibration_error < 1e-7);
        // 0.75 is in the bin up to 12/15.
        let filled: Vec<(usize, u64)> =
            measures.reliability.iter().map(|bin| bin.count).enumerate().filter(|(_, count)| *count > 0).collect();
        assert_eq!((filled, measures.reliability.len()), (vec![(11, 4)], 15));
        assert!((measures.reliability[11].confidence.unwrap() - 0.75).abs() < 1e-7 && measures.reliability[11].accuracy == Some(0.75));
        assert_eq!(measures.confusion, [[2, 0], [1, 1]]);
        assert_eq!(measures.classes[0], ClassMeasures { count: 2, precision: Some(2.0 / 3.0), recall: Some(1.0), f1: Some(0.8) });
        assert_eq!(measures.classes[1], ClassMeasures { count: 2, precision: Some(1.0), recall: Some(0.5), f1: Some(2.0 / 3.0) });
    }

    #[test]
    fn huge_logits_stay_finite() {
        let mut tally = Tally::new(3);
        tally.add(&[1e30, -1e30, 0.0], 1);
        assert!((tally.measures().data_loss / 2e30 - 1.0).abs() < 1e-6);
        assert_eq!(probabilities(&[1e30, -1e30, 0.0]), [1.0, 0.0, 0.0]);
    }
}
