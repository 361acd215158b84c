//! Working memory of the kernels, which each thread reuses.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

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
            if free.len() < MAX_FREE {
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
