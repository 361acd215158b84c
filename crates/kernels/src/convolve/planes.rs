//! A channel laid out for the taps of a kernel.

use pulp::Simd;

use super::Convolution;
use crate::scratch::{self, Aligned};
use crate::strided::Axis;

/// How a channel is laid out, with the zeros around it, for some output rows at once: as one plane for each row and column of a step, so that the numbers that a
/// tap of the kernel multiplies at the positions of a row lie side by side, with any stride.
///
/// Rows are copied in whole registers. What runs over the end of one is overwritten by the next, or has room behind the planes.
pub(super) struct Planes {
    convolution: Convolution,
    /// Padded rows of the channel under the kernel.
    rows: usize,
    /// Rows and columns of a plane.
    height: usize,
    width: usize,
    /// Numbers behind a plane.
    slack: usize,
    /// For each tap, the offset of the number that it multiplies at the first position.
    starts: Vec<usize>,
}

impl Planes {
    /// For `rows` output rows, with room to read `slack` numbers beyond those. `lanes` are those of a register.
    pub(super) fn of(convolution: &Convolution, rows: usize, slack: usize, lanes: usize) -> Self {
        let ([kernel_height, kernel_width], [down, right]) = (convolution.kernel, convolution.stride);
        let rows = (rows - 1) * down + kernel_height;
        let height = rows.div_ceil(down);
        let width = (convolution.width + 2 * convolution.padding[1]).div_ceil(right);
        let slack = slack.max(lanes);
        let start = |y: usize, x: usize| (y % down * right + x % right) * (height * width + slack) + y / down * width + x / right;
        let starts = (0..kernel_height).flat_map(|y| (0..kernel_width).map(move |x| start(y, x))).collect();
        Self { convolution: *convolution, rows, height, width, slack, starts }
    }

    /// Numbers from the positions of one row to those of the next.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// For each tap, the offset of the number that it multiplies at the first position.
    pub(super) fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Memory for the planes.
    pub(super) fn memory(&self) -> Memory {
        let [down, right] = self.convolution.stride;
        let rows = if right == 1 { 0 } else { down * self.size(right) };
        Memory { planes: scratch::zeros(down * right * self.size(1)), rows: scratch::zeros(rows) }
    }

    /// Numbers from one plane to the next, of `planes` planes side by side.
    fn size(&self, planes: usize) -> usize {
        self.height * self.width * planes + self.slack
    }

    /// Lays out a channel from the first row that output row `first` is computed from.
    #[inline(always)]
    pub(super) fn load<S: Simd>(&self, simd: S, channel: &[f32], first: usize, memory: &mut Memory) {
        let ([down, right], [above, left]) = (self.convolution.stride, self.convolution.padding);
        let to = if right == 1 { &mut memory.planes } else { &mut memory.rows };
        for y in 0..self.rows {
            let start = y % down * self.size(right) + y / down * self.width * right;
            let row = (first * down + y).checked_sub(above).filter(|row| *row < self.convolution.height);
            match row {
                None => to[start..][..self.width * right].fill(0.0),
                Some(row) => copy_row(simd, &channel[row * self.convolution.width..][..self.convolution.width], &mut to[start + left..]),
            }
        }
        if right == 1 {
            return;
        }
        for (plane, to) in memory.planes.chunks_exact_mut(self.size(1)).enumerate() {
            let from = &memory.rows[plane / right * self.size(right)..][..self.height * self.width * right];
            Axis { side: from.len(), stride: right, padding: 0 }.for_each_pair(
                plane % right,
                from,
                &mut to[..self.height * self.width],
                |to, from| *to = from,
            );
        }
    }
}

/// Where planes are laid out. What is not written is 0.
pub(super) struct Memory {
    pub(super) planes: Aligned,
    /// Whole rows, of which the planes are made where there is a stride to the right.
    rows: Aligned,
}

/// Copies a row in whole registers, with zeros behind it.
#[inline(always)]
fn copy_row<S: Simd>(simd: S, from: &[f32], to: &mut [f32]) {
    let (from, rest) = S::as_simd_f32s(from);
    let (to, _) = S::as_mut_simd_f32s(to);
    let (whole, after) = to.split_at_mut(from.len());
    whole.copy_from_slice(from);
    if !rest.is_empty() {
        after[0] = simd.partial_load_f32s(rest);
    }
}
