//! Mean and variance of channels, from those of blocks of pixels.

use pulp::{Simd, WithSimd};

use crate::registers::{load, store};
use crate::simd::Path;

/// How many numbers each channel has, their mean, and the sum of the squared distances from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    count: f64,
    means: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    /// Those of some pixels, `[pixel, channel]`. Sums are float32.
    #[must_use]
    pub fn of(path: Path, pixels: &[f32], channels: usize) -> Self {
        let mut sums = vec![0.0; 2 * channels];
        path.run(Block { pixels, channels, sums: &mut sums });
        let (means, squares) = sums.split_at(channels);
        let wide = |numbers: &[f32]| numbers.iter().map(|number| f64::from(*number)).collect();
        Self { count: (pixels.len() / channels.max(1)) as f64, means: wide(means), squares: wide(squares) }
    }

    /// Those of all blocks together (Chan, Golub and `LeVeque` 1983). `None` without any.
    #[must_use]
    pub fn joined(blocks: impl IntoIterator<Item = Self>) -> Option<Self> {
        blocks.into_iter().reduce(|mut all, block| {
            let count = all.count + block.count;
            let [share, weight] = [block.count / count, all.count * block.count / count];
            let sums = all.means.iter_mut().zip(&mut all.squares);
            for ((mean, squares), (of_block, squares_of_block)) in sums.zip(block.means.iter().zip(&block.squares)) {
                let distance = of_block - *mean;
                *mean += distance * share;
                *squares += squares_of_block + distance * distance * weight;
            }
            all.count = count;
            all
        })
    }

    /// The mean of each channel.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "statistics are float32")]
    pub fn mean(&self) -> Vec<f32> {
        self.means.iter().map(|mean| *mean as f32).collect()
    }

    /// The biased variance of each channel.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "statistics are float32")]
    pub fn variance(&self) -> Vec<f32> {
        self.squares.iter().map(|squares| (squares / self.count) as f32).collect()
    }
}

struct Block<'a> {
    pixels: &'a [f32],
    channels: usize,
    /// Means, then squared distances.
    sums: &'a mut [f32],
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pixels, channels, sums } = self;
        let count = pixels.len() / channels;
        let (means, squares) = sums.split_at_mut(channels);
        let each = simd.splat_f32s((count as f32).recip());
        for first in (0..channels).step_by(S::F32_LANES) {
            let lanes = S::F32_LANES.min(channels - first);
            let of_pixel = |pixel: usize| load(simd, &pixels[pixel * channels + first..][..lanes]);
            let mean = simd.mul_f32s(summed(simd, count, of_pixel, |sum, x| simd.add_f32s(sum, x)), each);
            let around = summed(simd, count, of_pixel, |sum, x| {
                let distance = simd.sub_f32s(x, mean);
                simd.mul_add_e_f32s(distance, distance, sum)
            });
            store(simd, &mut means[first..][..lanes], mean);
            store(simd, &mut squares[first..][..lanes], around);
        }
    }
}

/// The sum over `count` pixels. `add` adds one. There are several sums, because an addition waits for the one before it.
#[inline(always)]
fn summed<S: Simd>(simd: S, count: usize, of_pixel: impl Fn(usize) -> S::f32s, add: impl Fn(S::f32s, S::f32s) -> S::f32s) -> S::f32s {
    let mut parts = [simd.splat_f32s(0.0); 4];
    for four in 0..count / 4 {
        for part in 0..4 {
            parts[part] = add(parts[part], of_pixel(4 * four + part));
        }
    }
    for pixel in count / 4 * 4..count {
        parts[0] = add(parts[0], of_pixel(pixel));
    }
    simd.add_f32s(simd.add_f32s(parts[0], parts[1]), simd.add_f32s(parts[2], parts[3]))
}
