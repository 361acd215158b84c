//! Detection of truncated image files. Decoders stop after the last pixel of the first frame and do not notice that the rest is missing.

/// Whether a PNG, GIF or WebP file is complete according to its format. Returns `true` for other formats and for files with an unknown structure: the
/// decoder checks them.
pub(super) fn has_end(bytes: &[u8]) -> bool {
    match bytes {
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, chunks @ ..] => png_has_end(chunks),
        [b'G', b'I', b'F', b'8', _, b'a', rest @ ..] => gif_has_end(rest).is_some(),
        [b'R', b'I', b'F', b'F', a, b, c, d, rest @ ..] => rest.len() as u64 >= u64::from(u32::from_le_bytes([*a, *b, *c, *d])),
        _ => true,
    }
}

/// Chunks of length, type, data and checksum, up to IEND (PNG specification, section 5.3).
fn png_has_end(mut chunks: &[u8]) -> bool {
    loop {
        let &[a, b, c, d, ref rest @ ..] = chunks else { return false };
        let Some(chunk) = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok().and_then(|length| rest.get(..length.checked_add(8)?))
        else {
            return false;
        };
        if chunk.starts_with(b"IEND") {
            return true;
        }
        chunks = &rest[chunk.len()..];
    }
}

/// Blocks after the logical screen descriptor, up to the trailer (`GIF89a` specification, sections 18 to 27).
fn gif_has_end(rest: &[u8]) -> Option<()> {
    let colours = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut offset = 7 + colours(*rest.get(4)?);
    loop {
        match rest.get(offset)? {
            0x21 => offset += 2,
            0x2c => offset += 11 + colours(*rest.get(offset + 9)?),
            // The trailer, or an unknown block, which is left to the decoder.
            _ => return Some(()),
        }
        loop {
            let length = usize::from(*rest.get(offset)?);
            offset += 1 + length;
            if length == 0 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageFormat};

    use super::*;

    #[test]
    fn every_truncated_file_is_detected() {
        let image = DynamicImage::ImageRgb8(image::RgbImage::from_fn(9, 7, |x, y| {
            image::Rgb([20 * u8::try_from(x).unwrap(), 30, u8::try_from(y).unwrap()])
        }));
        for format in [ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP] {
            let mut bytes = std::io::Cursor::new(Vec::new());
            image.write_to(&mut bytes, format).unwrap();
            let bytes = bytes.into_inner();
            assert!(has_end(&bytes), "{format:?}");
            assert!(has_end(&[bytes.as_slice(), b"more"].concat()), "bytes after the end are ignored: {format:?}");
            // WebP files have an even length; a padding byte belongs to the file.
            let undetected: Vec<usize> = (12..bytes.len()).filter(|end| has_end(&bytes[..*end])).collect();
            assert_eq!(undetected, [0; 0], "{format:?} of {} bytes", bytes.len());
        }
    }
}
