//! What rounds numbers, and brings them into the order of products.
#![expect(unsafe_code, reason = "vectors are read and written by pointers")]

use core::arch::x86_64::{
    __m256bh, __m256i, __m512bh, __m512i, _mm256_mask_storeu_epi16, _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_maskz_loadu_ps, _mm512_permutexvar_epi16, _mm512_shuffle_i32x4, _mm512_storeu_si512, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use core::mem::transmute;

use crate::bf16::{Bf16, Pixels, SIDE, STEP, TILE};

/// Rounds the numbers to bfloat16.
///
/// # Panics
///
/// When `to` is shorter.
#[inline]
pub(in crate::bf16) fn round(_: Bf16, from: &[f32], to: &mut [u16]) {
    assert!(to.len() >= from.len(), "{} numbers for {}", to.len(), from.len());
    // SAFETY: `Bf16` proves that the processor has the instructions; `to` is long enough.
    unsafe { round_all(from, to) };
}

/// # Safety
///
/// `to` is at least as long as `from`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn round_all(from: &[f32], to: &mut [u16]) {
    let (count, from, to) = (from.len(), from.as_ptr(), to.as_mut_ptr());
    let mut first = 0;
    while first + STEP <= count {
        // SAFETY: there are 32 more numbers of both.
        unsafe {
            let [low, high] = [first, first + SIDE].map(|at| _mm512_loadu_ps(from.add(at)));
            _mm512_storeu_si512(to.add(first).cast(), transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)));
        }
        first += STEP;
    }
    while first < count {
        let some = (count - first).min(SIDE);
        // SAFETY: only these few numbers are read and written.
        unsafe {
            let numbers = _mm512_maskz_loadu_ps(mask(some), from.add(first));
            _mm256_mask_storeu_epi16(to.add(first).cast(), mask(some), transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(numbers)));
        }
        first += some;
    }
}

/// Rounds numbers, and writes each 32 of them `distance` numbers after those before.
///
/// # Panics
///
/// When they are no multiple of 32, or `to` is too short.
#[inline]
pub(in crate::bf16) fn spread(_: Bf16, from: &[f32], to: &mut [u16], distance: usize) {
    let steps = from.len() / STEP;
    assert!(from.len() == steps * STEP, "{} numbers", from.len());
    assert!(to.len() >= steps.saturating_sub(1) * distance + STEP, "{} numbers for {steps} steps", to.len());
    // SAFETY: `Bf16` proves that the processor has the instructions; `to` is long enough.
    unsafe { spread_all(from, to.as_mut_ptr(), distance) };
}

/// # Safety
///
/// `to` holds what is written.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn spread_all(from: &[f32], to: *mut u16, distance: usize) {
    for (step, numbers) in from.chunks_exact(STEP).enumerate() {
        // SAFETY: there are 32 numbers, and the step has its place.
        unsafe {
            let [low, high] = [numbers.as_ptr(), numbers.as_ptr().add(SIDE)].map(|at| _mm512_loadu_ps(at));
            _mm512_storeu_si512(to.add(step * distance).cast(), transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)));
        }
    }
}

/// The lanes of `count` numbers.
const fn mask(count: usize) -> u16 {
    if count >= SIDE { u16::MAX } else { (1 << count) - 1 }
}

/// The order in which the halves of a register are mixed: a number of the lower half, one of the upper, and so on.
const MIXED: [u16; STEP] =
    [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31];

/// The first 16 numbers of two lists, rounded, in pairs; zeros where there is no list or it ends.
///
/// # Safety
///
/// `count` numbers can be read through both pointers that are not null.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[inline]
unsafe fn pair(lists: [*const f32; 2], count: usize) -> __m512i {
    // SAFETY: no more than `count` numbers are read, and none through a null pointer.
    unsafe {
        let [low, high] = lists.map(|list| _mm512_maskz_loadu_ps(if list.is_null() { 0 } else { mask(count) }, list));
        let order = _mm512_loadu_si512(MIXED.as_ptr().cast());
        _mm512_permutexvar_epi16(order, transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)))
    }
}

/// Writes a row of each tile from number `first` on: the numbers of two lists of `length`, rounded, in pairs. No list is zeros. Tiles lie in twos, each two `twos` numbers after those
/// before; `to` begins with the row of the first of all.
///
/// # Panics
///
/// When a list has another length, or `to` is too short.
#[inline]
pub(in crate::bf16) fn pairs(_: Bf16, lists: [Option<&[f32]>; 2], length: usize, to: &mut [u16], [first, twos]: [usize; 2]) {
    assert!(lists.iter().flatten().all(|list| list.len() == length), "lists of {length}");
    let last = first + length.div_ceil(SIDE).saturating_sub(1);
    // The second of two tiles lies behind the first.
    let end = (last / 2 * twos + last % 2 * TILE).max(if last > first { (last - 1) / 2 * twos + (last - 1) % 2 * TILE } else { 0 }) + STEP;
    assert!(to.len() >= end, "{} numbers for {length}", to.len());
    // SAFETY: `Bf16` proves that the processor has the instructions; lengths have been checked.
    unsafe { all_pairs(lists.map(|list| list.map_or(core::ptr::null(), <[f32]>::as_ptr)), length, to.as_mut_ptr(), [first, twos]) };
}

/// # Safety
///
/// Lists that are not null hold `length` numbers, and `to` the tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn all_pairs(lists: [*const f32; 2], length: usize, to: *mut u16, [first, twos]: [usize; 2]) {
    for number in 0..length.div_ceil(SIDE) {
        let (done, tile) = (number * SIDE, first + number);
        let at = lists.map(|list| if list.is_null() { list } else { list.wrapping_add(done) });
        // SAFETY: the lists have `length - done` more numbers, and `to` has this tile.
        unsafe { _mm512_storeu_si512(to.add(tile / 2 * twos + tile % 2 * TILE).cast(), pair(at, length - done)) };
    }
}

/// Rounds 16 channels of up to 32 pixels, and writes each channel to a row: 16 rows of 32, each `stride` numbers after the one before. Pixels and channels that are missing are zeros.
///
/// # Panics
///
/// When there are more pixels or no channels, or a slice is too short.
#[inline]
pub(in crate::bf16) fn columns(_: Bf16, pixels: Pixels, to: &mut [u16], stride: usize) {
    let Pixels { numbers, count, distance, channels } = pixels;
    assert!(count <= STEP && channels > 0, "{count} pixels of {channels} channels");
    assert!(numbers.len() >= count.saturating_sub(1) * distance + channels.min(SIDE), "{count} pixels in {}", numbers.len());
    assert!(to.len() >= (SIDE - 1) * stride + STEP, "{} numbers for a tile", to.len());
    // SAFETY: `Bf16` proves that the processor has the instructions; lengths have been checked.
    unsafe { all_columns(pixels, to.as_mut_ptr(), stride) };
}

/// # Safety
///
/// `numbers` holds the pixels, and `to` a tile.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn all_columns(Pixels { numbers, count, distance, channels }: Pixels, to: *mut u16, stride: usize) {
    let at = |pixel: usize| if pixel < count { numbers.as_ptr().wrapping_add(pixel * distance) } else { core::ptr::null() };
    // SAFETY: the pixels have these channels.
    let rows: [__m512i; SIDE] = core::array::from_fn(|row| unsafe { pair([at(2 * row), at(2 * row + 1)], channels) });
    // Transposes 16×16 pairs: first in each 128 bits of four rows, then these among the rows.
    let mut fours = rows;
    for first in (0..SIDE).step_by(4) {
        let [a, b, c, d] = [rows[first], rows[first + 1], rows[first + 2], rows[first + 3]];
        let [low, high] = [_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)];
        let [low_2, high_2] = [_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d)];
        fours[first] = _mm512_unpacklo_epi64(low, low_2);
        fours[first + 1] = _mm512_unpackhi_epi64(low, low_2);
        fours[first + 2] = _mm512_unpacklo_epi64(high, high_2);
        fours[first + 3] = _mm512_unpackhi_epi64(high, high_2);
    }
    for column in 0..4 {
        let [a, b, c, d] = [fours[column], fours[4 + column], fours[8 + column], fours[12 + column]];
        let [even_low, odd_low] = [_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b)];
        let [even_high, odd_high] = [_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d)];
        let found = [
            _mm512_shuffle_i32x4::<0x88>(even_low, even_high),
            _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high),
            _mm512_shuffle_i32x4::<0xdd>(even_low, even_high),
            _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high),
        ];
        for (quarter, row) in found.into_iter().enumerate() {
            // SAFETY: `to` holds 16 rows.
            unsafe { _mm512_storeu_si512(to.add((4 * quarter + column) * stride).cast(), row) };
        }
    }
}
