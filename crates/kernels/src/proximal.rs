//! Proximal steps.

use rayon::prelude::*;

use crate::groups::Groups;
use crate::norms::float;

/// What a proximal step takes off, each coefficient times the learning rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Proximal {
    /// Of Σ |w|.
    pub absolutes: f64,
    /// Of ½·Σ w².
    pub squares: f64,
    /// Of Σ √|g|·‖w(g)‖.
    pub norms: f64,
}

/// The proximal step: w becomes the u with the least ½·Σ d·(u − w)² + absolutes·Σ |u| + squares/2·Σ u² + norms·Σ √|g|·‖u(g)‖, where `metric` is
/// d, all 1 if it is empty. Either `absolutes` and `squares`, or `norms`, are 0.
///
/// Without a metric this is soft thresholding (Parikh and Boyd 2014, Proximal Algorithms, sections 6.5.1 and 6.5.2). With one it is the step that
/// belongs to an optimizer that scales each weight's gradient by 1/d (Yun, Lozano and Yang 2021, Adaptive Proximal Gradient Methods for Structured
/// Neural Networks).
pub fn proximal(step: Proximal, groups: Groups, metric: &[f32], weights: &mut [f32]) {
    let scale = |index: usize| metric.get(index).map_or(1.0, |number| f64::from(*number));
    if step.norms == 0.0 {
        weights.par_iter_mut().enumerate().for_each(|(index, weight)| {
            let (number, scale) = (f64::from(*weight), scale(index));
            let left = (number.abs() - step.absolutes / scale).max(0.0);
            *weight = if number.is_nan() { *weight } else { float(number.signum() * left / (1.0 + step.squares / scale)) };
        });
        return;
    }
    let threshold = step.norms * (groups.size(weights.len()) as f64).sqrt();
    let lengths = secular(groups, weights, threshold, scale);
    weights.par_iter_mut().enumerate().for_each(|(index, weight)| {
        let (length, scale) = (lengths[groups.at(index)], scale(index));
        *weight = if length == 0.0 { 0.0 } else { float(f64::from(*weight) * length / (length + threshold / scale)) };
    });
}

/// The length t of each group after the proximal step: the root of Σ (w/(t + threshold/d))² = 1, or 0 where the group becomes 0.
///
/// 1/‖…‖ is increasing and concave in t, so that a step of Newton's method ends at or below the root, wherever it begins, and the steps after
/// it come to the root from below (Conn, Gould and Toint 2000, Trust-Region Methods, section 7.3.3). It begins at ‖w‖ − threshold/d̄, d̄ a mean of d that
/// is weighted by w²; and never goes below ‖w‖ − threshold/min d, the length if every d were the least, which is no more than the root.
fn secular(groups: Groups, weights: &[f32], threshold: f64, scale: impl Fn(usize) -> f64 + Sync) -> Vec<f64> {
    let least = (0..weights.len()).map(&scale).fold(f64::INFINITY, f64::min);
    let begin = groups.sums(weights.len(), |index, _| {
        let weight = f64::from(weights[index]);
        [(weight * scale(index) / threshold).powi(2), weight * weight]
    });
    let means = groups.sums(weights.len(), |index, _| [f64::from(weights[index]).powi(2) * (threshold / scale(index)), 0.0]);
    let lowest: Vec<f64> = begin.iter().map(|[_, square]| (square.sqrt() - threshold / least).max(0.0)).collect();
    // Where the threshold is longer than the group, it becomes 0.
    let first = |((&[scaled, square], [mean, _]), lowest): ((&[f64; 2], &[f64; 2]), &f64)| {
        match scaled {
            scaled if scaled <= 1.0 => 0.0,
            scaled if scaled > 1.0 => (square.sqrt() - mean / square).max(*lowest),
            // NaN stays NaN.
            _ => f64::NAN,
        }
    };
    let mut lengths: Vec<f64> = begin.iter().zip(&means).zip(&lowest).map(first).collect();
    for _ in 0..NEWTON {
        let sums = groups.sums(weights.len(), |index, group| {
            let over = 1.0 / (lengths[group] + threshold / scale(index));
            let term = (f64::from(weights[index]) * over).powi(2);
            [term, term * over]
        });
        let mut largest = 0.0_f64;
        for (((length, [scaled, _]), [square, slope]), lowest) in lengths.iter_mut().zip(&begin).zip(sums).zip(&lowest) {
            if *scaled <= 1.0 || scaled.is_nan() {
                continue;
            }
            // φ(t) = S^(-1/2), φ'(t) = S^(-3/2)·Σ w²/(…)³.
            let next = (*length + square * (square.sqrt() - 1.0) / slope).max(*lowest);
            largest = largest.max((next - *length).abs() / next);
            *length = next;
        }
        // The error of the next step would be the square of this one's.
        if largest < 1e-6 {
            break;
        }
    }
    lengths
}

/// More steps than Newton's method takes.
const NEWTON: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norms::tests::close;

    #[test]
    fn groups_are_shortened_by_the_threshold_or_become_0() {
        // Groups (3, 4) and (0.3, 0.4) with a threshold of √2·1: of length 5 − √2, and 0.
        let left = 1.0 - 2.0_f32.sqrt() / 5.0;
        let step = |norms| Proximal { norms, ..Proximal::default() };
        for metric in [vec![], vec![1.0; 4]] {
            let mut weights = [3.0, 4.0, 0.3, 0.4];
            proximal(step(1.0), Groups::Runs(2), &metric, &mut weights);
            close(&weights, &[3.0 * left, 4.0 * left, 0.0, 0.0]);
            let mut weights = [3.0, 0.3, 4.0, 0.4];
            proximal(step(1.0), Groups::Columns(2), &metric, &mut weights);
            close(&weights, &[3.0 * left, 0.0, 4.0 * left, 0.0]);
        }
    }

    #[test]
    fn a_group_with_nan_stays_nan() {
        for metric in [vec![], vec![1.0, 2.0, 1.0, 3.0]] {
            let mut weights = [f32::NAN, 1.0, 2.0, 3.0];
            proximal(Proximal { norms: 0.1, ..Proximal::default() }, Groups::Runs(2), &metric, &mut weights);
            assert!(weights[0].is_nan() && weights[1].is_nan() && weights[2] > 0.0, "{weights:?}");
        }
    }

    #[test]
    fn next_to_nothing_taken_off_leaves_weights_as_they_are() {
        for norms in [1e-300, 1e-104, 1e-30] {
            for metric in [vec![], vec![1e-7, 1e3, 1.0, 1e-7]] {
                let mut weights = [0.1, -0.2, 1e-20, 0.0];
                proximal(Proximal { norms, ..Proximal::default() }, Groups::Runs(4), &metric, &mut weights);
                close(&weights, &[0.1, -0.2, 1e-20, 0.0]);
            }
        }
    }
}
