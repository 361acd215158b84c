//! Pools over windows and over whole channels. Images are `[image, channel, row, column]`. With `threads` 1 the caller's thread does all.

use pulp::{Simd, WithSimd};

use crate::fill::{Size, filled};
use crate::simd::Path;
use crate::split::WORTHWHILE;
use crate::strided::Axis;

/// The sizes of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
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
    /// Rows and columns of the output.
    #[must_use]
    pub fn sides(&self) -> [usize; 2] {
        [self.rows().windows(self.kernel[0]), self.columns().windows(self.kernel[1])]
    }

    const fn rows(&self) -> Axis {
        Axis { side: self.height, stride: self.stride[0], padding: self.padding[0] }
    }

    const fn columns(&self) -> Axis {
        Axis { side: self.width, stride: self.stride[1], padding: self.padding[1] }
    }
}

/// The largest number of each window; what is around the image never is. NaN where the window has one.
#[must_use]
pub fn max(path: Path, pool: Pool, images: &[f32], threads: usize) -> Vec<f32> {
    pooled(path, pool, images, largest(), threads)
}

/// The sum of each window, row by row, divided by the size of the window: around the image are zeros, which count.
#[must_use]
pub fn average(path: Path, pool: Pool, images: &[f32], threads: usize) -> Vec<f32> {
    pooled(path, pool, images, mean(pool.kernel[0] * pool.kernel[1]), threads)
}

/// The largest number of each channel of `positions` numbers; NaN where it has one. `[image, channel]`.
#[must_use]
pub fn global_max(images: &[f32], positions: usize, threads: usize) -> Vec<f32> {
    global(images, positions, largest(), threads)
}

/// The sum of each channel of `positions` numbers, in order, divided by `positions`. `[image, channel]`.
#[must_use]
pub fn global_average(images: &[f32], positions: usize, threads: usize) -> Vec<f32> {
    global(images, positions, mean(positions), threads)
}

/// How the numbers of a window become one.
#[derive(Clone, Copy)]
struct Reduction<F> {
    /// The result for no numbers.
    identity: f32,
    /// The result so far and the next number become the next result.
    combine: F,
    /// What the last result is divided by.
    divisor: Option<f32>,
}

/// The largest number: the first of equal ones, NaN before all.
fn largest() -> Reduction<impl Fn(f32, f32) -> f32 + Copy + Sync> {
    Reduction { identity: f32::NEG_INFINITY, combine: larger, divisor: None }
}

#[inline(always)]
fn larger(largest: f32, number: f32) -> f32 {
    if number > largest || number.is_nan() { number } else { largest }
}

/// The sum divided by `count`.
fn mean(count: usize) -> Reduction<impl Fn(f32, f32) -> f32 + Copy + Sync> {
    Reduction { identity: 0.0, combine: |sum, number| sum + number, divisor: Some(count as f32) }
}

fn pooled<F: Fn(f32, f32) -> f32 + Copy + Sync>(
    path: Path,
    pool: Pool,
    images: &[f32],
    reduction: Reduction<F>,
    threads: usize,
) -> Vec<f32> {
    let (area, [rows, columns]) = (pool.height * pool.width, pool.sides());
    let (channels, positions) = (images.len() / area, rows * columns);
    assert_eq!(images.len(), channels * area, "whole channels for {pool:?}");
    let per_task = WORTHWHILE.div_ceil(positions * pool.kernel[0] * pool.kernel[1]);
    let out = Size { length: channels * positions, per_task: per_task * positions };
    let task = |number: usize, out: &mut [f32], _: &mut [u8]| {
        let images = &images[number * per_task * area..];
        path.run(Task { pool, images, reduction, out });
    };
    filled(threads, channels.div_ceil(per_task), out, Size::NONE, task).0
}

/// The first channels of `images`, as many as `out` has.
struct Task<'a, F> {
    pool: Pool,
    images: &'a [f32],
    reduction: Reduction<F>,
    out: &'a mut [f32],
}

impl<F: Fn(f32, f32) -> f32> WithSimd for Task<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { pool, images, reduction, out } = self;
        let Reduction { identity, combine, divisor } = reduction;
        let [rows, columns] = pool.sides();
        for (channel, out) in images.chunks_exact(pool.height * pool.width).zip(out.chunks_exact_mut(rows * columns)) {
            for (window, out) in out.chunks_exact_mut(columns).enumerate() {
                out.fill(identity);
                for row in (0..pool.kernel[0]).filter_map(|y| pool.rows().index(window, y)) {
                    let row = &channel[row * pool.width..][..pool.width];
                    for x in 0..pool.kernel[1] {
                        pool.columns().for_each_pair(x, row, out, |result, number| *result = combine(*result, number));
                    }
                }
                if let Some(divisor) = divisor {
                    out.iter_mut().for_each(|sum| *sum /= divisor);
                }
            }
        }
    }
}

/// Channels reduced at once, because each result waits for the one before it.
const CHANNELS: usize = 8;

fn global<F: Fn(f32, f32) -> f32 + Copy + Sync>(images: &[f32], positions: usize, reduction: Reduction<F>, threads: usize) -> Vec<f32> {
    let Reduction { identity, combine, divisor } = reduction;
    let channels = images.len() / positions;
    assert_eq!(images.len(), channels * positions, "whole channels of {positions} numbers");
    let per_task = WORTHWHILE.div_ceil(positions).next_multiple_of(CHANNELS);
    let out = Size { length: channels, per_task };
    let task = |number: usize, out: &mut [f32], _: &mut [u8]| {
        let images = &images[number * per_task * positions..];
        for (images, out) in images.chunks(CHANNELS * positions).zip(out.chunks_mut(CHANNELS)) {
            // The channels that are missing from the last eight are the first one again.
            let channels: [&[f32]; CHANNELS] =
                std::array::from_fn(|channel| &images[if channel < out.len() { channel * positions } else { 0 }..][..positions]);
            let mut results = [identity; CHANNELS];
            for position in 0..positions {
                for channel in 0..CHANNELS {
                    results[channel] = combine(results[channel], channels[channel][position]);
                }
            }
            out.iter_mut().zip(results).for_each(|(out, result)| *out = divisor.map_or(result, |divisor| result / divisor));
        }
    };
    filled(threads, channels.div_ceil(per_task), out, Size::NONE, task).0
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    fn pool(sides: [usize; 2], kernel: usize, stride: usize, padding: usize) -> Pool {
        Pool { height: sides[0], width: sides[1], kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2] }
    }

    #[test]
    fn the_largest_and_the_mean_of_windows_are_those_by_hand() {
        let image: Vec<f32> = (1..=12_u8).map(f32::from).collect();
        for path in Path::all() {
            assert_eq!(max(path, pool([3, 4], 2, 1, 0), &image, 1), [6.0, 7.0, 8.0, 10.0, 11.0, 12.0]);
            assert_eq!(max(path, pool([3, 4], 2, 2, 0), &image, 1), [6.0, 8.0]);
            assert_eq!(average(path, pool([3, 4], 2, 1, 0), &image, 1), [3.5, 4.5, 5.5, 7.5, 8.5, 9.5]);
            // 1 + 2 + 5 + 6 = 14 of nine numbers, five of them zeros around.
            assert_eq!(average(path, pool([3, 4], 3, 2, 1), &image, 1), [14.0 / 9.0, 30.0 / 9.0, 30.0 / 9.0, 54.0 / 9.0]);
        }
    }

    #[test]
    fn padding_is_never_the_largest() {
        let image = [-3.0, NONE, NONE, NONE];
        for path in Path::all() {
            assert_eq!(max(path, pool([2, 2], 2, 1, 1), &image, 1), [-3.0, -3.0, NONE, -3.0, -3.0, NONE, NONE, NONE, NONE]);
        }
    }

    #[test]
    fn a_window_with_nan_gives_nan() {
        let mut image = vec![1.0; 16];
        image[5] = f32::NAN;
        for path in Path::all() {
            let nan: Vec<bool> = max(path, pool([4, 4], 2, 2, 0), &image, 1).iter().map(|number| number.is_nan()).collect();
            assert_eq!(nan, [true, false, false, false]);
            let nan: Vec<bool> = average(path, pool([4, 4], 2, 2, 0), &image, 1).iter().map(|number| number.is_nan()).collect();
            assert_eq!(nan, [true, false, false, false]);
        }
        assert!(global_max(&image, 16, 1)[0].is_nan() && global_average(&image, 16, 1)[0].is_nan());
        assert_eq!(global_max(&image[6..], 10, 1), [1.0]);
    }

    #[test]
    fn each_channel_is_reduced_by_itself_in_order() {
        let images: Vec<f32> = (0..33_u8).map(f32::from).collect();
        assert_eq!(global_max(&images, 3, 1), [2.0, 5.0, 8.0, 11.0, 14.0, 17.0, 20.0, 23.0, 26.0, 29.0, 32.0]);
        assert_eq!(global_average(&images, 3, 2), [1.0, 4.0, 7.0, 10.0, 13.0, 16.0, 19.0, 22.0, 25.0, 28.0, 31.0]);
        // In another order the 1s would not be lost.
        assert_eq!(global_average(&[1e8, 1.0, 1.0, 1.0, -1e8], 5, 1), [0.0]);
    }
}
