//! Buffers that all threads fill. Each task clears its own chunk where it has to: when one thread did that for the whole buffer while the others
//! waited, it took a tenth of a training step.

use std::ops::Range;

use rayon::prelude::*;

use crate::buffers::{self, Number};

/// A buffer to be made.
#[derive(Clone, Copy)]
pub(super) struct Size {
    /// Its numbers.
    length: usize,
    /// How many of them a task fills; the last ones fewer or none.
    per_task: usize,
    /// Whether they are zeros at first.
    is_cleared: bool,
}

impl Size {
    /// None.
    pub(super) const NONE: Self = Self::any(0, 0);

    /// `length` numbers of any value, of which a task writes `per_task`.
    pub(super) const fn any(length: usize, per_task: usize) -> Self {
        Self { length, per_task, is_cleared: false }
    }

    /// `length` zeros.
    pub(super) const fn zeros(length: usize, per_task: usize) -> Self {
        Self { length, per_task, is_cleared: true }
    }

    fn clear<'a, T: Number>(&self, chunk: &'a mut [T]) -> &'a mut [T] {
        if self.is_cleared {
            chunk.fill(T::zeroed());
        }
        chunk
    }
}

type Task<'a, A, B, R> = dyn Fn(usize, &mut [A], &mut [B]) -> R + Sync + 'a;

/// Two buffers, and what the tasks return, in order. A task gets its number and its chunk of both buffers. With `threads` 1 the caller's thread does all
/// of them.
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
    A: Number,
    B: Number,
    R: Send,
{
    let (mut made_a, mut made_b) = (buffers::any(a.length), buffers::any(b.length));
    let (mut rest_a, mut rest_b) = (made_a.as_mut_slice(), made_b.as_mut_slice());
    let mut chunks = Vec::with_capacity(tasks);
    for _ in 0..tasks {
        let chunk_a = rest_a.split_off_mut(..a.per_task.min(rest_a.len())).unwrap_or_default();
        let chunk_b = rest_b.split_off_mut(..b.per_task.min(rest_b.len())).unwrap_or_default();
        chunks.push((chunk_a, chunk_b));
    }
    assert!(rest_a.is_empty() && rest_b.is_empty(), "{tasks} tasks do not fill {} and {} numbers", a.length, b.length);
    // One copy of a kernel's code for both.
    let task: &Task<A, B, R> = &task;
    let task = |(number, (chunk_a, chunk_b))| task(number, a.clear(chunk_a), b.clear(chunk_b));
    let results = if threads == 1 {
        chunks.into_iter().enumerate().map(task).collect()
    } else {
        chunks.into_par_iter().enumerate().map(task).collect()
    };
    (made_a, made_b, results)
}

/// A buffer of chunks of these lengths, and what the tasks return, in order. Chunks are filled in batches of `batch`: `before` gets the numbers of those of the next
/// batch and may change the state, then a task for each gets the state, its number and its chunk, of any values. With `threads` 1 the caller's thread does all tasks.
pub(super) fn filled_in_batches<St: Sync, R: Send>(
    threads: usize,
    lengths: &[usize],
    batch: usize,
    state: &mut St,
    mut before: impl FnMut(&mut St, Range<usize>),
    task: impl Fn(&St, usize, &mut [f32]) -> R + Sync,
) -> (Vec<f32>, Vec<R>) {
    let mut made = buffers::any(lengths.iter().sum());
    let mut rest = made.as_mut_slice();
    let mut results = Vec::with_capacity(lengths.len());
    for (index, lengths) in lengths.chunks(batch.max(1)).enumerate() {
        let first = index * batch.max(1);
        before(state, first..first + lengths.len());
        let mut chunks: Vec<&mut [f32]> = Vec::with_capacity(lengths.len());
        for length in lengths {
            chunks.push(rest.split_off_mut(..*length).unwrap_or_default());
        }
        let state = &*state;
        let task = |(number, chunk)| task(state, first + number, chunk);
        if threads == 1 {
            results.extend(chunks.into_iter().enumerate().map(task));
        } else {
            results.par_extend(chunks.into_par_iter().enumerate().map(task));
        }
    }
    (made, results)
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
            let (a, b, lengths) = filled(threads, 4, Size::zeros(5, 2), Size::zeros(3, 1), task);
            assert_eq!((a, b, lengths), (vec![1.0, 1.0, 2.0, 2.0, 3.0], vec![9; 3], vec![2, 2, 1, 0]));
        }
    }

    #[test]
    #[should_panic(expected = "2 tasks do not fill 5 and 0 numbers")]
    fn too_few_tasks_are_refused() {
        let _ = filled(1, 2, Size::any(5, 2), Size::NONE, |_, _: &mut [f32], _: &mut [u8]| ());
    }
}
