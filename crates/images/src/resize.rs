//! Resizing of decoded images.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use regulus_model::preprocess::{Filter, Resize};

/// An image of 8 bits, `[row, column, channel]`.
pub(super) struct ByteImage {
    pub(super) height: u32,
    pub(super) width: u32,
    /// 1 or 3.
    pub(super) channels: usize,
    pub(super) values: Vec<u8>,
}

impl ByteImage {
    /// Resizes with a filter that is as wide as the scale.
    pub(super) fn resized(self, height: u32, width: u32, mode: Resize, filter: Filter) -> Self {
        if (self.height, self.width) == (height, width) {
            return self;
        }
        let filter = match filter {
            Filter::Bilinear => FilterType::Bilinear,
            Filter::Bicubic => FilterType::CatmullRom,
        };
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
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
        let values = if self.channels == 1 { self.typed::<U8>(height, width, options) } else { self.typed::<U8x3>(height, width, options) };
        Self { height, width, channels: self.channels, values }
    }

    /// The bytes of the scaled image. With its untyped interface the library is compiled for every kind of pixel: which doubled the time of its build.
    fn typed<P: PixelTrait>(&self, height: u32, width: u32, options: &ResizeOptions) -> Vec<u8> {
        let from = ImageRef::new(self.width, self.height, &self.values, P::pixel_type()).ok();
        let from = from.as_ref().and_then(ImageRef::typed_image::<P>);
        let mut to = Image::new(width, height, P::pixel_type());
        let resized = from.zip(to.typed_image_mut::<P>()).map(|(from, mut to)| Resizer::new().resize_typed(&from, &mut to, options));
        assert!(matches!(resized, Some(Ok(()))), "the buffers have the sizes stated");
        to.into_vec()
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
        by(Filter::Bilinear, [0, 40, 80, 120, 0, 40, 80, 120], height, width, mode)
    }

    /// Two rows of four grey pixels, resized.
    fn by(filter: Filter, values: [u8; 8], height: u32, width: u32, mode: Resize) -> Vec<u8> {
        ByteImage { height: 2, width: 4, channels: 1, values: values.to_vec() }.resized(height, width, mode, filter).values
    }

    #[test]
    fn resized_pixels_by_hand() {
        // Half the width: the triangle is two pixels wide on either side of its middle, with weights 3, 3, 1 (and 1 beyond the edge).
        assert_eq!(resized(2, 2, Resize::Stretch), [29, 91, 29, 91]);
        assert_eq!(resized(2, 2, Resize::Crop), [40, 80, 40, 80]);
        assert_eq!(resized(2, 4, Resize::Pad), [0, 40, 80, 120, 0, 40, 80, 120]);
        assert_eq!(resized(4, 4, Resize::Pad), [0, 0, 0, 0, 0, 40, 80, 120, 0, 40, 80, 120, 0, 0, 0, 0]);
    }

    /// `Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)` of Pillow 12.
    #[test]
    fn bicubic_pixels_as_in_pillow() {
        let bicubic = |height, width| by(Filter::Bicubic, [10, 200, 30, 250, 90, 0, 255, 60], height, width, Resize::Stretch);
        assert_eq!(bicubic(2, 2), [91, 152, 70, 141]);
        assert_eq!(bicubic(2, 8), [0, 50, 170, 174, 54, 67, 205, 255, 98, 67, 2, 50, 215, 229, 103, 43]);
        assert_eq!(bicubic(4, 4), [3, 218, 10, 255, 27, 159, 77, 211, 73, 41, 208, 99, 97, 0, 255, 43]);
    }
}
