//! Work on the caller's thread or on all.

use rayon::prelude::*;

/// Numbers that take longer to compute than another thread takes to begin.
pub(super) const WORTHWHILE: usize = 1 << 14;

/// Calls `work` with the number of each `size` of `numbers` and with them; the last ones may be fewer. With `threads` 1 on the caller's thread.
pub(super) fn each_chunk(threads: usize, numbers: &mut [f32], size: usize, work: &(dyn Fn(usize, &mut [f32]) + Sync)) {
    if threads == 1 {
        numbers.chunks_mut(size).enumerate().for_each(|(number, chunk)| work(number, chunk));
    } else {
        numbers.par_chunks_mut(size).enumerate().for_each(|(number, chunk)| work(number, chunk));
    }
}
