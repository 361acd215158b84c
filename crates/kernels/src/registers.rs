//! Registers of fewer numbers than they have lanes.

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
