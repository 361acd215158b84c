//! Matrices in panels of a few registers of columns, and products with them.

use pulp::Simd;
use rayon::prelude::*;

use crate::buffers;
use crate::simd::Path;

/// Registers of columns that are computed together.
#[inline]
pub(super) fn widest(registers: usize) -> usize {
    if registers >= 32 { 4 } else { 2 }
}

/// Splits `registers` registers of columns into panels of at most `widest`: first register and width of each.
#[inline(always)]
pub(super) fn panels(mut left: usize, widest: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let width = [4, 2, 1].into_iter().find(|width| *width <= widest && *width <= left)?;
        let panel = (first, width);
        first += width;
        left -= width;
        Some(panel)
    })
}

/// `size` numbers for each of the columns of all registers, panel by panel; `fill` writes all of one, given its first column and how many it has.
/// On all threads, if `parallel` says so.
pub(super) fn packed(
    path: Path,
    registers: usize,
    size: usize,
    parallel: bool,
    fill: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let mut numbers = buffers::any(size * registers * path.lanes);
    pack(path, registers, size, parallel, &mut numbers, fill);
    numbers
}

/// The same in memory for them.
pub(super) fn pack(
    path: Path,
    registers: usize,
    size: usize,
    parallel: bool,
    mut rest: &mut [f32],
    fill: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    let mut slices = Vec::new();
    for (first, width) in panels(registers, widest(path.registers)) {
        let (slice, after) = rest.split_at_mut(size * width * path.lanes);
        slices.push((first * path.lanes, width * path.lanes, slice));
        rest = after;
    }
    let fill = |(first, columns, slice)| fill(first, columns, slice);
    if parallel {
        slices.into_par_iter().for_each(fill);
    } else {
        slices.into_iter().for_each(fill);
    }
}

/// The rows of a matrix, or of the transpose of one.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) numbers: &'a [f32],
    /// Numbers from one row to the next.
    pub(super) stride: usize,
    pub(super) count: usize,
}

/// The rows times a panel of `width` registers, `[row, register]` in `to`, where a row begins every `stride` registers.
#[inline(always)]
pub(super) fn multiply<S: Simd>(simd: S, rows: Rows, width: usize, panel: &[S::f32s], to: &mut [S::f32s], stride: usize) {
    match width {
        4 => multiply_by::<S, 4>(simd, rows, panel, to, stride),
        2 => multiply_by::<S, 2>(simd, rows, panel, to, stride),
        _ => multiply_by::<S, 1>(simd, rows, panel, to, stride),
    }
}

#[inline(always)]
fn multiply_by<S: Simd, const V: usize>(simd: S, rows: Rows, panel: &[S::f32s], to: &mut [S::f32s], stride: usize) {
    // Chunks of nearly the same size, so that none is so small that its sums wait for each other.
    let chunks = rows.count.div_ceil(6);
    for chunk in 0..chunks {
        let (first, end) = (chunk * rows.count / chunks, (chunk + 1) * rows.count / chunks);
        let (numbers, to) = (&rows.numbers[first * rows.stride..], &mut to[first * stride..]);
        match end - first {
            6 => block::<S, 6, V>(simd, numbers, rows.stride, panel, to, stride),
            5 => block::<S, 5, V>(simd, numbers, rows.stride, panel, to, stride),
            4 => block::<S, 4, V>(simd, numbers, rows.stride, panel, to, stride),
            3 => block::<S, 3, V>(simd, numbers, rows.stride, panel, to, stride),
            2 => block::<S, 2, V>(simd, numbers, rows.stride, panel, to, stride),
            _ => block::<S, 1, V>(simd, numbers, rows.stride, panel, to, stride),
        }
    }
}

/// `R` rows times a panel of `V` registers.
#[inline(always)]
pub(super) fn block<S: Simd, const R: usize, const V: usize>(
    simd: S,
    numbers: &[f32],
    row: usize,
    panel: &[S::f32s],
    to: &mut [S::f32s],
    stride: usize,
) {
    let (panel, _) = panel.as_chunks::<V>();
    let mut rows = [&numbers[..0]; R];
    for r in 0..R {
        rows[r] = &numbers[r * row..][..panel.len()];
    }
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for (index, line) in panel.iter().enumerate() {
        for r in 0..R {
            let number = simd.splat_f32s(rows[r][index]);
            for v in 0..V {
                sums[r][v] = simd.mul_add_e_f32s(number, line[v], sums[r][v]);
            }
        }
    }
    for r in 0..R {
        to[r * stride..][..V].copy_from_slice(&sums[r]);
    }
}

/// Adds the products of the columns of `left` with a panel of `width` registers of `right`, which have the same rows, to `to`, `[column of left, register]`; or writes them
/// there, if they are the first.
#[inline(always)]
pub(super) fn add_products<S: Simd>(
    simd: S,
    left: Rows,
    columns: usize,
    (right, right_stride): (&[S::f32s], usize),
    width: usize,
    to: &mut [S::f32s],
    are_first: bool,
) {
    match width {
        4 => add_products_by::<S, 4>(simd, left, columns, right, right_stride, to, are_first),
        2 => add_products_by::<S, 2>(simd, left, columns, right, right_stride, to, are_first),
        _ => add_products_by::<S, 1>(simd, left, columns, right, right_stride, to, are_first),
    }
}

#[inline(always)]
fn add_products_by<S: Simd, const V: usize>(
    simd: S,
    left: Rows,
    columns: usize,
    right: &[S::f32s],
    right_stride: usize,
    to: &mut [S::f32s],
    are_first: bool,
) {
    let chunks = columns.div_ceil(6);
    for chunk in 0..chunks {
        let (first, end) = (chunk * columns / chunks, (chunk + 1) * columns / chunks);
        let (numbers, to) = (&left.numbers[first..], &mut to[first * V..]);
        match end - first {
            6 => add_block::<S, 6, V>(simd, numbers, left, right, right_stride, to, are_first),
            5 => add_block::<S, 5, V>(simd, numbers, left, right, right_stride, to, are_first),
            4 => add_block::<S, 4, V>(simd, numbers, left, right, right_stride, to, are_first),
            3 => add_block::<S, 3, V>(simd, numbers, left, right, right_stride, to, are_first),
            2 => add_block::<S, 2, V>(simd, numbers, left, right, right_stride, to, are_first),
            _ => add_block::<S, 1, V>(simd, numbers, left, right, right_stride, to, are_first),
        }
    }
}

#[inline(always)]
fn add_block<S: Simd, const R: usize, const V: usize>(
    simd: S,
    numbers: &[f32],
    Rows { stride, count, .. }: Rows,
    right: &[S::f32s],
    right_stride: usize,
    to: &mut [S::f32s],
    are_first: bool,
) {
    let (to, _) = to[..R * V].as_chunks_mut::<V>();
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    if !are_first {
        sums.copy_from_slice(to);
    }
    for row in 0..count {
        let (left, right) = (&numbers[row * stride..][..R], &right[row * right_stride..][..V]);
        for r in 0..R {
            let number = simd.splat_f32s(left[r]);
            for v in 0..V {
                sums[r][v] = simd.mul_add_e_f32s(number, right[v], sums[r][v]);
            }
        }
    }
    to.copy_from_slice(&sums);
}
