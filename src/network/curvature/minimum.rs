//! The minimum of the objective of the linearized network.
//!
//! Evidence and leave-one-out loss hold at a minimum, but training ends before it. So they are computed for the network linearized at the trained weights w,
//! at the minimum of its objective (Antorán et al. 2022, arXiv 2206.08900), one step of Newton's method away:
//!
//! ```text
//! d = −P⁻¹·g with g = ∇L + λ·w,   w* = w + α·d,   f* = f + α·J·d,   α = −g·d/(d·(H + λ)·d)
//! ```
//!
//! α is 1 for the exact P. It is the minimum along d for its approximation, of which H·d is exact.

use regulus_model::Weights;

use super::jacobian::Layer;
use super::pass::{Columns, Gather, Outputs};
use super::posterior::Posterior;
use super::progress::{Done, Stopped};
use super::vectors::{combined, product};
use super::{CurvatureInput, Watch};

/// The length of the step by which J·(w* − w) is found from a difference, as a part of the length of w: far above rounding, and short enough that few numbers
/// change their sign in a ReLU.
const STEP: f64 = 3e-3;

/// The minimum of the objective of the linearized network.
pub(super) struct Minimum {
    /// w*.
    pub(super) weights: Weights,
    /// The logits f*, `[sample, class]`, in the order of the samples of the posterior.
    pub(super) logits: Vec<f32>,
}

impl CurvatureInput<'_> {
    /// The minimum for the posterior.
    pub(super) fn minimum(&self, posterior: &Posterior, watch: &Watch) -> Result<Minimum, Stopped> {
        let of_samples = || posterior.samples.iter().map(|samples| &samples.outputs);
        let indices: Vec<u32> = of_samples().flat_map(|outputs| outputs.indices.iter().copied()).collect();
        let Posterior { inverse, corrected, selection, penalized, each, .. } = posterior;
        // −g.
        let descent = combined(&posterior.pull(self.weights, -1.0), &self.gradient(watch)?, -(self.subset.count() as f64));
        let direction = inverse.times(corrected, selection, &descent);

        let [length, of_direction] = [self.weights, &direction].map(|weights| product(weights, weights, |_| 1.0).sqrt());
        let part = if of_direction > 0.0 { (STEP * length / of_direction).min(1.0) } else { 1.0 };
        let moved = |part: f64| combined(self.weights, &direction, part);
        let at = |weights: &Weights| CurvatureInput { weights, ..*self }.logits(&indices, watch);
        let [before, after] = [at(&moved(-part))?, at(&moved(part))?];
        let changes = before.iter().zip(&after).map(|(before, after)| (f64::from(*after) - f64::from(*before)) / (2.0 * part));
        let changes: Vec<f64> = changes.collect();

        let classes = (changes.len() / indices.len().max(1)).max(1);
        let probabilities = of_samples().flat_map(|outputs| outputs.log_probabilities().map(|(logarithms, _)| logarithms));
        let of_data: f64 =
            probabilities.zip(changes.chunks_exact(classes)).map(|(logarithms, change)| curvature(&logarithms, change)).sum();
        let of_penalty = product(&direction, &direction, |name| penalized.get(name).copied().unwrap_or(0.0));
        let step = product(&descent, &direction, |_| 1.0) / (each * of_data + of_penalty);
        let step = if step.is_finite() { step } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, reason = "logits are float32")]
        let linear = |(logit, change): (&f32, &f64)| (f64::from(*logit) + step * change) as f32;
        let logits = of_samples().flat_map(|outputs| &outputs.logits).zip(&changes).map(linear).collect();
        Ok(Minimum { weights: moved(step), logits })
    }

    /// The logits of the samples at `indices`.
    fn logits(&self, indices: &[u32], watch: &Watch) -> Result<Vec<f32>, Stopped> {
        let mut pass = self.pass(Columns::Errors);
        pass.layers = &[];
        let strips = pass.run(indices, &Done::of("linearized network", indices.len() as u64, watch), |_| Logits(Vec::new()))?;
        Ok(strips.into_iter().flat_map(|strip| strip.0).collect())
    }
}

struct Logits(Vec<f32>);

impl Gather for Logits {
    fn outputs(&mut self, outputs: &Outputs) {
        self.0.extend_from_slice(&outputs.logits);
    }

    fn layer(&mut self, _layer: &Layer) {}
}

/// δᵀ·(diag(p) − p·pᵀ)·δ, for ln p.
fn curvature(logarithms: &[f64], change: &[f64]) -> f64 {
    let weighted = || logarithms.iter().zip(change).map(|(logarithm, change)| (logarithm.exp(), change));
    let mean: f64 = weighted().map(|(p, change)| p * change).sum();
    weighted().map(|(p, change)| p * (change - mean).powi(2)).sum()
}
