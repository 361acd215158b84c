//! Random resized crops of training images.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Shape;

/// Draws until a crop fits into the image, as torchvision.
const TRIES: usize = 10;

/// A rectangle of an image, which is enlarged to the size of the image (Szegedy et al. 2015, arXiv 1409.4842, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResizedCrop {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
}

impl ResizedCrop {
    /// A random rectangle by the rules of torchvision's `RandomResizedCrop`: its area is uniform between `scale` and 1 of the image's, and the logarithm of
    /// width / height between those of 1 / `ratio` and `ratio`. If none of ten fits into the image, it is the largest in its middle with such proportions.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sides in pixels")]
    pub(super) fn random(scale: f64, ratio: f64, shape: Shape, rng: &mut ChaCha8Rng) -> Self {
        let Shape { height, width, .. } = shape;
        for _ in 0..TRIES {
            let area = rng.random_range(scale..=1.0) * (height * width) as f64;
            let ratio = rng.random_range(-ratio.ln()..=ratio.ln()).exp();
            let [crop_height, crop_width] = [area / ratio, area * ratio].map(|square| square.sqrt().round_ties_even() as usize);
            if (1..=height).contains(&crop_height) && (1..=width).contains(&crop_width) {
                let [top, left] = [height - crop_height, width - crop_width].map(|most| rng.random_range(0..=most as u64) as usize);
                return Self { top, left, height: crop_height, width: crop_width };
            }
        }
        Self::middle(ratio, shape)
    }

    /// The largest rectangle in the middle whose width / height is between 1 / `ratio` and `ratio`.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sides in pixels")]
    fn middle(ratio: f64, Shape { height, width, .. }: Shape) -> Self {
        let longest = |side: usize| (side as f64 * ratio).round_ties_even() as usize;
        let [crop_height, crop_width] = [height.min(longest(width)), width.min(longest(height))];
        Self { top: (height - crop_height) / 2, left: (width - crop_width) / 2, height: crop_height, width: crop_width }
    }

    /// The values of the rectangle, enlarged to the size of the image by bilinear interpolation between the centres of pixels, as PyTorch's `interpolate`
    /// with `mode="bilinear"`. `value` gives those of the image, row by row.
    pub(super) fn resized(self, Shape { height, width, .. }: Shape, value: impl Fn(usize) -> f32) -> Vec<f32> {
        let Self { top, left, height: crop_height, width: crop_width } = self;
        let columns: Vec<Between> = (0..width).map(|column| Between::of(column, crop_width, width)).collect();
        let mut out = Vec::with_capacity(height * width);
        for row in 0..height {
            let rows = Between::of(row, crop_height, height);
            let [upper, lower] = rows.neighbours.map(|row| (top + row) * width + left);
            out.extend(columns.iter().map(|columns| {
                let [first, second] = columns.neighbours;
                let across = |row: usize| mixed(value(row + first), value(row + second), columns.share);
                mixed(across(upper), across(lower), rows.share)
            }));
        }
        out
    }
}

/// `one`, with `share` of `other`.
fn mixed(one: f32, other: f32, share: f32) -> f32 {
    one * (1.0 - share) + other * share
}

/// Two neighbouring pixels, and the share of the second in a pixel between them.
struct Between {
    neighbours: [usize; 2],
    share: f32,
}

impl Between {
    /// Where pixel `at` of `to` pixels lies in a row of `from` pixels.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "pixel coordinates, at least 0"
    )]
    fn of(at: usize, from: usize, to: usize) -> Self {
        let position = ((at as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
        let first = position.floor() as usize;
        Self { neighbours: [first, (first + 1).min(from - 1)], share: (position - position.floor()) as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    const SHAPE: Shape = Shape { channels: 1, height: 3, width: 4 };

    #[test]
    fn a_crop_is_enlarged_as_pytorch_does() {
        // The formula of torch.nn.functional.interpolate(crop, (3, 4), mode="bilinear", align_corners=False) for [[6, 7], [10, 11]]: columns are at -0.25 (cut off
        // to 0), 0.25, 0.75 and 1.25 (past the last), rows at -0.17, 0.5 and 1.17.
        let crop = ResizedCrop { top: 1, left: 1, height: 2, width: 2 };
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let found = crop.resized(SHAPE, |at| at as f32 + 1.0);
        let expected = [6.0, 6.25, 6.75, 7.0, 8.0, 8.25, 8.75, 9.0, 10.0, 10.25, 10.75, 11.0];
        assert!(found.iter().zip(expected).all(|(found, expected): (&f32, f32)| (found - expected).abs() < 1e-5), "{found:?}");
        let whole = ResizedCrop { top: 0, left: 0, height: 3, width: 4 };
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let value = |at: usize| at as f32 * 0.37;
        assert_eq!(whole.resized(SHAPE, value), (0..12).map(value).collect::<Vec<_>>());
    }

    #[test]
    fn crops_have_the_areas_and_proportions_of_torchvision() {
        let shape = Shape { channels: 3, height: 96, width: 128 };
        let mut rng = Seed(5).stream("crop", 0);
        let crops: Vec<ResizedCrop> = (0..4000).map(|_| ResizedCrop::random(0.08, 4.0 / 3.0, shape, &mut rng)).collect();
        assert!(crops.iter().all(|crop| crop.top + crop.height <= 96 && crop.left + crop.width <= 128));
        #[expect(clippy::cast_precision_loss, reason = "sides in pixels")]
        let mean = |of: fn(&ResizedCrop) -> f64| crops.iter().map(of).sum::<f64>() / crops.len() as f64;
        #[expect(clippy::cast_precision_loss, reason = "sides in pixels")]
        let (area, ratio) =
            (mean(|crop| (crop.height * crop.width) as f64 / (96.0 * 128.0)), mean(|crop| (crop.width as f64 / crop.height as f64).ln()));
        // Of 400,000 crops of `RandomResizedCrop.get_params` with this image: 0.4358 and 0.0308. The deviations of means of 4,000 are 0.0034 and 0.0026.
        assert!((area - 0.4358).abs() < 0.0104 && (ratio - 0.0308).abs() < 0.008, "{area}, {ratio}");
    }

    #[test]
    fn an_image_that_is_too_narrow_gives_its_middle() {
        let narrow = Shape { channels: 1, height: 100, width: 10 };
        // No crop of 90 % of the area has these proportions: width 10, height 10 / (3/4) = 13.3.
        let crop = ResizedCrop::random(0.9, 4.0 / 3.0, narrow, &mut Seed(1).stream("crop", 0));
        assert_eq!(crop, ResizedCrop { top: 43, left: 0, height: 13, width: 10 });
        let wide = Shape { channels: 1, height: 10, width: 100 };
        let crop = ResizedCrop::random(0.9, 4.0 / 3.0, wide, &mut Seed(1).stream("crop", 0));
        assert_eq!(crop, ResizedCrop { top: 0, left: 43, height: 10, width: 13 });
    }
}
