//! JPEG files, decoded at the smallest sufficient scale. Truncated files are refused.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageBuffer, RgbImage};
use jpeg_decoder::{Decoder, Error, PixelFormat};

use super::picture::{LARGEST_MEMORY, LARGEST_SIDE};

/// The decoded image has at least this many times the target height and width, if the file has them: the resize filter needs them.
const MARGIN: u32 = 2;

/// Decodes a JPEG file at 1/8, 1/4, 1/2 or all of its size: the smallest with at least twice the target `height` and `width`. Applies the Exif
/// orientation.
///
/// # Errors
///
/// The problem as text, when the file is truncated, damaged, too large, or not a supported kind of JPEG.
pub(super) fn decode(bytes: &[u8], height: u32, width: u32) -> Result<DynamicImage, String> {
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(usize::try_from(LARGEST_MEMORY).unwrap_or(usize::MAX));
    decoder.read_info().map_err(message)?;
    let info = decoder.info().ok_or("it has no image")?;
    let (full_width, full_height) = (u32::from(info.width), u32::from(info.height));
    if full_width.max(full_height) > LARGEST_SIDE {
        return Err(format!("it has {full_height}×{full_width} pixels; expected at most {LARGEST_SIDE} on a side"));
    }
    // Two bytes for each coefficient and one for each value of a pixel.
    let memory = 3 * u64::from(full_width) * u64::from(full_height) * info.pixel_format.pixel_bytes() as u64;
    if memory > LARGEST_MEMORY {
        return Err(format!("it takes {} MiB decoded; expected at most {}", memory >> 20, LARGEST_MEMORY >> 20));
    }
    // Orientations 5 to 8 swap height and width. The orientation is not known yet, so the larger target side is used for both.
    let target = MARGIN * height.max(width);
    let divisor = [8, 4, 2].into_iter().find(|divisor| full_width.min(full_height) / divisor >= target).unwrap_or(1);
    let scaled = |side: u32| u16::try_from(side.div_ceil(divisor)).unwrap_or(u16::MAX);
    decoder.scale(scaled(full_width), scaled(full_height)).map_err(message)?;
    let pixels = decoder.decode().map_err(message)?;
    let info = decoder.info().ok_or("it has no image")?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    let decoded = match info.pixel_format {
        PixelFormat::L8 => GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8),
        PixelFormat::RGB24 => RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8),
        PixelFormat::CMYK32 => RgbImage::from_raw(width, height, rgb(&pixels)).map(DynamicImage::ImageRgb8),
        PixelFormat::L16 => {
            let values = pixels.chunks_exact(2).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]])).collect();
            ImageBuffer::from_raw(width, height, values).map(DynamicImage::ImageLuma16)
        }
    };
    let mut decoded = decoded.ok_or("it has fewer pixels than its header states")?;
    if let Some(orientation) = decoder.exif_data().and_then(Orientation::from_exif_chunk) {
        decoded.apply_orientation(orientation);
    }
    Ok(decoded)
}

/// Converts CMYK to RGB.
fn rgb(pixels: &[u8]) -> Vec<u8> {
    let mut colours = Vec::with_capacity(pixels.len() / 4 * 3);
    for ink in pixels.chunks_exact(4) {
        let light = |ink: u8| 255 - u32::from(ink);
        let channel = |colour: u8| u8::try_from((light(colour) * light(ink[3]) + 127) / 255).unwrap_or(u8::MAX);
        colours.extend([channel(ink[0]), channel(ink[1]), channel(ink[2])]);
    }
    colours
}

fn message(error: Error) -> String {
    match error {
        Error::Io(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            "it is truncated: the file ends before the image does".to_owned()
        }
        Error::Format(problem) => format!("it is damaged: {problem}"),
        Error::Unsupported(feature) => {
            format!("this kind of JPEG is not supported ({feature:?}); save it as a baseline or progressive JPEG of 8 bits, or as PNG")
        }
        other => other.to_string(),
    }
}
