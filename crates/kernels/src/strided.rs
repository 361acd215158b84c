//! Rows of an image under windows with a stride.

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

    /// The index on the side of number `tap` of a window; none if that is padding.
    #[inline(always)]
    pub(super) fn index(self, window: usize, tap: usize) -> Option<usize> {
        (window * self.stride + tap).checked_sub(self.padding).filter(|index| *index < self.side)
    }

    /// Calls `visit` with the number of each window in `to`, from the first window on, and number `tap` of that window in `row`. Padding is left out.
    #[inline(always)]
    pub(super) fn for_each_pair(self, tap: usize, row: &[f32], to: &mut [f32], visit: impl Fn(&mut f32, f32)) {
        let inside = self.inside(tap, to.len());
        let to = &mut to[inside.clone()];
        let Some(last) = to.len().checked_sub(1) else { return };
        let from = &row[inside.start * self.stride + tap - self.padding..];
        match self.stride {
            1 => to.iter_mut().zip(from).for_each(|(to, from)| visit(to, *from)),
            2 => {
                // Pairs are loaded whole, which is vectorized; the last may lack its second number.
                let (pairs, _) = from.as_chunks::<2>();
                to[..last].iter_mut().zip(pairs).for_each(|(to, pair)| visit(to, pair[0]));
                visit(&mut to[last], from[2 * last]);
            }
            stride => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| visit(to, *from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_paired_with_the_windows_it_is_in() {
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
                let expected: Vec<f32> = (0..count).map(|window| axis.index(window, tap).map_or(0.0, |index| row[index])).collect();
                let mut added = vec![0.0; count];
                axis.for_each_pair(tap, &row, &mut added, |to, from| *to += from);
                assert_eq!(added, expected, "stride {stride}, padding {padding}, kernel {kernel}, tap {tap}");
            }
        }
    }
}
