//! Decoding of an image file, to the input shape of a network or in its own size, and encoding as PNG.

use std::io::Cursor;

use image::codecs::png::PngEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageReader, Limits};
use regulus_model::Shape;
use regulus_model::preprocess::{Decoding, Preprocess};

use super::resize::ByteImage;
use super::whole_file::has_end;
use super::{PictureError, jpeg};

/// The largest height or width that is decoded.
pub(super) const LARGEST_SIDE: u32 = 16_384;
/// The memory limit of decoding one image, in bytes.
pub(super) const LARGEST_MEMORY: u64 = 512 << 20;
/// The first bytes of a JPEG file.
const JPEG_MAGIC: &[u8] = b"\xff\xd8\xff";

/// A decoded image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its shape.
    pub shape: Shape,
    /// `[channel, row, column]`; 0 is black, 255 is white.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Decodes the content of an image file and resizes it to the input shape of a network. The format (PNG, JPEG, BMP, GIF, PNM, TIFF or WebP) is
    /// recognized by the content.
    ///
    /// # Errors
    ///
    /// When the content is damaged, too large or not an image.
    pub fn decode(bytes: &[u8], preprocess: &Preprocess) -> Result<Self, PictureError> {
        let Shape { channels, height, width } = preprocess.shape;
        let (height, width) = (side(height), side(width));
        let mut decoded = decode_content(bytes, preprocess.decoding, height, width)?;
        if preprocess.decoding == Decoding::Full && (decoded.width(), decoded.height()) != (width, height) {
            decoded = decoded.resize_exact(width, height, FilterType::Triangle);
        }
        if preprocess.decoding == Decoding::Full && channels == 1 {
            return Ok(Self { shape: preprocess.shape, pixels: decoded.to_luma8().into_raw() });
        }
        let resized = bytes_of(&decoded).resized(height, width, preprocess.resize, preprocess.filter);
        Ok(Self { shape: preprocess.shape, pixels: channels_first(&resized, channels) })
    }

    /// Decodes the content of an image file in its own size, with `channels` channels: 1 for grey, 3 for colour.
    ///
    /// # Errors
    ///
    /// As [`Picture::decode`].
    pub fn decode_in_own_size(bytes: &[u8], channels: usize) -> Result<Self, PictureError> {
        let image = bytes_of(&decode_content(bytes, Decoding::Reduced, LARGEST_SIDE, LARGEST_SIDE)?);
        let shape = Shape { channels, height: image.height as usize, width: image.width as usize };
        Ok(Self { shape, pixels: channels_first(&image, channels) })
    }

    /// The image as a PNG file of 8 bits. Returns `None` if it is neither grey nor colour, or does not have the pixels of its shape.
    #[must_use]
    pub fn to_png(&self) -> Option<Vec<u8>> {
        let Shape { channels, height, width } = self.shape;
        let colour = match channels {
            1 => ExtendedColorType::L8,
            3 => ExtendedColorType::Rgb8,
            _ => return None,
        };
        if self.pixels.len() != self.shape.size() {
            return None;
        }
        let area = height * width;
        let values: Vec<u8> = (0..area).flat_map(|at| self.pixels.iter().skip(at).step_by(area).copied()).collect();
        let mut file = Vec::new();
        PngEncoder::new(&mut file).write_image(&values, side(width), side(height), colour).ok()?;
        Some(file)
    }

    /// A smaller copy for people to look at: squares of pixels are averaged until no side is longer than `side`.
    ///
    /// # Panics
    ///
    /// When it does not have the pixels of its shape.
    #[must_use]
    pub fn shrunk(&self, side: usize) -> Self {
        let Shape { channels, height, width } = self.shape;
        let factor = height.max(width).div_ceil(side.max(1)).max(1);
        let (rows, columns) = (height.div_ceil(factor), width.div_ceil(factor));
        let mean = |channel: usize, row: usize, column: usize| {
            let lines = row * factor..((row + 1) * factor).min(height);
            let of_line =
                |line: usize| &self.pixels[(channel * height + line) * width..][column * factor..((column + 1) * factor).min(width)];
            let count = lines.len() * of_line(lines.start).len();
            let sum: usize = lines.flat_map(|line| of_line(line).iter().map(|pixel| usize::from(*pixel))).sum();
            u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX)
        };
        let at = |pixel: usize| mean(pixel / (rows * columns), pixel / columns % rows, pixel % columns);
        Self { shape: Shape { channels, height: rows, width: columns }, pixels: (0..channels * rows * columns).map(at).collect() }
    }

    /// Inverts the image: swaps black and white.
    #[must_use]
    pub fn inverted(mut self) -> Self {
        self.pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
        self
    }
}

/// Decodes the content of an image file without transparency. A JPEG file is decoded at the smallest sufficient scale for `height` and `width`, unless
/// `decoding` is full.
fn decode_content(bytes: &[u8], decoding: Decoding, height: u32, width: u32) -> Result<DynamicImage, PictureError> {
    if bytes.is_empty() {
        return Err(PictureError::Content("is empty; expected an image".to_owned()));
    }
    let decoded = match decoding {
        Decoding::Reduced if bytes.starts_with(JPEG_MAGIC) => jpeg::decode(bytes, height, width).map_err(PictureError::Damaged)?,
        Decoding::Reduced if !has_end(bytes) => {
            return Err(PictureError::Damaged("it is truncated: the file ends before the image does".to_owned()));
        }
        Decoding::Reduced | Decoding::Full => decode_full(bytes)?,
    };
    if decoded.width() == 0 || decoded.height() == 0 {
        return Err(PictureError::Damaged("it has no pixels".to_owned()));
    }
    Ok(if decoded.color().has_alpha() { over_white(&decoded) } else { decoded })
}

/// Decodes the image in full size and applies the Exif orientation.
fn decode_full(bytes: &[u8]) -> Result<DynamicImage, PictureError> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(image::ImageError::IoError)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(LARGEST_MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if width.max(height) > LARGEST_SIDE {
        let problem = format!("it has {height}×{width} pixels; expected at most {LARGEST_SIDE} on a side");
        return Err(PictureError::Damaged(problem));
    }
    if decoder.total_bytes() > LARGEST_MEMORY {
        let problem = format!("takes {} MiB decoded; expected at most {}", decoder.total_bytes() >> 20, LARGEST_MEMORY >> 20);
        return Err(PictureError::Content(problem));
    }
    let orientation = decoder.orientation()?;
    let mut decoded = DynamicImage::from_decoder(decoder)?;
    decoded.apply_orientation(orientation);
    Ok(decoded)
}

/// Blends the image over white.
fn over_white(image: &DynamicImage) -> DynamicImage {
    let mut pixels = image.to_rgba8();
    for pixel in pixels.pixels_mut() {
        let [colour @ .., alpha] = pixel.0;
        let blended = colour.map(|value| {
            let sum = u32::from(value) * u32::from(alpha) + 255 * (255 - u32::from(alpha));
            u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
        });
        pixel.0 = [blended[0], blended[1], blended[2], 255];
    }
    DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(pixels).to_rgb8())
}

fn side(pixels: usize) -> u32 {
    u32::try_from(pixels).unwrap_or(u32::MAX)
}

/// The image in 8 bits, with 1 channel if it is grey, else 3.
fn bytes_of(image: &DynamicImage) -> ByteImage {
    let (height, width) = (image.height(), image.width());
    if image.color().has_color() {
        ByteImage { height, width, channels: 3, values: image.to_rgb8().into_raw() }
    } else {
        ByteImage { height, width, channels: 1, values: image.to_luma8().into_raw() }
    }
}

/// The image with `channels` channels, `[channel, row, column]`.
fn channels_first(image: &ByteImage, channels: usize) -> Vec<u8> {
    match (image.channels, channels) {
        (1, _) => image.values.repeat(channels),
        (_, 1) => image.values.chunks_exact(3).map(grey).collect(),
        _ => (0..channels).flat_map(|channel| image.values.iter().skip(channel).step_by(3).copied()).collect(),
    }
}

/// 0.2126 R + 0.7152 G + 0.0722 B, rounded down as the `image` crate does.
fn grey(colour: &[u8]) -> u8 {
    let sum = 2126 * u32::from(colour[0]) + 7152 * u32::from(colour[1]) + 722 * u32::from(colour[2]);
    u8::try_from(sum / 10_000).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use regulus_model::preprocess::{Filter, Resize};

    use super::*;

    #[test]
    fn transparent_pixels_are_blended_over_white() {
        let pixels = [Rgba([0, 0, 0, 0]), Rgba([0, 0, 0, 255]), Rgba([255, 255, 255, 0]), Rgba([100, 100, 100, 51])];
        let mut png = Cursor::new(Vec::new());
        RgbaImage::from_fn(4, 1, |x, _| pixels[x as usize]).write_to(&mut png, image::ImageFormat::Png).unwrap();
        let shape = Shape { channels: 1, height: 1, width: 4 };
        let preprocess = Preprocess { shape, resize: Resize::Stretch, filter: Filter::Bicubic, decoding: Decoding::Reduced };
        let picture = Picture::decode(&png.into_inner(), &preprocess).unwrap();
        // A fifth of 100 and four fifths of 255.
        assert_eq!(picture.pixels, [255, 0, 255, 224]);
        assert_eq!(picture.inverted().pixels, [0, 255, 0, 31]);
    }

    #[test]
    fn a_large_image_is_averaged_over_squares() {
        let shape = Shape { channels: 1, height: 2, width: 3 };
        let picture = Picture { shape, pixels: vec![0, 10, 100, 20, 31, 201] };
        // The last column has no neighbour.
        assert_eq!(picture.shrunk(2), Picture { shape: Shape { channels: 1, height: 1, width: 2 }, pixels: vec![15, 151] });
        assert_eq!(picture.shrunk(3), picture);
    }

    #[test]
    fn a_picture_in_its_own_size_is_the_one_that_was_written() {
        for channels in [1, 3] {
            let shape = Shape { channels, height: 2, width: 5 };
            let picture = Picture { shape, pixels: (0..10 * channels).map(|at| u8::try_from(7 * at).unwrap()).collect() };
            let file = picture.to_png().unwrap();
            assert_eq!(Picture::decode_in_own_size(&file, channels).unwrap(), picture);
        }
        let two = Shape { channels: 2, height: 1, width: 1 };
        assert_eq!(Picture { shape: two, pixels: vec![0, 0] }.to_png(), None);
    }
}
