//! JPEG files, decoded at the smallest scale that is enough, and refused when they are cut.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageBuffer, RgbImage};
use jpeg_decoder::{Decoder, Error, PixelFormat};

use super::picture::{LARGEST_MEMORY, LARGEST_SIDE};

/// So many times the height and width wanted are decoded at least, where the file has them: the filter that follows needs them.
const MARGIN: u32 = 2;

/// Decodes a JPEG file at 1/8, 1/4, 1/2 or all of its size: the smallest with at least twice `height` and `width`, the height and width wanted once
/// the camera's orientation is applied. The image has its orientation.
///
/// # Errors
///
/// When the file is cut, damaged, too large, or of a kind that is not supported, in words that read on from a colon.
pub(super) fn decode(bytes: &[u8], height: u32, width: u32) -> Result<DynamicImage, String> {
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(usize::try_from(LARGEST_MEMORY).unwrap_or(usize::MAX));
    decoder.read_info().map_err(in_words)?;
    let info = decoder.info().ok_or("it has no image")?;
    let (full_width, full_height) = (u32::from(info.width), u32::from(info.height));
    if full_width.max(full_height) > LARGEST_SIDE {
        return Err(format!("it has {full_height}×{full_width} pixels; expected at most {LARGEST_SIDE} on a side"));
    }
    // Coefficients and pixels of all components, two bytes and one each.
    let memory = 3 * u64::from(full_width) * u64::from(full_height) * info.pixel_format.pixel_bytes() as u64;
    if memory > LARGEST_MEMORY {
        return Err(format!("it takes {} MiB decoded; expected at most {}", memory >> 20, LARGEST_MEMORY >> 20));
    }
    // Orientations 5 to 8 swap height and width, which are not known yet: the larger of both is enough for either.
    let wanted = MARGIN * height.max(width);
    let parts = [8, 4, 2].into_iter().find(|parts| full_width.min(full_height) / parts >= wanted).unwrap_or(1);
    let scaled = |side: u32| u16::try_from(side.div_ceil(parts)).unwrap_or(u16::MAX);
    decoder.scale(scaled(full_width), scaled(full_height)).map_err(in_words)?;
    let pixels = decoder.decode().map_err(in_words)?;
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
    let mut decoded = decoded.ok_or("its pixels do not fill it")?;
    if let Some(orientation) = decoder.exif_data().and_then(Orientation::from_exif_chunk) {
        decoded.apply_orientation(orientation);
    }
    Ok(decoded)
}

/// Cyan, magenta, yellow and black as the light they leave.
fn rgb(pixels: &[u8]) -> Vec<u8> {
    let mut colours = Vec::with_capacity(pixels.len() / 4 * 3);
    for ink in pixels.chunks_exact(4) {
        let light = |ink: u8| 255 - u32::from(ink);
        let left = |colour: u8| u8::try_from((light(colour) * light(ink[3]) + 127) / 255).unwrap_or(u8::MAX);
        colours.extend([left(ink[0]), left(ink[1]), left(ink[2])]);
    }
    colours
}

fn in_words(error: Error) -> String {
    match error {
        Error::Io(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            "it is cut short: the file ends before the image does".to_owned()
        }
        Error::Format(problem) => format!("it is damaged: {problem}"),
        Error::Unsupported(feature) => {
            format!("this kind of JPEG is not supported ({feature:?}); save it as a baseline or progressive JPEG of 8 bits, or as PNG")
        }
        other => other.to_string(),
    }
}
