//! New buffers that all threads fill. Each task sets its own chunk to zero first: when one thread did that for the whole buffer while the others
//! waited, it took a tenth of a training step.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytemuck::Zeroable;
use rayon::prelude::*;

/// A buffer to be made.
#[derive(Clone, Copy)]
pub(super) struct Size {
    /// Its numbers.
    pub(super) length: usize,
    /// How many of them a task fills; the last ones fewer or none.
    pub(super) per_task: usize,
}

impl Size {
    /// None.
    pub(super) const NONE: Self = Self { length: 0, per_task: 0 };
}

type Task<'a, A, B, R> = dyn Fn(usize, &mut [A], &mut [B]) -> R + Sync + 'a;

/// Two buffers, and what the tasks return, in order. A task gets its number and its chunk of both buffers, filled with zeros. With `threads` 1 the
/// caller's thread does all of them.
///
/// # Panics
///
/// When the tasks are too few to fill both.
pub(super) fn filled<A, B, R>(
    threads: usize,
    tasks: usize,
    a: Size,
    b: Size,
    task: impl Fn(usize, &mut [A], &mut [B]) -> R + Sync,
) -> (Vec<A>, Vec<B>, Vec<R>)
where
    A: Zeroable + Send,
    B: Zeroable + Send,
    R: Send,
{
    let (mut made_a, mut made_b) = (Vec::with_capacity(a.length), Vec::with_capacity(b.length));
    let (mut rest_a, mut rest_b) = (&mut made_a.spare_capacity_mut()[..a.length], &mut made_b.spare_capacity_mut()[..b.length]);
    let mut chunks = Vec::with_capacity(tasks);
    for _ in 0..tasks {
        let chunk_a = rest_a.split_off_mut(..a.per_task.min(rest_a.len())).unwrap_or_default();
        let chunk_b = rest_b.split_off_mut(..b.per_task.min(rest_b.len())).unwrap_or_default();
        chunks.push((chunk_a, chunk_b));
    }
    assert!(rest_a.is_empty() && rest_b.is_empty(), "{tasks} tasks do not fill {} and {} numbers", a.length, b.length);
    // One copy of a kernel's code for both.
    let task: &Task<A, B, R> = &task;
    let results = if threads == 1 {
        chunks.into_iter().enumerate().map(|(number, (a, b))| task(number, zeros(a), zeros(b))).collect()
    } else {
        chunks.into_par_iter().enumerate().map(|(number, (a, b))| task(number, zeros(a), zeros(b))).collect()
    };
    #[expect(unsafe_code, reason = "a vector can't know that its spare numbers have been written")]
    // SAFETY: the chunks were all of the `length` numbers of both, and `zeros` has written each: had a task panicked, so would `collect`.
    unsafe {
        made_a.set_len(a.length);
        made_b.set_len(b.length);
    }
    (made_a, made_b, results)
}

/// A buffer of chunks of these lengths, and what the tasks return, in order. Chunks are filled in batches of `batch`: `before` gets the numbers of those of the next
/// batch and may change the state, then a task for each gets the state, its number and its chunk, filled with zeros. With `threads` 1 the caller's thread does all tasks.
pub(super) fn filled_in_batches<St: Sync, R: Send>(
    threads: usize,
    lengths: &[usize],
    batch: usize,
    state: &mut St,
    mut before: impl FnMut(&mut St, Range<usize>),
    task: impl Fn(&St, usize, &mut [f32]) -> R + Sync,
) -> (Vec<f32>, Vec<R>) {
    let length = lengths.iter().sum();
    let mut made: Vec<f32> = Vec::with_capacity(length);
    let mut rest = &mut made.spare_capacity_mut()[..length];
    let mut results = Vec::with_capacity(lengths.len());
    for (index, lengths) in lengths.chunks(batch.max(1)).enumerate() {
        let first = index * batch.max(1);
        before(state, first..first + lengths.len());
        let mut chunks = Vec::with_capacity(lengths.len());
        for length in lengths {
            chunks.push(rest.split_off_mut(..*length).unwrap_or_default());
        }
        let state = &*state;
        let task = |(number, chunk)| task(state, first + number, zeros(chunk));
        if threads == 1 {
            results.extend(chunks.into_iter().enumerate().map(task));
        } else {
            results.par_extend(chunks.into_par_iter().enumerate().map(task));
        }
    }
    #[expect(unsafe_code, reason = "a vector can't know that its spare numbers have been written")]
    // SAFETY: the chunks were all of the `length` numbers, whose sum that is, and `zeros` has written each.
    unsafe {
        made.set_len(length);
    }
    (made, results)
}

fn zeros<T: Zeroable>(chunk: &mut [MaybeUninit<T>]) -> &mut [T] {
    #[expect(unsafe_code, reason = "one call of the C library; with a loop a step at batch 32 took 7 % longer")]
    // SAFETY: the bytes written are all of the chunk's, and bytes of zero are a value of a type that is `Zeroable`.
    unsafe {
        chunk.as_mut_ptr().write_bytes(0, chunk.len());
        chunk.assume_init_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_gets_its_chunk_filled_with_zeros() {
        let task = |number: usize, a: &mut [f32], b: &mut [u8]| {
            assert!(a.iter().all(|number| *number == 0.0) && b.iter().all(|number| *number == 0));
            a.fill(1.0 + f32::from(u8::try_from(number).unwrap()));
            b.iter_mut().for_each(|number| *number = 9);
            a.len()
        };
        for threads in [1, 2] {
            let (a, b, lengths) = filled(threads, 4, Size { length: 5, per_task: 2 }, Size { length: 3, per_task: 1 }, task);
            assert_eq!((a, b, lengths), (vec![1.0, 1.0, 2.0, 2.0, 3.0], vec![9; 3], vec![2, 2, 1, 0]));
        }
    }

    #[test]
    fn earlier_contents_are_overwritten() {
        let mut dirty = [MaybeUninit::new(1.0_f32); 5];
        assert_eq!(zeros(&mut dirty), [0.0; 5]);
    }

    #[test]
    #[should_panic(expected = "2 tasks do not fill 5 and 0 numbers")]
    fn too_few_tasks_are_refused() {
        let _ = filled(1, 2, Size { length: 5, per_task: 2 }, Size::NONE, |_, _: &mut [f32], _: &mut [u8]| ());
    }
}
