//! Cross-entropy of logits, with its gradient, in one pass.

/// What one pass over a batch gives.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    /// The mean over the batch, in nats.
    pub loss: f32,
    /// ∂loss/∂logits, `[batch, classes]`: weight·(softmax − target)/batch.
    pub gradient: Vec<f32>,
    /// Samples whose largest logit, the first of equal ones, is that of their label.
    pub correct: u32,
}

/// The mean cross-entropy of `logits`, `[batch, classes]`, against `labels`, one for each row. The target of a row has 1 − `smoothing` at its label,
/// and `smoothing` spread evenly over all classes (Szegedy et al. 2016, arXiv 1512.00567, section 7). With `weights`, one for each class, each row is multiplied by the
/// weight of its label; the sum is still divided by the number of rows.
#[must_use]
pub fn cross_entropy(logits: &[f32], labels: &[usize], smoothing: f32, weights: Option<&[f32]>) -> CrossEntropy {
    let classes = logits.len() / labels.len().max(1);
    let even = smoothing / classes as f32;
    let mut gradient = vec![0.0; logits.len()];
    let mut loss = 0.0;
    let mut correct = 0;
    for ((logits, gradient), label) in logits.chunks_exact(classes).zip(gradient.chunks_exact_mut(classes)).zip(labels) {
        let weight = weights.map_or(1.0, |weights| weights[*label]);
        let share = weight / labels.len() as f32;
        let mut best = 0;
        for (class, logit) in logits.iter().enumerate() {
            if *logit > logits[best] {
                best = class;
            }
        }
        correct += u32::from(best == *label);
        let mut sum = 0.0;
        for (to, logit) in gradient.iter_mut().zip(logits) {
            *to = (logit - logits[best]).exp();
            sum += *to;
        }
        let mut target = logits[*label] - logits[best];
        gradient.iter_mut().for_each(|number| *number *= share / sum);
        gradient[*label] -= share * (1.0 - smoothing);
        if smoothing > 0.0 {
            target = (1.0 - smoothing) * target + even * logits.iter().map(|logit| logit - logits[best]).sum::<f32>();
            gradient.iter_mut().for_each(|number| *number -= share * even);
        }
        loss += f64::from(sum.ln() - target) * f64::from(weight);
    }
    #[expect(clippy::cast_possible_truncation, reason = "the loss is a float32 tensor")]
    let loss = (loss / labels.len() as f64) as f32;
    CrossEntropy { loss, gradient, correct }
}
