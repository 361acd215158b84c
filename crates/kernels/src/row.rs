//! A single row times a matrix.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::dense::Matrix;
use super::simd::Path;

/// Registers of columns summed at once.
const WIDTH: usize = 4;

/// Weights that take longer to read than another thread takes to begin.
const WORTHWHILE: usize = 1 << 14;

/// The first columns of `row·weights`, as many as `out` has, whole registers. The weights lie row by row.
pub(super) fn product(path: Path, row: &[f32], weights: Matrix, out: &mut [f32], threads: usize) {
    let (numbers, [_, columns]) = (weights.numbers, weights.shape);
    let block = WIDTH * path.lanes;
    let compute = |number: usize, out| path.run(Block { row, weights: &numbers[number * block..], columns, out });
    if threads == 1 || row.len() * block < WORTHWHILE {
        out.chunks_mut(block).enumerate().for_each(|(number, out)| compute(number, out));
    } else {
        out.par_chunks_mut(block).enumerate().for_each(|(number, out)| compute(number, out));
    }
}

/// A block of columns of the product; `weights` begins with the first of them.
struct Block<'a> {
    row: &'a [f32],
    weights: &'a [f32],
    columns: usize,
    out: &'a mut [f32],
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (out, _) = S::as_mut_simd_f32s(self.out);
        if let Some(out) = out.first_chunk_mut() {
            *out = sums::<S, WIDTH>(simd, self.row, self.weights, self.columns);
        } else {
            for (register, out) in out.iter_mut().enumerate() {
                [*out] = sums::<S, 1>(simd, self.row, &self.weights[register * S::F32_LANES..], self.columns);
            }
        }
    }
}

/// The first `V` registers of the product.
#[inline(always)]
fn sums<S: Simd, const V: usize>(simd: S, row: &[f32], weights: &[f32], columns: usize) -> [S::f32s; V] {
    // Two sums of each, because an addition waits for the one before it. Counted loops: the standard library's iterators over chunks are not always built in.
    let mut sums = [[simd.splat_f32s(0.0); V]; 2];
    let mut add = |sum: usize, index: usize| {
        let (weights, _) = S::as_simd_f32s(&weights[index * columns..][..V * S::F32_LANES]);
        let number = simd.splat_f32s(row[index]);
        for v in 0..V {
            sums[sum][v] = simd.mul_add_e_f32s(number, weights[v], sums[sum][v]);
        }
    };
    for pair in 0..row.len() / 2 {
        add(0, 2 * pair);
        add(1, 2 * pair + 1);
    }
    if row.len() % 2 == 1 {
        add(0, row.len() - 1);
    }
    let [mut all, odd] = sums;
    for v in 0..V {
        all[v] = simd.add_f32s(all[v], odd[v]);
    }
    all
}
