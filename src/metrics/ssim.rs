//! The structural similarity of two pictures.

use rayon::prelude::*;
use regulus_model::Shape;

/// Side of the window.
const SIDE: usize = 11;
/// Standard deviation of the window's weights, in pixels.
const SIGMA: f64 = 1.5;
/// (K1·L)² and (K2·L)² of values from 0 to L = 1.
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;
/// Rows of windows that are computed by one thread. Fixed, so that sums do not depend on threads.
const ROWS: usize = 32;

/// SSIM of two pictures `[channel, row, column]` with values from 0 to 1 (Wang et al. 2004, equation 13), in float64: the mean of
///
/// (2·μx·μy + C1)(2·σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2))
///
/// over all windows of 11×11 that lie in the picture and over the channels. Means and (co)variances are weighted by a Gaussian of deviation 1.5.
/// It is scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0)`.
///
/// Returns `None` for a picture with fewer than 11 rows or columns, in which no window lies.
///
/// # Panics
///
/// When the pictures are not of the shape.
#[must_use]
pub fn ssim(picture: &[f32], reference: &[f32], shape: Shape) -> Option<f64> {
    let Shape { channels, height, width } = shape;
    assert_eq!([picture.len(), reference.len()], [shape.size(); 2], "two pictures of {shape}");
    if height < SIDE || width < SIDE {
        return None;
    }
    let (area, rows) = (height * width, height - SIDE + 1);
    let bands = rows.div_ceil(ROWS);
    let band = |task: usize| {
        let (channel, first) = (task / bands, task % bands * ROWS);
        let count = ROWS.min(rows - first);
        let pixels = channel * area + first * width..channel * area + (first + count + SIDE - 1) * width;
        Band { x: &picture[pixels.clone()], y: &reference[pixels], width }.sum()
    };
    let sums: Vec<f64> = (0..channels * bands).into_par_iter().map(band).collect();
    Some(sums.iter().sum::<f64>() / (channels * rows * (width - SIDE + 1)) as f64)
}

/// Some rows of a channel of both pictures.
struct Band<'a> {
    x: &'a [f32],
    y: &'a [f32],
    width: usize,
}

impl Band<'_> {
    /// The sum over the windows in it.
    fn sum(&self) -> f64 {
        let weights = weights();
        let columns = self.width - SIDE + 1;
        // Of every row x, y, x², y² and xy, weighted over the columns of the windows.
        let rows: Vec<Vec<[f64; 5]>> =
            self.x.chunks_exact(self.width).zip(self.y.chunks_exact(self.width)).map(|(x, y)| across(x, y, &weights)).collect();
        let of_windows = |rows: &[Vec<[f64; 5]>]| {
            let mut down = vec![[0.0; 5]; columns];
            for (row, weight) in rows.iter().zip(weights) {
                down.iter_mut().zip(row).for_each(|(to, from)| add(to, from, weight));
            }
            down.iter().map(similarity).sum::<f64>()
        };
        rows.windows(SIDE).map(of_windows).sum()
    }
}

/// The weights of the window in one direction; they add up to 1.
fn weights() -> [f64; SIDE] {
    let gaussian: [f64; SIDE] = std::array::from_fn(|at| (-0.5 * ((at as f64 - 5.0) / SIGMA).powi(2)).exp());
    let sum: f64 = gaussian.iter().sum();
    gaussian.map(|weight| weight / sum)
}

/// The weighted sums along a row, one for each position of the window.
fn across(x: &[f32], y: &[f32], weights: &[f64; SIDE]) -> Vec<[f64; 5]> {
    let products = |(x, y): (&f32, &f32)| {
        let (x, y) = (f64::from(*x), f64::from(*y));
        [x, y, x * x, y * y, x * y]
    };
    let products: Vec<[f64; 5]> = x.iter().zip(y).map(products).collect();
    let sum = |window: &[[f64; 5]]| {
        let mut sums = [0.0; 5];
        window.iter().zip(weights).for_each(|(from, weight)| add(&mut sums, from, *weight));
        sums
    };
    products.windows(SIDE).map(sum).collect()
}

fn add(to: &mut [f64; 5], from: &[f64; 5], weight: f64) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
}

/// The similarity of one window by the weighted means of x, y, x², y² and xy.
fn similarity([x, y, xx, yy, xy]: &[f64; 5]) -> f64 {
    let (variance_x, variance_y, covariance) = (xx - x * x, yy - y * y, xy - x * y);
    (2.0 * x * y + C1) * (2.0 * covariance + C2) / ((x * x + y * y + C1) * (variance_x + variance_y + C2))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::metrics::psnr;

    #[derive(Deserialize)]
    struct Case {
        shape: [usize; 3],
        clean: Vec<u8>,
        noisy: Vec<u8>,
        psnr: f64,
        ssim: f64,
    }

    #[test]
    fn psnr_and_ssim_are_those_of_scikit_image_on_any_threads() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/fixtures/pictures.json")).unwrap();
        assert_eq!(cases.len(), 5);
        for case in cases {
            let [channels, height, width] = case.shape;
            let shape = Shape { channels, height, width };
            let [clean, noisy] =
                [case.clean, case.noisy].map(|bytes| bytes.iter().map(|byte| f32::from(*byte) / 255.0).collect::<Vec<f32>>());
            assert!((psnr(&noisy, &clean) - case.psnr).abs() < 1e-6, "{shape}");
            let found: Vec<f64> = [1, 3]
                .map(|threads| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| ssim(&noisy, &clean, shape)).unwrap()
                })
                .to_vec();
            assert!((found[0] - case.ssim).abs() < 1e-6, "{shape}: {} and {}", found[0], case.ssim);
            assert_eq!(found[0].to_bits(), found[1].to_bits(), "{shape}");
        }
    }

    #[test]
    fn equal_pictures_have_1_and_small_ones_none() {
        let shape = Shape { channels: 1, height: 12, width: 11 };
        let picture: Vec<f32> = (0_u8..132).map(|at| f32::from(at) / 132.0).collect();
        assert!((ssim(&picture, &picture, shape).unwrap() - 1.0).abs() < 1e-12);
        let small = Shape { channels: 1, height: 13, width: 10 };
        assert_eq!(ssim(&picture[..130], &picture[..130], small), None);
    }
}
