//! Whether an image file has its end. Decoders stop at the last pixel, or the first picture of several, and do not miss what comes after.

/// Whether a PNG, GIF or WebP file ends where its format says it does; other formats, and what can't be followed, are left to the decoder.
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
    let mut place = 7 + colours(*rest.get(4)?);
    loop {
        match rest.get(place)? {
            0x21 => place += 2,
            0x2c => place += 11 + colours(*rest.get(place + 9)?),
            // The trailer; or no block at all, of which the decoder says what it makes.
            _ => return Some(()),
        }
        loop {
            let length = usize::from(*rest.get(place)?);
            place += 1 + length;
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
    fn every_cut_of_a_file_is_seen() {
        let image = DynamicImage::ImageRgb8(image::RgbImage::from_fn(9, 7, |x, y| {
            image::Rgb([20 * u8::try_from(x).unwrap(), 30, u8::try_from(y).unwrap()])
        }));
        for format in [ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP] {
            let mut bytes = std::io::Cursor::new(Vec::new());
            image.write_to(&mut bytes, format).unwrap();
            let bytes = bytes.into_inner();
            assert!(has_end(&bytes), "{format:?}");
            assert!(has_end(&[bytes.as_slice(), b"more"].concat()), "what follows the end does not matter: {format:?}");
            // WebP files have an even length; the last byte may be a filling one, which belongs to the file.
            let cuts: Vec<usize> = (12..bytes.len()).filter(|end| has_end(&bytes[..*end])).collect();
            assert_eq!(cuts, [0; 0], "{format:?} of {} bytes", bytes.len());
        }
    }
}
