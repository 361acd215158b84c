//! The forward pass.

use pulp::{Simd, WithSimd};

use super::{Activation, Addition, Affine, Sizes, Steps, is_larger};
use crate::fill::{Size, filled};
use crate::registers::{load, store};
use crate::simd::Path;

/// Numbers of a task, about.
const TASK: usize = 1 << 16;

/// The result. `other` is what is added, or empty. With `threads` 1 the caller's thread does all.
///
/// # Panics
///
/// When the slices are not of these sizes, or there is a pool with an addition or GELU.
#[must_use]
pub fn forward(path: Path, sizes: Sizes, steps: Steps, images: &[f32], affine: &Affine, other: &[f32], threads: usize) -> Vec<f32> {
    check(sizes, steps, images, affine, other);
    let Sizes { batch, width, channels, .. } = sizes;
    let [rows, columns] = sizes.sides(steps);
    let line = columns * channels;
    let lines = TASK.div_ceil(line.max(1));
    let out = Size::any(batch * rows * line, lines * line);
    let task = |number: usize, out: &mut [f32], _: &mut [u8]| {
        let first = number * lines;
        if steps.has_pool {
            path.run(Pooled { sizes, steps, images, affine, first, out });
        } else {
            let from = first * width * channels;
            let other = if other.is_empty() { other } else { &other[from..][..out.len()] };
            path.run(Plain { channels, steps, images: &images[from..][..out.len()], affine, other, out });
        }
    };
    filled(threads, (batch * rows).div_ceil(lines), out, Size::NONE, task).0
}

/// The result for some rows of an image, whole pairs of them with a pool, on the caller's thread. `sizes` are those of these rows.
pub(crate) fn of_rows(path: Path, sizes: Sizes, steps: Steps, images: &[f32], affine: &Affine, other: &[f32], out: &mut [f32]) {
    check(sizes, steps, images, affine, other);
    if steps.has_pool {
        path.run(Pooled { sizes, steps, images, affine, first: 0, out });
    } else {
        path.run(Plain { channels: sizes.channels, steps, images, affine, other, out });
    }
}

pub(super) fn check(sizes: Sizes, steps: Steps, images: &[f32], affine: &Affine, other: &[f32]) {
    let expected = if steps.addition == Addition::None { 0 } else { images.len() };
    assert_eq!([images.len(), other.len()], [sizes.len(), expected], "images of {sizes:?} and what is added");
    assert_eq!([affine.scale.len(), affine.shift.len()], [sizes.channels; 2], "factors of {} channels", sizes.channels);
    assert!(!steps.has_pool || steps.addition == Addition::None, "no kernel for an addition with a pool");
    // The largest number need not have the largest GELU.
    assert!(!steps.has_pool || steps.activation != Activation::Gelu, "no kernel for a pool after GELU");
    assert!(sizes.channels > 0 && sizes.sides(steps).iter().all(|side| *side > 0), "nothing to compute of {sizes:?}");
}

/// Without a pool.
struct Plain<'a> {
    channels: usize,
    steps: Steps,
    images: &'a [f32],
    affine: &'a Affine,
    other: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Plain<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { channels, steps, images, affine, other, out } = self;
        let Steps { activation, addition, .. } = steps;
        for (pixel, (from, out)) in images.chunks_exact(channels).zip(out.chunks_exact_mut(channels)).enumerate() {
            let other = if addition == Addition::None { other } else { &other[pixel * channels..][..channels] };
            for channel in (0..channels).step_by(S::F32_LANES) {
                let count = S::F32_LANES.min(channels - channel);
                let at = |numbers: &[f32]| load(simd, &numbers[channel..][..count]);
                let mut z = simd.mul_add_e_f32s(at(from), at(&affine.scale), at(&affine.shift));
                if addition == Addition::Before {
                    z = simd.add_f32s(z, at(other));
                }
                z = activation.of(simd, z);
                if addition == Addition::After {
                    z = simd.add_f32s(z, at(other));
                }
                store(simd, &mut out[channel..][..count], z);
            }
        }
    }
}

/// The pooled rows from `first` on, of all images one after the other.
struct Pooled<'a> {
    sizes: Sizes,
    steps: Steps,
    images: &'a [f32],
    affine: &'a Affine,
    first: usize,
    out: &'a mut [f32],
}

impl WithSimd for Pooled<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { sizes: Sizes { height, width, channels, .. }, steps, images, affine, first, out } = self;
        let [rows, columns] = [height / 2, width / 2];
        for (number, out) in (first..).zip(out.chunks_exact_mut(columns * channels)) {
            let from = &images[(number / rows * height + number % rows * 2) * width * channels..][..2 * width * channels];
            for (column, out) in out.chunks_exact_mut(channels).enumerate() {
                for channel in (0..channels).step_by(S::F32_LANES) {
                    let count = S::F32_LANES.min(channels - channel);
                    let at = |numbers: &[f32], first: usize| load(simd, &numbers[first + channel..][..count]);
                    let (scale, shift) = (at(&affine.scale, 0), at(&affine.shift, 0));
                    let start = 2 * column * channels;
                    let mut largest = simd.mul_add_e_f32s(at(from, start), scale, shift);
                    for place in [channels, width * channels, (width + 1) * channels] {
                        let z = simd.mul_add_e_f32s(at(from, start + place), scale, shift);
                        largest = simd.select_f32s(is_larger(simd, z, largest), z, largest);
                    }
                    store(simd, &mut out[channel..][..count], steps.activation.of(simd, largest));
                }
            }
        }
    }
}
