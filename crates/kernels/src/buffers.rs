//! Memory of tensors that are no longer needed, for the next ones of the same size. A training step needs the same sizes again and again, and new memory has its price: the
//! system gives it page by page, and clears it.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bytemuck::Pod;

use crate::scratch::{self, Line};

/// Smaller buffers are left to the allocator.
const SMALL: usize = 1 << 16;
/// A free buffer that was not used while this many were asked for is given back.
const MOST_AGE: u64 = 1024;

/// Buffers that are free.
pub struct Free<T> {
    /// Each with the time at which it became free.
    buffers: Vec<(u64, Vec<T>)>,
    /// How many buffers were asked for.
    time: u64,
}

impl<T> Free<T> {
    const NONE: Self = Self { buffers: Vec::new(), time: 0 };

    /// Takes out the smallest buffers, as many as have `bytes` together at most.
    fn remove(&mut self, bytes: usize) -> Vec<(u64, Vec<T>)> {
        let size = |(_, buffer): &(u64, Vec<T>)| buffer.capacity() * size_of::<T>();
        self.buffers.sort_by_key(size);
        let mut sum = 0;
        let is_removed = |buffer: &&(u64, Vec<T>)| {
            sum += size(buffer);
            sum <= bytes
        };
        let count = self.buffers.iter().take_while(is_removed).count();
        self.buffers.drain(..count).collect()
    }
}

/// What buffers hold.
pub trait Number: Pod + Send {
    /// The free ones of this type.
    fn free() -> &'static Mutex<Free<Self>>;
}

macro_rules! number {
    ($($type:ty)*) => { $(
        impl Number for $type {
            fn free() -> &'static Mutex<Free<Self>> {
                static FREE: Mutex<Free<$type>> = Mutex::new(Free::NONE);
                &FREE
            }
        }
    )* };
}

number!(f32 u8 Line);

static FILLS_WITH_NAN: AtomicBool = AtomicBool::new(false);

/// From now on buffers are NaN at first, so that a test sees what a kernel does not write.
#[doc(hidden)]
pub fn fill_with_nan() {
    FILLS_WITH_NAN.store(true, Ordering::Relaxed);
}

pub(super) fn fills_with_nan() -> bool {
    FILLS_WITH_NAN.load(Ordering::Relaxed)
}

/// `length` numbers of any value.
#[must_use]
pub fn any<T: Number>(length: usize) -> Vec<T> {
    let is_small = length * size_of::<T>() < SMALL;
    let mut buffer = (!is_small).then(|| reused(length)).flatten().unwrap_or_else(|| bytemuck::zeroed_vec(length));
    if fills_with_nan() {
        bytemuck::cast_slice_mut(&mut buffer).fill(u8::MAX);
    }
    buffer
}

fn reused<T: Number>(length: usize) -> Option<Vec<T>> {
    // Freed after the lock.
    let old: Vec<_>;
    let mut found = {
        let mut free = T::free().lock().unwrap_or_else(PoisonError::into_inner);
        free.time += 1;
        let time = free.time;
        old = free.buffers.extract_if(.., |(since, _)| *since + MOST_AGE < time).collect();
        let fits = |found: usize| found >= length && found <= length + length / 8;
        // Of equal ones the newest, so that those that are too many grow old.
        let key = |index: &usize| (free.buffers[*index].1.len(), Reverse(free.buffers[*index].0));
        let index = (0..free.buffers.len()).filter(|index| fits(free.buffers[*index].1.len())).min_by_key(key);
        index.map(|index| free.buffers.swap_remove(index).1)
    };
    drop(old);
    if let Some(found) = &mut found {
        found.truncate(length);
    }
    found
}

/// Takes a buffer that is no longer needed. It should be one of [`any`]: others would be taken in faster than they are asked for.
pub fn recycle<T: Number>(mut buffer: Vec<T>) {
    if buffer.capacity() * size_of::<T>() < SMALL {
        return;
    }
    buffer.resize(buffer.capacity(), T::zeroed());
    let mut free = T::free().lock().unwrap_or_else(PoisonError::into_inner);
    let time = free.time;
    free.buffers.push((time, buffer));
}

/// The bytes of all free buffers, so that a test sees whether they become more.
#[doc(hidden)]
#[must_use]
pub fn kept_bytes() -> usize {
    fn of<T: Number>() -> usize {
        let free = T::free().lock().unwrap_or_else(PoisonError::into_inner);
        free.buffers.iter().map(|(_, buffer)| buffer.capacity() * size_of::<T>()).sum()
    }
    of::<f32>() + of::<u8>() + of::<Line>() + scratch::shared_bytes()
}

/// Frees the smallest buffers, as many as have `bytes` together at most: before work that needs so much memory once.
pub fn make_room(bytes: usize) {
    // Freed after the lock.
    let removed = f32::free().lock().unwrap_or_else(PoisonError::into_inner).remove(bytes);
    drop(removed);
}

/// Gives all free buffers back to the system.
pub fn release() {
    fn all<T: Number>() {
        let buffers = std::mem::take(&mut T::free().lock().unwrap_or_else(PoisonError::into_inner).buffers);
        drop(buffers);
    }
    all::<f32>();
    all::<u8>();
    all::<Line>();
    scratch::release_shared();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_by_the_smallest_buffers() {
        let mut free = Free { buffers: [30, 10, 20].map(|length| (0, vec![0.0_f32; length])).into(), time: 0 };
        let mut left_after = |bytes: usize| {
            drop(free.remove(bytes));
            free.buffers.iter().map(|(_, buffer)| buffer.len()).collect::<Vec<_>>()
        };
        assert_eq!([left_after(39), left_after(40), left_after(199)], [vec![10, 20, 30], vec![20, 30], vec![30]]);
    }

    #[test]
    fn a_buffer_is_used_again_for_nearly_the_same_length_until_it_is_old() {
        let length = 1_000_003;
        let first: Vec<f32> = any(length);
        let place = first.as_ptr();
        recycle(first);
        let half: Vec<f32> = any(length / 2);
        assert_ne!(half.as_ptr(), place, "it would waste half of the buffer");
        let again: Vec<f32> = any(length - 5);
        assert_eq!((again.as_ptr(), again.len()), (place, length - 5));
        recycle(again);
        (0..=MOST_AGE + 1).for_each(|_| drop(any::<f32>(SMALL)));
        let is_free = f32::free().lock().unwrap().buffers.iter().any(|(_, buffer)| buffer.as_ptr() == place);
        assert!(!is_free, "a buffer that nobody has asked for");
    }
}
