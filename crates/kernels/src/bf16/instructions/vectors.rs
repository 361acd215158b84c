//! Products by vectors of pairs of numbers: `vdpbf16ps` of AVX-512.
#![expect(unsafe_code, reason = "vectors are read and written by pointers")]

use core::arch::x86_64::{
    __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
};
use core::mem::transmute;

use crate::bf16::{Product, SIDE, STEP, TILE};

/// Rows whose sums stay in registers together.
const ROWS: usize = 8;

/// Writes the product to 16 or 32 rows, each `stride` numbers after the one before; or adds it to them, if it is not the first.
///
/// # Safety
///
/// The processor has the instructions, and the slices hold what is read and written.
#[inline]
pub(super) unsafe fn multiply(product: &Product, to: &mut [f32], stride: usize, is_first: bool) {
    let multiply = if product.is_wide { some_rows::<2> } else { some_rows::<1> };
    for (half, left) in [Some(0), product.second].into_iter().flatten().enumerate() {
        for row in (0..SIDE).step_by(ROWS) {
            let to = to.as_mut_ptr().wrapping_add((half * SIDE + row) * stride);
            // SAFETY: the caller says so.
            unsafe { multiply(product, left + row * product.stride, to, stride, is_first) };
        }
    }
}

/// The rows whose first number on the left is `first`.
///
/// # Safety
///
/// As [`multiply`].
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn some_rows<const TILES: usize>(product: &Product, first: usize, to: *mut f32, stride: usize, is_first: bool) {
    // SAFETY: the caller says that the slices hold what is read and written.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); TILES]; ROWS];
        if !is_first {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (tile, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_loadu_ps(to.add(row * stride + tile * SIDE));
                }
            }
        }
        for run in product.runs {
            for step in 0..run.steps {
                let left = product.left.as_ptr().add(first + run.left + step * product.step);
                let right = product.right.as_ptr().add((run.right + step) * TILES * TILE);
                for pair in 0..STEP / 2 {
                    let mut columns = [_mm512_loadu_si512(right.add(pair * STEP).cast()); TILES];
                    for (tile, columns) in columns.iter_mut().enumerate().skip(1) {
                        *columns = _mm512_loadu_si512(right.add(tile * TILE + pair * STEP).cast());
                    }
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let numbers = _mm512_set1_epi32(left.add(row * product.stride + 2 * pair).cast::<i32>().read_unaligned());
                        for (sum, columns) in sums.iter_mut().zip(columns) {
                            *sum = _mm512_dpbf16_ps(*sum, transmute::<__m512i, __m512bh>(numbers), transmute::<__m512i, __m512bh>(columns));
                        }
                    }
                }
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (tile, sum) in sums.into_iter().enumerate() {
                _mm512_storeu_ps(to.add(row * stride + tile * SIDE), sum);
            }
        }
    }
}
