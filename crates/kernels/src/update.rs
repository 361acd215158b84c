//! The steps of optimizers, in place and in one pass.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::simd::Path;

/// Numbers of one task.
const CHUNK: usize = 1 << 14;

/// Smaller weights, moments and velocities become 0: smaller still they would be denormal, for which processors take up to a hundred times as long. A penalty makes
/// many, because it shrinks weights that the data loss does not hold by a factor in each step.
const TINY: f32 = 1e-36;
/// Adam takes smaller gradients for 0: their squares would be denormal.
const TINY_GRADIENT: f32 = 1e-17;

/// The numbers, or 0 where they are smaller than `limit`.
#[inline(always)]
fn without_smaller<S: Simd>(simd: S, limit: f32, numbers: S::f32s) -> S::f32s {
    let is_smaller = simd.less_than_f32s(simd.abs_f32s(numbers), simd.splat_f32s(limit));
    simd.select_f32s(is_smaller, simd.splat_f32s(0.0), numbers)
}

/// The number, or 0 where it is tiny.
#[inline(always)]
fn without_tiny(number: f32) -> f32 {
    if number.abs() < TINY { 0.0 } else { number }
}

/// Adam's constants for one step (Kingma and Ba 2015, arXiv 1412.6980), with decoupled weight decay (Loshchilov and Hutter 2019,
/// arXiv 1711.05101).
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// The decay of the first moment.
    pub beta_1: f32,
    /// The decay of the second moment.
    pub beta_2: f32,
    /// What is added to the root of the corrected second moment.
    pub epsilon: f32,
    /// The learning rate.
    pub rate: f32,
    /// 1 − rate · weight decay.
    pub retained: f32,
    /// The step, counted from 1.
    pub step: i32,
}

/// Adam's running means of each weight's gradient and of its square.
#[derive(Debug)]
pub struct Moments<'a> {
    /// Of the gradient.
    pub first: &'a mut [f32],
    /// Of its square.
    pub second: &'a mut [f32],
}

/// One step: weights and both moments become the next ones.
pub fn adam(path: Path, adam: Adam, weights: &mut [f32], gradient: &[f32], moments: Moments) {
    let correction_2 = (1.0 - adam.beta_2.powi(adam.step)).sqrt();
    let pass = AdamPass {
        adam,
        scale: adam.rate * correction_2 / (1.0 - adam.beta_1.powi(adam.step)),
        epsilon: adam.epsilon * correction_2,
        weights: &mut [],
        gradient: &[],
        first: &mut [],
        second: &mut [],
    };
    let Moments { first, second } = moments;
    let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
    let chunks = weights.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).zip(moments);
    chunks.for_each(|((weights, gradient), (first, second))| path.run(AdamPass { weights, gradient, first, second, ..pass }));
}

struct AdamPass<'a> {
    adam: Adam,
    scale: f32,
    epsilon: f32,
    weights: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl WithSimd for AdamPass<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { adam, scale, epsilon, weights, gradient, first, second } = self;
        let constants = [adam.beta_1, 1.0 - adam.beta_1, adam.beta_2, 1.0 - adam.beta_2, scale, epsilon, adam.retained];
        let splat = Constants(constants.map(|constant| simd.splat_f32s(constant)));
        let (weights, weights_rest) = S::as_mut_simd_f32s(weights);
        let (gradient, gradient_rest) = S::as_simd_f32s(gradient);
        let (first, first_rest) = S::as_mut_simd_f32s(first);
        let (second, second_rest) = S::as_mut_simd_f32s(second);
        for i in 0..weights.len().min(gradient.len()).min(first.len()).min(second.len()) {
            (weights[i], first[i], second[i]) = adam_step(simd, &splat, weights[i], gradient[i], first[i], second[i]);
        }
        let load = |numbers: &[f32]| simd.partial_load_f32s(numbers);
        let (w, m, v) = adam_step(simd, &splat, load(weights_rest), load(gradient_rest), load(first_rest), load(second_rest));
        simd.partial_store_f32s(weights_rest, w);
        simd.partial_store_f32s(first_rest, m);
        simd.partial_store_f32s(second_rest, v);
    }
}

/// β₁, 1 − β₁, β₂, 1 − β₂, the scale of the step, ε and the factor of the weights, 1 − decay.
struct Constants<S: Simd>([S::f32s; 7]);

#[inline(always)]
fn adam_step<S: Simd>(
    simd: S,
    constants: &Constants<S>,
    weight: S::f32s,
    gradient: S::f32s,
    first: S::f32s,
    second: S::f32s,
) -> (S::f32s, S::f32s, S::f32s) {
    let [beta_1, rest_1, beta_2, rest_2, scale, epsilon, retained] = constants.0;
    let gradient = without_smaller(simd, TINY_GRADIENT, gradient);
    let first = without_smaller(simd, TINY, simd.mul_add_e_f32s(beta_1, first, simd.mul_f32s(rest_1, gradient)));
    let squared = simd.mul_f32s(rest_2, simd.mul_f32s(gradient, gradient));
    let second = without_smaller(simd, TINY, simd.mul_add_e_f32s(beta_2, second, squared));
    let root = simd.add_f32s(simd.sqrt_f32s(second), epsilon);
    let delta = simd.div_f32s(simd.mul_f32s(scale, first), root);
    (without_smaller(simd, TINY, simd.sub_f32s(simd.mul_f32s(retained, weight), delta)), first, second)
}

/// The constants of gradient descent for one step; with momentum as Polyak's or Nesterov's (Sutskever et al. 2013).
#[derive(Clone, Copy, Debug)]
pub struct Descent {
    /// The learning rate.
    pub rate: f32,
    /// The factor of the velocity.
    pub momentum: f32,
    /// Whether the momentum is Nesterov's.
    pub nesterov: bool,
}

/// One step without momentum: `w − rate·g`.
pub fn descend(rate: f32, weights: &mut [f32], gradient: &[f32]) {
    weights.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).for_each(|(weights, gradient)| {
        weights.iter_mut().zip(gradient).for_each(|(weight, gradient)| *weight = without_tiny(*weight - rate * gradient));
    });
}

/// One step with momentum: `v ← μ·v + g`, then `w − rate·v`, or with Nesterov's `w − rate·(μ·v + g)`.
pub fn descend_with_momentum(descent: Descent, weights: &mut [f32], gradient: &[f32], velocity: &mut [f32]) {
    let Descent { rate, momentum, nesterov } = descent;
    let chunks = weights.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).zip(velocity.par_chunks_mut(CHUNK));
    chunks.for_each(|((weights, gradient), velocity)| {
        for ((weight, gradient), velocity) in weights.iter_mut().zip(gradient).zip(velocity) {
            *velocity = without_tiny(momentum * *velocity + gradient);
            let step = if nesterov { momentum * *velocity + gradient } else { *velocity };
            *weight = without_tiny(*weight - rate * step);
        }
    });
}
