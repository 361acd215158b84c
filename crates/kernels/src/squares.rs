//! Σ w² and Σ (w − v)², and their gradients.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::fill::{Size, filled};
use super::simd::Path;

/// Numbers of one task: fixed, so that sums do not depend on threads.
const CHUNK: usize = 1 << 14;

/// Σ w², each chunk summed in float32 and the chunks in float64.
#[must_use]
pub fn sum_of_squares(path: Path, numbers: &[f32]) -> f64 {
    let sums: Vec<f64> = numbers.par_chunks(CHUNK).map(|chunk| path.run(Sum(chunk))).collect();
    sums.into_iter().sum()
}

struct Sum<'a>(&'a [f32]);

impl WithSimd for Sum<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let (registers, rest) = S::as_simd_f32s(self.0);
        let (eights, others) = registers.as_chunks::<8>();
        let mut sums = [simd.splat_f32s(0.0); 8];
        for numbers in eights {
            for i in 0..8 {
                sums[i] = simd.mul_add_e_f32s(numbers[i], numbers[i], sums[i]);
            }
        }
        for number in others {
            sums[0] = simd.mul_add_e_f32s(*number, *number, sums[0]);
        }
        let mut sum: f64 = sums.into_iter().map(|sums| f64::from(simd.reduce_sum_f32s(sums))).sum();
        for number in rest {
            sum += f64::from(number * number);
        }
        sum
    }
}

/// Σ (w − v)², each chunk summed in float32 and the chunks in float64.
///
/// # Panics
///
/// When there are not as many v as w.
#[must_use]
pub fn sum_of_squared_differences(path: Path, numbers: &[f32], origin: &[f32]) -> f64 {
    assert_eq!(numbers.len(), origin.len(), "numbers of the same parameter");
    let chunks = numbers.par_chunks(CHUNK).zip(origin.par_chunks(CHUNK));
    let sums: Vec<f64> = chunks.map(|(numbers, origin)| path.run(Distance(numbers, origin))).collect();
    sums.into_iter().sum()
}

struct Distance<'a>(&'a [f32], &'a [f32]);

impl WithSimd for Distance<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let (registers, rest) = S::as_simd_f32s(self.0);
        let (origin, origin_rest) = S::as_simd_f32s(self.1);
        let mut sums = [simd.splat_f32s(0.0); 8];
        for (index, (numbers, origin)) in registers.iter().zip(origin).enumerate() {
            let difference = simd.sub_f32s(*numbers, *origin);
            sums[index % 8] = simd.mul_add_e_f32s(difference, difference, sums[index % 8]);
        }
        let mut sum: f64 = sums.into_iter().map(|sums| f64::from(simd.reduce_sum_f32s(sums))).sum();
        for (number, origin) in rest.iter().zip(origin_rest) {
            sum += f64::from((number - origin) * (number - origin));
        }
        sum
    }
}

/// `factor · (w − v)`.
#[must_use]
pub fn scaled_difference(numbers: &[f32], origin: &[f32], factor: f32) -> Vec<f32> {
    let out = Size::any(numbers.len(), CHUNK);
    let task = |number, out: &mut [f32], _: &mut [u8]| {
        let numbers = numbers[number * CHUNK..].iter().zip(&origin[number * CHUNK..]);
        out.iter_mut().zip(numbers).for_each(|(to, (number, origin))| *to = factor * (number - origin));
    };
    filled(rayon::current_num_threads(), numbers.len().div_ceil(CHUNK), out, Size::NONE, task).0
}

/// `factor · w`.
#[must_use]
pub fn scaled(numbers: &[f32], factor: f32) -> Vec<f32> {
    let out = Size::any(numbers.len(), CHUNK);
    let task = |number, out: &mut [f32], _: &mut [u8]| {
        out.iter_mut().zip(&numbers[number * CHUNK..]).for_each(|(to, number)| *to = factor * number);
    };
    filled(rayon::current_num_threads(), numbers.len().div_ceil(CHUNK), out, Size::NONE, task).0
}
