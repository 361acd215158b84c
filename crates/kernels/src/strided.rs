//! Rows of an image as windows with a stride walk over them.

use std::ops::Range;

/// One side of an image under windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Numbers of the side.
    pub(super) side: usize,
    /// Steps from one window to the next.
    pub(super) stride: usize,
    /// Zeros before and after the side.
    pub(super) padding: usize,
}

impl Axis {
    /// How many windows of this size there are.
    pub(super) const fn windows(self, kernel: usize) -> usize {
        (self.side + 2 * self.padding - kernel) / self.stride + 1
    }

    /// Of the first `count` windows, those whose number `tap` is one of the side's, not of the padding.
    #[inline(always)]
    pub(super) fn inside(self, tap: usize, count: usize) -> Range<usize> {
        let first = self.padding.saturating_sub(tap).div_ceil(self.stride);
        let end = (self.side + self.padding).saturating_sub(tap).div_ceil(self.stride).min(count);
        first.min(end)..end
    }

    /// Where number `tap` of a window is on the side, if it is.
    #[inline(always)]
    pub(super) fn place(self, window: usize, tap: usize) -> Option<usize> {
        (window * self.stride + tap).checked_sub(self.padding).filter(|place| *place < self.side)
    }

    /// Calls `meet` with each number of `to` and number `tap` of its window in `row`; `to` are the windows from the first on. Padding is left out.
    #[inline(always)]
    pub(super) fn meet(self, tap: usize, row: &[f32], to: &mut [f32], meet: impl Fn(&mut f32, f32)) {
        let inside = self.inside(tap, to.len());
        let to = &mut to[inside.clone()];
        let Some(last) = to.len().checked_sub(1) else { return };
        let from = &row[inside.start * self.stride + tap - self.padding..];
        match self.stride {
            1 => to.iter_mut().zip(from).for_each(|(to, from)| meet(to, *from)),
            2 => {
                // Pairs are loaded whole, which is vectorized; the last may lack its second number.
                let (pairs, _) = from.as_chunks::<2>();
                to[..last].iter_mut().zip(pairs).for_each(|(to, pair)| meet(to, pair[0]));
                meet(&mut to[last], from[2 * last]);
            }
            stride => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| meet(to, *from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_meet_the_windows_they_are_in() {
        let row: Vec<f32> = (1..=7_u8).map(f32::from).collect();
        for (stride, padding, kernel) in
            (1..5).flat_map(|stride| (0..4).flat_map(move |padding| (1..9).map(move |kernel| (stride, padding, kernel))))
        {
            let axis = Axis { side: row.len(), stride, padding };
            if kernel > row.len() + 2 * padding {
                continue;
            }
            let count = axis.windows(kernel);
            for tap in 0..kernel {
                let expected: Vec<f32> = (0..count).map(|window| axis.place(window, tap).map_or(0.0, |place| row[place])).collect();
                let mut added = vec![0.0; count];
                axis.meet(tap, &row, &mut added, |to, from| *to += from);
                assert_eq!(added, expected, "stride {stride}, padding {padding}, kernel {kernel}, tap {tap}");
            }
        }
    }
}
