//! Groups of 32 images whose numbers lie interleaved. The same pixel of 16 images is a tile, so that tiles are whole for every width and stride, and what lies outside of the images
//! is left out of the sums. So an infinite weight does not meet zeros there, which in patches it does: their product is NaN.

mod forward;
mod weight_gradient;

pub(super) use forward::Forward;
pub(super) use weight_gradient::weight_gradient;

use std::ops::Range;

use super::{SIDE, STEP};
use crate::strided::Axis;

/// Images of a group: as many as a step has numbers.
const GROUP: usize = STEP;
/// Images below which groups are not worth it.
const FEW: usize = SIDE;
/// Tasks, at least, where there are rows for them. Fixed, so that sums do not depend on threads.
const TASKS: usize = 16;

/// The numbers of a window that lie on the side.
fn inside(axis: Axis, window: usize, kernel: usize) -> Range<usize> {
    let first = window * axis.stride;
    let start = axis.padding.saturating_sub(first);
    start..(axis.side + axis.padding).saturating_sub(first).min(kernel).max(start)
}
