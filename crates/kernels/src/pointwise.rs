//! Elementwise operations, in place. With `threads` 1 the caller's thread does all.

use pulp::{Simd, WithSimd};

use crate::gelu;
use crate::registers::{load, store};
use crate::simd::Path;
use crate::split::{WORTHWHILE, each_chunk};

/// max(x, 0); NaN stays NaN.
pub fn relu(path: Path, numbers: &mut [f32], threads: usize) {
    change(path, numbers, threads, |number| if number <= 0.0 { 0.0 } else { number });
}

/// min(max(x, 0), 6); NaN stays NaN.
pub fn relu6(path: Path, numbers: &mut [f32], threads: usize) {
    change(path, numbers, threads, |number| {
        let number = if number <= 0.0 { 0.0 } else { number };
        if number >= 6.0 { 6.0 } else { number }
    });
}

/// z·Φ(z), as [`crate::epilogue::Activation::Gelu`]; NaN stays NaN.
pub fn gelu(path: Path, numbers: &mut [f32], threads: usize) {
    each_chunk(threads, numbers, WORTHWHILE, &|_, numbers| path.run(Gelu { numbers }));
}

/// Adds `from` to `to`, number by number.
///
/// # Panics
///
/// When they are not of the same length.
pub fn add(path: Path, to: &mut [f32], from: &[f32], threads: usize) {
    assert_eq!(to.len(), from.len(), "summands of the same length");
    each_chunk(threads, to, WORTHWHILE, &|number, to| {
        path.run(Add { from: &from[number * WORTHWHILE..][..to.len()], to });
    });
}

/// Subtracts `from` from `to`, number by number.
///
/// # Panics
///
/// When they are not of the same length.
pub fn subtract(path: Path, to: &mut [f32], from: &[f32], threads: usize) {
    assert_eq!(to.len(), from.len(), "minuend and subtrahend of the same length");
    each_chunk(threads, to, WORTHWHILE, &|number, to| {
        path.run(Subtract { from: &from[number * WORTHWHILE..][..to.len()], to });
    });
}

fn change(path: Path, numbers: &mut [f32], threads: usize, change: impl Fn(f32) -> f32 + Copy + Sync + Send) {
    each_chunk(threads, numbers, WORTHWHILE, &|_, numbers| path.run(Each { numbers, change }));
}

struct Each<'a, F> {
    numbers: &'a mut [f32],
    change: F,
}

impl<F: Fn(f32) -> f32> WithSimd for Each<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.numbers.iter_mut().for_each(|number| *number = (self.change)(*number));
    }
}

struct Gelu<'a> {
    numbers: &'a mut [f32],
}

impl WithSimd for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for numbers in self.numbers.chunks_mut(S::F32_LANES) {
            let z = load(simd, numbers);
            store(simd, numbers, gelu::of(simd, z));
        }
    }
}

struct Add<'a> {
    to: &'a mut [f32],
    from: &'a [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.to.iter_mut().zip(self.from).for_each(|(to, from)| *to += from);
    }
}

struct Subtract<'a> {
    to: &'a mut [f32],
    from: &'a [f32],
}

impl WithSimd for Subtract<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.to.iter_mut().zip(self.from).for_each(|(to, from)| *to -= from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epilogue::{self, Activation, Affine, Sizes, Steps};

    #[test]
    fn activations_cut_off_and_let_nan_through() {
        let numbers = [-1.0, -0.0, 0.0, 2.5, 6.0, 7.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        for path in Path::all() {
            for threads in [1, 2] {
                let [mut relued, mut relued6] = [numbers, numbers];
                relu(path, &mut relued, threads);
                relu6(path, &mut relued6, threads);
                assert_eq!(relued[..8], [0.0, 0.0, 0.0, 2.5, 6.0, 7.0, f32::INFINITY, 0.0]);
                assert_eq!(relued6[..8], [0.0, 0.0, 0.0, 2.5, 6.0, 6.0, 6.0, 0.0]);
                assert!(relued[8].is_nan() && relued6[8].is_nan());
                assert!(relued[1].is_sign_positive() && relued6[1].is_sign_positive());
            }
        }
    }

    #[test]
    fn gelu_is_that_of_what_follows_a_convolution() {
        let numbers: Vec<f32> = (-20_000_i16..20_001).map(|number| f32::from(number) / 2000.0).collect();
        let sizes = Sizes { batch: numbers.len(), height: 1, width: 1, channels: 1 };
        for (path, threads) in Path::all().into_iter().zip([1, 2].into_iter().cycle()) {
            let mut found = numbers.clone();
            gelu(path, &mut found, threads);
            let steps = Steps { activation: Activation::Gelu, ..Steps::default() };
            assert_eq!(found, epilogue::forward(path, sizes, steps, &numbers, &Affine::bias(&[0.0]), &[], 1));
        }
    }

    #[test]
    fn every_number_is_added_to_and_subtracted_from_its_own() {
        let from: Vec<f32> = (0..40_000_u16).map(f32::from).collect();
        for (path, threads) in Path::all().into_iter().zip([1, 2].into_iter().cycle()) {
            let mut to: Vec<f32> = from.iter().map(|number| 2.0 * number).collect();
            add(path, &mut to, &from, threads);
            assert_eq!(to, from.iter().map(|number| 3.0 * number).collect::<Vec<f32>>());
            subtract(path, &mut to, &from, threads);
            assert_eq!(to, from.iter().map(|number| 2.0 * number).collect::<Vec<f32>>());
        }
    }
}
