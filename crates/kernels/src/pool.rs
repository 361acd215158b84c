//! Pools over windows. Images are channels-last, `[image, row, column, channel]`. With `threads` 1 the caller's thread does all.

use pulp::{Simd, WithSimd};

use crate::epilogue::is_larger;
use crate::fill::{Size, filled};
use crate::registers::{load, store};
use crate::simd::Path;
use crate::split::WORTHWHILE;
use crate::strided::Axis;

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The largest number; what is around the image never is. NaN where the window has one.
    Max,
    /// The sum, row by row, divided by the size of the window: around the image are zeros, which count.
    Average,
}

/// The sizes of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What becomes of a window.
    pub kind: Kind,
    /// Channels.
    pub channels: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// Rows around, and columns left and right; at most half of the window.
    pub padding: [usize; 2],
}

impl Pool {
    /// The pool whose only window is the whole image.
    #[must_use]
    pub const fn global(kind: Kind, channels: usize, height: usize, width: usize) -> Self {
        Self { kind, channels, height, width, kernel: [height, width], stride: [1; 2], padding: [0; 2] }
    }

    /// Rows and columns of the output.
    #[must_use]
    pub fn sides(&self) -> [usize; 2] {
        [self.rows().windows(self.kernel[0]), self.columns().windows(self.kernel[1])]
    }

    const fn rows(&self) -> Axis {
        Axis { side: self.height, stride: self.stride[0], padding: self.padding[0], extra: 0 }
    }

    const fn columns(&self) -> Axis {
        Axis { side: self.width, stride: self.stride[1], padding: self.padding[1], extra: 0 }
    }

    const fn image_size(&self) -> usize {
        self.height * self.width * self.channels
    }

    fn output_size(&self) -> usize {
        self.sides().iter().product::<usize>() * self.channels
    }

    /// Lists the pixels of the window at a row and a column of the output, row by row, as offsets in an image. Vectors are read in plain loops over the list: closures of a chain
    /// of iterators would be called, and compiled without vector instructions.
    fn window(&self, row: usize, column: usize, pixels: &mut Vec<usize>) {
        pixels.clear();
        let [height, width] = self.kernel;
        for y in (0..height).filter_map(|y| self.rows().index(row, y)) {
            let of_row = (0..width).filter_map(|x| self.columns().index(column, x));
            pixels.extend(of_row.map(|x| (y * self.width + x) * self.channels));
        }
    }

    #[inline(always)]
    fn divisor<S: Simd>(&self, simd: S) -> S::f32s {
        simd.splat_f32s((self.kernel[0] * self.kernel[1]) as f32)
    }
}

/// The pooled images.
///
/// # Panics
///
/// When the images are not of the pool's sizes.
#[must_use]
pub fn forward(path: Path, pool: Pool, images: &[f32], threads: usize) -> Vec<f32> {
    let batch = images.len() / pool.image_size();
    assert_eq!(images.len(), batch * pool.image_size(), "images for {pool:?}");
    let [rows, columns] = pool.sides();
    let line = columns * pool.channels;
    let per_task = WORTHWHILE.div_ceil(line * pool.kernel[0] * pool.kernel[1]);
    let out = Size::any(batch * rows * line, per_task * line);
    let task = |number: usize, out: &mut [f32], _: &mut [u8]| {
        path.run(Lines { pool, images, first: number * per_task, out });
    };
    filled(threads, (batch * rows).div_ceil(per_task), out, Size::NONE, task).0
}

/// Output rows from `first` on, of all images one after the other.
struct Lines<'a> {
    pool: Pool,
    images: &'a [f32],
    first: usize,
    out: &'a mut [f32],
}

impl WithSimd for Lines<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pool, images, first, out } = self;
        let ([rows, columns], channels) = (pool.sides(), pool.channels);
        let mut window = Vec::new();
        for (line, out) in (first..).zip(out.chunks_exact_mut(columns * channels)) {
            let image = &images[line / rows * pool.image_size()..][..pool.image_size()];
            for (column, out) in out.chunks_exact_mut(channels).enumerate() {
                pool.window(line % rows, column, &mut window);
                for channel in (0..channels).step_by(S::F32_LANES) {
                    let count = S::F32_LANES.min(channels - channel);
                    let at = |pixel: usize| load(simd, &image[pixel + channel..][..count]);
                    let result = if pool.kind == Kind::Max {
                        largest(simd, &window, at)
                    } else {
                        let mut sum = simd.splat_f32s(0.0);
                        for pixel in &window {
                            sum = simd.add_f32s(sum, at(*pixel));
                        }
                        simd.div_f32s(sum, pool.divisor(simd))
                    };
                    store(simd, &mut out[channel..][..count], result);
                }
            }
        }
    }
}

/// The largest number of a window.
#[inline(always)]
fn largest<S: Simd>(simd: S, window: &[usize], at: impl Fn(usize) -> S::f32s) -> S::f32s {
    let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
    for pixel in window {
        let number = at(*pixel);
        largest = simd.select_f32s(is_larger(simd, number, largest), number, largest);
    }
    largest
}

/// The gradient of the images for that of the output. Of equal largest numbers the first one gets it.
///
/// # Panics
///
/// When the slices are not of the pool's sizes.
#[must_use]
pub fn backward(path: Path, pool: Pool, images: &[f32], gradient: &[f32], threads: usize) -> Vec<f32> {
    let batch = images.len() / pool.image_size();
    assert_eq!([images.len(), gradient.len()], [batch * pool.image_size(), batch * pool.output_size()], "slices for {pool:?}");
    let out = Size::zeros(images.len(), pool.image_size());
    let task = |number: usize, out: &mut [f32], _: &mut [u8]| {
        let image = &images[number * pool.image_size()..][..pool.image_size()];
        let gradient = &gradient[number * pool.output_size()..][..pool.output_size()];
        path.run(Back { pool, image, gradient, out });
    };
    filled(threads, batch, out, Size::NONE, task).0
}

/// The gradient of an image.
struct Back<'a> {
    pool: Pool,
    image: &'a [f32],
    gradient: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pool, image, gradient, out } = self;
        let ([_, columns], channels) = (pool.sides(), pool.channels);
        let mut window = Vec::new();
        for (index, gradient) in gradient.chunks_exact(channels).enumerate() {
            pool.window(index / columns, index % columns, &mut window);
            for channel in (0..channels).step_by(S::F32_LANES) {
                let count = S::F32_LANES.min(channels - channel);
                let at = |pixel: usize| pixel + channel..pixel + channel + count;
                let slope = load(simd, &gradient[at(0)]);
                if pool.kind == Kind::Average {
                    let each = simd.div_f32s(slope, pool.divisor(simd));
                    for &pixel in &window {
                        let sum = simd.add_f32s(load(simd, &out[at(pixel)]), each);
                        store(simd, &mut out[at(pixel)], sum);
                    }
                    continue;
                }
                let largest = largest(simd, &window, |pixel| load(simd, &image[at(pixel)]));
                let (mut left, zero) = (slope, simd.splat_f32s(0.0));
                for &pixel in &window {
                    let is_largest = simd.equal_f32s(load(simd, &image[at(pixel)]), largest);
                    let sum = simd.add_f32s(load(simd, &out[at(pixel)]), simd.select_f32s(is_largest, left, zero));
                    store(simd, &mut out[at(pixel)], sum);
                    left = simd.select_f32s(is_largest, zero, left);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    fn pool(kind: Kind, sides: [usize; 2], kernel: usize, stride: usize, padding: usize) -> Pool {
        Pool { kind, channels: 1, height: sides[0], width: sides[1], kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2] }
    }

    #[test]
    fn the_largest_and_the_mean_of_windows_are_those_by_hand() {
        let image: Vec<f32> = (1..=12_u8).map(f32::from).collect();
        for path in Path::all() {
            let of = |kind, kernel, stride, padding| forward(path, pool(kind, [3, 4], kernel, stride, padding), &image, 1);
            assert_eq!(of(Kind::Max, 2, 1, 0), [6.0, 7.0, 8.0, 10.0, 11.0, 12.0]);
            assert_eq!(of(Kind::Max, 2, 2, 0), [6.0, 8.0]);
            assert_eq!(of(Kind::Average, 2, 1, 0), [3.5, 4.5, 5.5, 7.5, 8.5, 9.5]);
            // 1 + 2 + 5 + 6 = 14 of nine numbers, five of them zeros around.
            assert_eq!(of(Kind::Average, 3, 2, 1), [14.0 / 9.0, 30.0 / 9.0, 30.0 / 9.0, 54.0 / 9.0]);
        }
    }

    #[test]
    fn padding_is_never_the_largest() {
        let image = [-3.0, NONE, NONE, NONE];
        for path in Path::all() {
            let found = forward(path, pool(Kind::Max, [2, 2], 2, 1, 1), &image, 1);
            assert_eq!(found, [-3.0, -3.0, NONE, -3.0, -3.0, NONE, NONE, NONE, NONE]);
        }
    }

    #[test]
    fn a_window_with_nan_gives_nan() {
        let mut image = vec![1.0; 16];
        image[5] = f32::NAN;
        for (path, kind) in Path::all().into_iter().flat_map(|path| [(path, Kind::Max), (path, Kind::Average)]) {
            let found = forward(path, pool(kind, [4, 4], 2, 2, 0), &image, 1);
            assert_eq!(found.iter().map(|number| number.is_nan()).collect::<Vec<bool>>(), [true, false, false, false]);
            assert!(forward(path, Pool::global(kind, 1, 4, 4), &image, 1)[0].is_nan());
        }
    }

    #[test]
    fn sums_are_in_order_and_the_first_of_equal_numbers_gets_the_gradient() {
        for path in Path::all() {
            // In another order the 1s would not be lost.
            assert_eq!(forward(path, Pool::global(Kind::Average, 1, 1, 5), &[1e8, 1.0, 1.0, 1.0, -1e8], 1), [0.0]);
            let image = [2.0, 3.0, 3.0, 1.0];
            assert_eq!(backward(path, Pool::global(Kind::Max, 1, 2, 2), &image, &[5.0], 1), [0.0, 5.0, 0.0, 0.0]);
            assert_eq!(backward(path, Pool::global(Kind::Average, 1, 2, 2), &image, &[8.0], 1), [2.0; 4]);
            // Windows that overlap: 3 is the largest of both.
            let overlapping = Pool { kernel: [1, 2], stride: [1, 1], ..pool(Kind::Max, [1, 3], 2, 1, 0) };
            assert_eq!(backward(path, overlapping, &[1.0, 3.0, 2.0], &[5.0, 7.0], 1), [0.0, 12.0, 0.0]);
        }
    }
}
