//! Resizing of decoded images.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::config::Resize;

/// An image of 8 bits, `[row, column, channel]`.
pub(super) struct ByteImage {
    pub(super) height: u32,
    pub(super) width: u32,
    /// 1 or 3.
    pub(super) channels: usize,
    pub(super) values: Vec<u8>,
}

impl ByteImage {
    /// Resizes with a triangle filter that is as wide as the scale.
    pub(super) fn resized(self, height: u32, width: u32, mode: Resize) -> Self {
        if (self.height, self.width) == (height, width) {
            return self;
        }
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        match mode {
            Resize::Stretch => self.scaled(height, width, &options),
            // The largest centred crop with the target proportions.
            Resize::Crop => self.scaled(height, width, &options.fit_into_destination(Some((0.5, 0.5)))),
            Resize::Pad => {
                let scale = (f64::from(height) / f64::from(self.height)).min(f64::from(width) / f64::from(self.width));
                let inner_side = |side: u32, target: u32| {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the target size")]
                    let scaled = (f64::from(side) * scale).round() as u32;
                    scaled.clamp(1, target)
                };
                let (inner_height, inner_width) = (inner_side(self.height, height), inner_side(self.width, width));
                self.scaled(inner_height, inner_width, &options).on_black(height, width)
            }
        }
    }

    fn scaled(self, height: u32, width: u32, options: &ResizeOptions) -> Self {
        let kind = if self.channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
        let reason = "the buffer has the stated size";
        let from = ImageRef::new(self.width, self.height, &self.values, kind).unwrap_or_else(|error| unreachable!("{reason}: {error}"));
        let mut to = Image::new(width, height, kind);
        Resizer::new().resize(&from, &mut to, options).unwrap_or_else(|error| unreachable!("{reason}: {error}"));
        Self { height, width, channels: self.channels, values: to.into_vec() }
    }

    /// Pads the image with black to `height` × `width`, centred.
    fn on_black(self, height: u32, width: u32) -> Self {
        let (row, inner_row) = (width as usize * self.channels, self.width as usize * self.channels);
        let top = ((height - self.height) / 2) as usize;
        let left = ((width - self.width) / 2) as usize * self.channels;
        let mut values = vec![0; height as usize * row];
        for (to, from) in values.chunks_exact_mut(row).skip(top).zip(self.values.chunks_exact(inner_row)) {
            to[left..left + inner_row].copy_from_slice(from);
        }
        Self { height, width, channels: self.channels, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resized(height: u32, width: u32, mode: Resize) -> Vec<u8> {
        // Two rows of four grey pixels.
        let image = ByteImage { height: 2, width: 4, channels: 1, values: vec![0, 40, 80, 120, 0, 40, 80, 120] };
        image.resized(height, width, mode).values
    }

    #[test]
    fn resized_pixels_by_hand() {
        // Half the width: the triangle is two pixels wide on either side of its middle, with weights 3, 3, 1 (and 1 beyond the edge).
        assert_eq!(resized(2, 2, Resize::Stretch), [29, 91, 29, 91]);
        assert_eq!(resized(2, 2, Resize::Crop), [40, 80, 40, 80]);
        assert_eq!(resized(2, 4, Resize::Pad), [0, 40, 80, 120, 0, 40, 80, 120]);
        assert_eq!(resized(4, 4, Resize::Pad), [0, 0, 0, 0, 0, 40, 80, 120, 0, 40, 80, 120, 0, 0, 0, 0]);
    }
}
