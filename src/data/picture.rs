//! An image file, decoded and brought to the shape a network takes.

use std::path::Path;

use image::imageops::FilterType;
use image::{DynamicImage, ImageReader, Limits};

use super::{DataError, Shape};

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
    /// resizes it to `shape` with a triangle filter. Transparency is dropped.
    ///
    /// # Errors
    ///
    /// When the file is missing, is no image, is damaged or too large.
    pub fn open(path: &Path, shape: Shape) -> Result<Self, DataError> {
        let failed = |source| DataError::Image { path: path.to_owned(), source };
        let mut reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(DataError::read(path))?;
        let mut limits = Limits::default();
        limits.max_image_width = Some(LARGEST_SIDE);
        limits.max_image_height = Some(LARGEST_SIDE);
        limits.max_alloc = Some(LARGEST_MEMORY);
        reader.limits(limits);
        let mut decoded = reader.decode().map_err(failed)?;
        let (width, height) = (side(shape.width), side(shape.height));
        if (decoded.width(), decoded.height()) != (width, height) {
            decoded = decoded.resize_exact(width, height, FilterType::Triangle);
        }
        Ok(Self { pixels: channels_first(&decoded, shape) })
    }

    /// Swaps black and white.
    #[must_use]
    pub fn inverted(mut self) -> Self {
        self.pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
        self
    }
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
