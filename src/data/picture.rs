//! An image file, decoded and brought to the shape a network takes.

use std::path::Path;

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use super::{DataError, Preprocess, Shape};
use crate::config::Resize;

/// An image of no more than this many pixels on a side is decoded.
const LARGEST_SIDE: u32 = 16_384;
/// No image takes more than this many bytes while it is decoded.
const LARGEST_MEMORY: u64 = 512 << 20;

/// A decoded image in the shape asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// `[channel, row, column]`; 0 is black, 255 is white.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Decodes the file at `path` (PNG, JPEG, BMP, GIF, PNM, TIFF or WebP, told by its content), turns it to grey or colour, and
    /// brings it to `shape` as `resize` says, with a triangle filter. A camera's orientation is applied; what is transparent is laid over
    /// white. Grey is 0.2126 R + 0.7152 G + 0.0722 B (ITU-R BT.709) of the values as they are stored.
    ///
    /// # Errors
    ///
    /// When the file is missing, is no image, is damaged or too large.
    pub fn open(path: &Path, preprocess: &Preprocess) -> Result<Self, DataError> {
        let Preprocess { shape, resize, .. } = *preprocess;
        let failed = |source| DataError::Image { path: path.to_owned(), source };
        let mut reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(DataError::read(path))?;
        let mut limits = Limits::default();
        limits.max_image_width = Some(LARGEST_SIDE);
        limits.max_image_height = Some(LARGEST_SIDE);
        limits.max_alloc = Some(LARGEST_MEMORY);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(failed)?;
        if decoder.total_bytes() > LARGEST_MEMORY {
            return Err(DataError::content(
                path,
                format!("takes {} MiB decoded; expected at most {}", decoder.total_bytes() >> 20, LARGEST_MEMORY >> 20),
            ));
        }
        let orientation = decoder.orientation().map_err(failed)?;
        let mut decoded = DynamicImage::from_decoder(decoder).map_err(failed)?;
        decoded.apply_orientation(orientation);
        if decoded.color().has_alpha() {
            decoded = over_white(&decoded);
        }
        let sized = resized(decoded, side(shape.width), side(shape.height), resize);
        Ok(Self { pixels: channels_first(&sized, shape) })
    }

    /// Swaps black and white.
    #[must_use]
    pub fn inverted(mut self) -> Self {
        self.pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
        self
    }
}

/// The image in `width` × `height` pixels.
fn resized(image: DynamicImage, width: u32, height: u32, resize: Resize) -> DynamicImage {
    if (image.width(), image.height()) == (width, height) {
        return image;
    }
    match resize {
        Resize::Stretch => image.resize_exact(width, height, FilterType::Triangle),
        Resize::Crop => image.resize_to_fill(width, height, FilterType::Triangle),
        Resize::Pad => {
            let inside = image.resize(width, height, FilterType::Triangle);
            let (left, top) = ((width - inside.width()) / 2, (height - inside.height()) / 2);
            let mut whole = DynamicImage::new(width, height, inside.color());
            image::imageops::replace(&mut whole, &inside, left.into(), top.into());
            whole
        }
    }
}

/// The image without transparency, as it looks on a white page.
fn over_white(image: &DynamicImage) -> DynamicImage {
    let mut pixels = image.to_rgba8();
    for pixel in pixels.pixels_mut() {
        let [colour @ .., alpha] = pixel.0;
        let laid = colour.map(|value| {
            let sum = u32::from(value) * u32::from(alpha) + 255 * (255 - u32::from(alpha));
            u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
        });
        pixel.0 = [laid[0], laid[1], laid[2], 255];
    }
    DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(pixels).to_rgb8())
}

fn side(pixels: usize) -> u32 {
    u32::try_from(pixels).unwrap_or(u32::MAX)
}

fn channels_first(image: &DynamicImage, shape: Shape) -> Vec<u8> {
    if shape.channels == 1 {
        return image.to_luma8().into_raw();
    }
    let colour = image.to_rgb8();
    (0..shape.channels).flat_map(|channel| colour.pixels().map(move |pixel| pixel.0[channel.min(2)])).collect()
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;
    use crate::data::Decoding;

    #[test]
    fn what_is_transparent_is_white_whatever_colour_lies_beneath() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let pixels = [Rgba([0, 0, 0, 0]), Rgba([0, 0, 0, 255]), Rgba([255, 255, 255, 0]), Rgba([100, 100, 100, 51])];
        RgbaImage::from_fn(4, 1, |x, _| pixels[x as usize]).save(&path).unwrap();
        let shape = Shape { channels: 1, height: 1, width: 4 };
        let picture = Picture::open(&path, &Preprocess { shape, resize: Resize::Stretch, decoding: Decoding::Reduced }).unwrap();
        // A fifth of 100 and four fifths of 255.
        assert_eq!(picture.pixels, [255, 0, 255, 224]);
        assert_eq!(picture.inverted().pixels, [0, 255, 0, 31]);
    }
}
