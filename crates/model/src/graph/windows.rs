//! Windows over an image: kernels of convolutions and pools.

/// No kernel or window has a longer side.
const LARGEST_SIDE: usize = 1 << 14;

/// Rows and columns of windows over an image with `padding` zeros on each side and `extra` further zeros below and right.
pub(super) fn windows(
    what: &str,
    sides: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    [padding, extra]: [[usize; 2]; 2],
) -> Result<[usize; 2], String> {
    let [height, width] = sides;
    if kernel.iter().any(|side| *side > LARGEST_SIDE) {
        return Err(format!("has a {what} of {}×{}; expected at most {LARGEST_SIDE} on a side", kernel[0], kernel[1]));
    }
    if padding.iter().zip(extra).zip(kernel).any(|((padding, extra), side)| padding.saturating_add(extra) >= side)
        && [padding, extra] != [[0; 2]; 2]
    {
        return Err(format!(
            "has a padding of {}×{}; expected less than its {what} of {}×{}",
            padding[0], padding[1], kernel[0], kernel[1]
        ));
    }
    let all = [0, 1].map(|axis| 2 * padding[axis] + extra[axis]);
    if (0..2).any(|axis| kernel[axis] > sides[axis] + all[axis]) {
        return Err(format!("has a {what} of {}×{}, but what reaches it is only {height}×{width}", kernel[0], kernel[1]));
    }
    if (0..2).any(|axis| stride[axis] > sides[axis] + all[axis]) {
        return Err(format!("has a stride of {}×{}, but what reaches it is only {height}×{width}", stride[0], stride[1]));
    }
    Ok([0, 1].map(|axis| (sides[axis] + all[axis] - kernel[axis]) / stride[axis] + 1))
}
