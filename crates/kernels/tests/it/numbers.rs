//! Numbers to compute with, and how to compare them.

/// Numbers from −1 to 1 by a 64-bit mixer (Steele, Lea and Flood 2014).
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    (0..count).map(|_| (next() >> 40) as f32 / 8_388_608.0 - 1.0).collect()
}

/// The bits of numbers.
pub(crate) fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// Whether `found` are `expected` but for the rounding of sums whose summands are together `size` at most. Numbers that are not finite must be the
/// same.
#[expect(clippy::cast_possible_truncation, reason = "infinities")]
pub(crate) fn are_close(found: &[f32], expected: &[f64], size: f64) -> bool {
    let is_close = |(found, expected): (&f32, &f64)| {
        let distance = (f64::from(*found) - expected).abs();
        distance <= 1e-6 * (1.0 + size) || bits(&[*found])[0] == bits(&[*expected as f32])[0] || found.is_nan() && expected.is_nan()
    };
    found.len() == expected.len() && found.iter().zip(expected).all(is_close)
}
