//! Rows of an image under windows with a stride.

/// One side of an image under windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Numbers of the side.
    pub(super) side: usize,
    /// Steps from one window to the next.
    pub(super) stride: usize,
    /// Zeros before and after the side.
    pub(super) padding: usize,
    /// Further zeros after the side.
    pub(super) extra: usize,
}

impl Axis {
    /// How many windows of this size there are.
    pub(super) const fn windows(self, kernel: usize) -> usize {
        (self.side + 2 * self.padding + self.extra - kernel) / self.stride + 1
    }

    /// The index on the side of number `tap` of a window; none if that is padding.
    #[inline(always)]
    pub(super) fn index(self, window: usize, tap: usize) -> Option<usize> {
        (window * self.stride + tap).checked_sub(self.padding).filter(|index| *index < self.side)
    }
}
