//! Registers of fewer numbers than they have lanes.

use std::ops::Range;

use pulp::Simd;

/// A register, with zeros behind the numbers where they are fewer.
#[inline(always)]
pub(super) fn load<S: Simd>(simd: S, numbers: &[f32]) -> S::f32s {
    match S::as_simd_f32s(numbers).0.first() {
        Some(register) => *register,
        None => simd.partial_load_f32s(numbers),
    }
}

/// Stores the first numbers of a register.
#[inline(always)]
pub(super) fn store<S: Simd>(simd: S, numbers: &mut [f32], register: S::f32s) {
    match S::as_mut_simd_f32s(numbers).0.first_mut() {
        Some(to) => *to = register,
        None => simd.partial_store_f32s(numbers, register),
    }
}

/// Calls `visit` with the first number of each register and how many it has: all lanes, but for the last one.
#[inline(always)]
pub(super) fn for_each_register<S: Simd>(numbers: Range<usize>, mut visit: impl FnMut(usize, usize)) {
    let last = numbers.len() % S::F32_LANES;
    let whole = numbers.start..numbers.end - last;
    for first in whole.clone().step_by(S::F32_LANES) {
        visit(first, S::F32_LANES);
    }
    if last > 0 {
        visit(whole.end, last);
    }
}
