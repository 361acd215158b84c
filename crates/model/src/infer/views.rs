//! Test-time augmentation.

use crate::Shape;

/// The views of an image that its logits are the mean over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Views {
    /// Each view and its mirror image, left and right exchanged (Krizhevsky, Sutskever and Hinton 2012, section 4.1).
    pub test_flip: bool,
    /// Pixels. Where they are more than 0, the image, which counts half, and the image moved by so many pixels up and left, and down and right, which count a
    /// quarter each (Jordan 2024, arXiv 2404.00498). What comes in is the image, reflected at its outermost pixels, which are not repeated.
    pub test_shift: u32,
}

impl Views {
    /// Whether the image itself is the only view.
    #[must_use]
    pub fn is_image(self) -> bool {
        self == Self::default()
    }

    /// The mean of the logits over the views of each image. `logits` computes those of images `[channel, row, column]` of `shape`, one image after the other.
    pub fn mean(self, images: &[&[u8]], shape: Shape, logits: impl Fn(&[&[u8]]) -> Vec<f32>) -> Vec<f32> {
        let shift = self.test_shift.cast_signed() as isize;
        let moves: &[(f32, isize)] = if shift == 0 { &[(1.0, 0)] } else { &[(0.5, 0), (0.25, -shift), (0.25, shift)] };
        let flips: &[bool] = if self.test_flip { &[false, true] } else { &[false] };
        let mut mean: Vec<f32> = Vec::new();
        for (weight, moved) in moves {
            for is_mirrored in flips {
                let of_view = if *moved == 0 && !is_mirrored {
                    logits(images)
                } else {
                    let views: Vec<Vec<u8>> = images.iter().map(|image| view(image, shape, *moved, *is_mirrored)).collect();
                    logits(&views.iter().map(Vec::as_slice).collect::<Vec<&[u8]>>())
                };
                mean.resize(of_view.len(), 0.0);
                let weight = weight / flips.len() as f32;
                mean.iter_mut().zip(of_view).for_each(|(mean, logit)| *mean += weight * logit);
            }
        }
        mean
    }
}

/// An image that is moved by so many pixels down and right, then mirrored.
fn view(image: &[u8], Shape { height, width, .. }: Shape, moved: isize, is_mirrored: bool) -> Vec<u8> {
    let columns: Vec<usize> = (0..width)
        .map(|column| {
            let column = if is_mirrored { width - 1 - column } else { column };
            reflected(column.cast_signed() - moved, width)
        })
        .collect();
    let mut out = Vec::with_capacity(image.len());
    for channel in image.chunks_exact(height * width) {
        for row in 0..height.cast_signed() {
            let row = &channel[reflected(row - moved, height) * width..][..width];
            out.extend(columns.iter().map(|column| row[*column]));
        }
    }
    out
}

/// The place within `side` that a place outside is the reflection of.
fn reflected(at: isize, side: usize) -> usize {
    let period = (2 * (side - 1)).max(1).cast_signed();
    let at = at.rem_euclid(period).unsigned_abs();
    at.min(period.unsigned_abs() - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { channels: 2, height: 2, width: 4 };
    const IMAGE: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 20, 30, 40, 50, 60, 70, 80];

    #[test]
    fn views_are_moved_and_mirrored_channel_by_channel() {
        assert_eq!(view(&IMAGE, SHAPE, 0, true), [4, 3, 2, 1, 8, 7, 6, 5, 40, 30, 20, 10, 80, 70, 60, 50]);
        // What can be cut from the image with a border of a pixel by torch.nn.functional.pad with mode "reflect": the first and the last.
        assert_eq!(view(&IMAGE, SHAPE, 1, false), [6, 5, 6, 7, 2, 1, 2, 3, 60, 50, 60, 70, 20, 10, 20, 30]);
        assert_eq!(view(&IMAGE, SHAPE, -1, false), [6, 7, 8, 7, 2, 3, 4, 3, 60, 70, 80, 70, 20, 30, 40, 30]);
        assert_eq!(view(&IMAGE, SHAPE, -1, true), [7, 8, 7, 6, 3, 4, 3, 2, 70, 80, 70, 60, 30, 40, 30, 20]);
        assert_eq!(view(&[7, 8], Shape { channels: 2, height: 1, width: 1 }, 3, true), [7, 8]);
    }

    #[test]
    fn the_mean_is_over_all_views() {
        // The "logit" is the first pixel.
        let first = |images: &[&[u8]]| images.iter().map(|image| f32::from(image[0])).collect::<Vec<f32>>();
        let mean = |test_flip, test_shift| Views { test_flip, test_shift }.mean(&[&IMAGE, &IMAGE], SHAPE, first);
        assert_eq!(mean(false, 0), [1.0, 1.0]);
        assert_eq!(mean(true, 0), [2.5, 2.5]);
        // 6 of each moved one.
        assert_eq!(mean(false, 1), [3.5, 3.5]);
        // Mirrored: 4 of the image, 7 of both moved ones.
        assert_eq!(mean(true, 1), [4.5, 4.5]);
    }
}
