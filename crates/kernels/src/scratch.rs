//! Working memory of the kernels, which each thread reuses.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use bytemuck::{Pod, Zeroable};

use crate::buffers;

/// A cache line of numbers.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line([f32; 16]);

impl Line {
    /// Lines that hold `length` numbers.
    pub(super) const fn count(length: usize) -> usize {
        length.div_ceil(16)
    }
}

/// The largest number of free buffers of a thread.
const MAX_FREE: usize = 8;

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Numbers that start at a cache line, so that no register is loaded from two.
pub(super) struct Aligned {
    lines: Vec<Line>,
    length: usize,
}

/// The largest number of free shared buffers.
const MAX_SHARED: usize = 4;

static SHARED: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());

/// Numbers that all threads work on, as [`Aligned`].
pub(super) struct Shared(Aligned);

/// `length` numbers of any value, for all threads. Large ones are made once: new memory is cleared by the operating system, and that takes time.
pub(super) fn shared(length: usize) -> Shared {
    let count = Line::count(length);
    let mut lines = {
        let mut free = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough, or the largest.
        let fits = (0..free.len())
            .min_by_key(|index| if free[*index].len() >= count { free[*index].len() } else { usize::MAX - free[*index].len() });
        fits.map(|index| free.swap_remove(index)).unwrap_or_default()
    };
    if lines.len() < count {
        lines.resize(count, Line::zeroed());
    }
    Shared(Aligned { lines, length })
}

impl Drop for Shared {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.0.lines);
        let mut free = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < MAX_SHARED {
            free.push(lines);
        }
    }
}

impl Deref for Shared {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Shared {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

/// The bytes of free shared memory.
pub(super) fn shared_bytes() -> usize {
    let free = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    free.iter().map(|lines| lines.capacity() * size_of::<Line>()).sum()
}

/// Gives free shared memory back to the system.
pub(super) fn release_shared() {
    let free = std::mem::take(&mut *SHARED.lock().unwrap_or_else(PoisonError::into_inner));
    drop(free);
}

/// Where numbers that were prepared for a kernel lie.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// In memory of their own, to be kept.
    Own,
    /// In [`shared`] memory, for one pass.
    Shared,
}

/// Numbers that were prepared for a kernel.
pub(super) enum Prepared {
    /// With their number.
    Own(Vec<Line>, usize),
    Shared(Shared),
}

impl Prepared {
    /// `length` numbers of any value.
    pub(super) fn any(place: Place, length: usize) -> Self {
        match place {
            Place::Own => Self::Own(buffers::any(Line::count(length)), length),
            Place::Shared => {
                let mut shared = shared(length);
                if buffers::fills_with_nan() {
                    shared.fill(f32::NAN);
                }
                Self::Shared(shared)
            }
        }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Self::Own(lines, _) = self {
            buffers::recycle(std::mem::take(lines));
        }
    }
}

impl Deref for Prepared {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        match self {
            Self::Own(lines, length) => &bytemuck::cast_slice(lines)[..*length],
            Self::Shared(shared) => shared,
        }
    }
}

impl DerefMut for Prepared {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Own(lines, length) => &mut bytemuck::cast_slice_mut(lines)[..*length],
            Self::Shared(shared) => shared,
        }
    }
}

/// `length` numbers of any value.
pub(super) fn any(length: usize) -> Aligned {
    let mut lines = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    let count = Line::count(length);
    if lines.len() < count {
        lines.resize(count, Line::zeroed());
    }
    Aligned { lines, length }
}

/// `length` zeros.
pub(super) fn zeros(length: usize) -> Aligned {
    let mut numbers = any(length);
    numbers.fill(0.0);
    numbers
}

impl Drop for Aligned {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        FREE.with_borrow_mut(|free| {
            if !lines.is_empty() && free.len() < MAX_FREE {
                free.push(lines);
            }
        });
    }
}

impl Deref for Aligned {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.length]
    }
}

impl DerefMut for Aligned {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.length]
    }
}
