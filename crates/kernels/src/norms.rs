//! Norms of a parameter, with their gradients.

use rayon::prelude::*;

use crate::groups::Groups;

/// Σ √|g|·‖w(g)‖ and its gradient √|g|·w/‖w(g)‖, which is 0 in a group of zeros.
#[must_use]
pub fn sum_of_norms(numbers: &[f32], groups: Groups) -> (f64, Vec<f32>) {
    let root = (groups.size(numbers.len()) as f64).sqrt();
    let norms = groups.norms(numbers);
    let slope = |(index, number): (usize, &f32)| match norms[groups.at(index)] {
        0.0 => 0.0,
        norm => float(root / norm * f64::from(*number)),
    };
    (root * norms.iter().sum::<f64>(), numbers.par_iter().enumerate().map(slope).collect())
}

/// Σ |w| and its gradient sign(w), which is 0 at 0.
#[must_use]
pub fn sum_of_absolutes(numbers: &[f32]) -> (f64, Vec<f32>) {
    let sign = |number: &f32| {
        if *number > 0.0 {
            1.0
        } else if *number < 0.0 {
            -1.0
        } else {
            0.0 * number
        }
    };
    (numbers.iter().map(|number| f64::from(number.abs())).sum(), numbers.iter().map(sign).collect())
}

/// Rounded to float32, as weights are.
#[expect(clippy::cast_possible_truncation, reason = "weights are float32")]
pub(super) fn float(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Asserts that numbers are equal up to a relative difference of 10⁻⁶.
    pub(crate) fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{found} is not {expected}");
        }
    }

    #[test]
    fn gradients_are_0_at_0_and_nan_stays_nan() {
        let (sum, slope) = sum_of_absolutes(&[-2.0, 0.0, -0.0, 3.0]);
        assert!((sum - 5.0).abs() < 1e-12);
        close(&slope, &[-1.0, 0.0, 0.0, 1.0]);
        // Two groups of two, the first of zeros, the second (3, 4): √2·5, √2·(3, 4)/5.
        let root = 2.0_f32.sqrt();
        for (numbers, groups, expected) in [
            ([0.0, 0.0, 3.0, 4.0], Groups::Runs(2), [0.0, 0.0, 0.6 * root, 0.8 * root]),
            ([0.0, 3.0, 0.0, 4.0], Groups::Columns(2), [0.0, 0.6 * root, 0.0, 0.8 * root]),
        ] {
            let (sum, slope) = sum_of_norms(&numbers, groups);
            assert!((sum - 5.0 * 2.0_f64.sqrt()).abs() < 1e-12);
            close(&slope, &expected);
        }
        assert!(sum_of_absolutes(&[f32::NAN]).1[0].is_nan() && sum_of_norms(&[f32::NAN, 1.0], Groups::Runs(2)).1[1].is_nan());
    }
}
