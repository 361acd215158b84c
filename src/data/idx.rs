//! The IDX format of the MNIST files, plain or gzip-compressed.
//!
//! Layout: two zero bytes, the element type (0x08: unsigned byte), the rank, one big-endian 32-bit size for each dimension, then
//! the elements. Images have rank 3 `[count, height, width]` or rank 4 `[count, height, width, channels]`, labels rank 1.

use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::{DataError, Images, Shape};

/// No file of more than this many bytes is read, unpacked: a lying header or a gzip bomb ends here.
const LARGEST: u64 = 16 << 30;

/// Reads a pair of files into one set.
pub(super) fn read_pair(images: &Path, labels: &Path) -> Result<Images, DataError> {
    let image_bytes = read_file(images)?;
    let label_bytes = read_file(labels)?;
    pair((images, image_bytes), (labels, &label_bytes))
}

/// Joins the unpacked contents of an image file and a label file.
pub(super) fn pair(images: (&Path, Vec<u8>), labels: (&Path, &[u8])) -> Result<Images, DataError> {
    let (image_path, mut bytes) = images;
    let (sizes, start) = header(image_path, &bytes, &[3, 4], "images")?;
    let (label_sizes, label_start) = header(labels.0, labels.1, &[1], "labels")?;
    let [count, height, width] = [sizes[0], sizes[1], sizes[2]];
    let channels = sizes.get(3).copied().unwrap_or(1);
    if count != label_sizes[0] {
        let problem = format!("holds {count} images, but `{}` holds {} labels", labels.0.display(), label_sizes[0]);
        return Err(DataError::content(image_path, problem));
    }
    if count == 0 || height == 0 || width == 0 || !(1..=4).contains(&channels) {
        let problem =
            format!("says its sizes are {sizes:?}; expected [count, height, width] or [count, height, width, channels (1 to 4)], all > 0");
        return Err(DataError::content(image_path, problem));
    }
    bytes.drain(..start);
    let shape = Shape { channels, height, width };
    let pixels = if channels == 1 { bytes } else { channels_first(&bytes, shape) };
    Ok(Images { shape, pixels, labels: labels.1[label_start..].iter().map(|label| u32::from(*label)).collect() })
}

/// Reads a file, unpacking it if it is gzip-compressed.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, DataError> {
    let bytes = std::fs::read(path).map_err(DataError::read(path))?;
    if bytes.starts_with(&[0x1f, 0x8b]) { unpack(path, &bytes) } else { Ok(bytes) }
}

/// Unpacks gzip-compressed bytes.
pub(super) fn unpack(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    let mut unpacked = Vec::new();
    match MultiGzDecoder::new(bytes).take(LARGEST + 1).read_to_end(&mut unpacked) {
        Ok(read) if read as u64 > LARGEST => Err(DataError::content(path, format!("unpacks to more than {} GiB", LARGEST >> 30))),
        Ok(_) => Ok(unpacked),
        Err(error) => Err(DataError::content(path, format!("is not a whole gzip file ({error}); fetch it again"))),
    }
}

/// The sizes a header states and where the elements start, once they are known to agree with the length of the file.
fn header(path: &Path, bytes: &[u8], ranks: &[usize], what: &str) -> Result<(Vec<usize>, usize), DataError> {
    let fail = |problem: String| Err(DataError::content(path, problem));
    let &[zero, also_zero, kind, rank, ..] = bytes else {
        return fail(format!("is {} bytes long, shorter than an IDX header", bytes.len()));
    };
    let rank = usize::from(rank);
    if zero != 0 || also_zero != 0 || kind != 0x08 || !ranks.contains(&rank) {
        let expected: Vec<_> = ranks.iter().map(|rank| format!("{:#010x}", 0x0800 + rank)).collect();
        let found = u32::from_be_bytes([zero, also_zero, kind, bytes[3]]);
        return fail(format!("starts with {found:#010x}; an IDX file of {what} starts with {}", expected.join(" or ")));
    }
    let start = 4 + 4 * rank;
    if bytes.len() < start {
        return fail(format!("is {} bytes long, shorter than its IDX header of {start}", bytes.len()));
    }
    let sizes: Vec<usize> =
        bytes[4..start].chunks_exact(4).map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize).collect();
    let promised = sizes.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    let found = bytes.len() - start;
    match promised {
        Some(promised) if promised == found => Ok((sizes, start)),
        promised => {
            let promised = promised.map_or("more than memory can hold".to_owned(), |promised| promised.to_string());
            fail(format!("has {found} bytes after its header, which promises {promised} ({sizes:?})"))
        }
    }
}

fn channels_first(bytes: &[u8], shape: Shape) -> Vec<u8> {
    let Shape { channels, .. } = shape;
    let mut pixels = Vec::with_capacity(bytes.len());
    for image in bytes.chunks_exact(shape.size()) {
        for channel in 0..channels {
            pixels.extend(image.iter().skip(channel).step_by(channels));
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(rank: u8, sizes: &[u32], body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, rank];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend(body);
        bytes
    }

    fn read(images: Vec<u8>, labels: &[u8]) -> Result<Images, String> {
        pair((Path::new("images"), images), (Path::new("labels"), labels)).map_err(|error| error.to_string())
    }

    #[test]
    fn colour_images_become_channels_first() {
        let images = read(file(4, &[1, 1, 2, 3], &[1, 2, 3, 4, 5, 6]), &file(1, &[1], &[7])).unwrap();
        assert_eq!(images.shape, Shape { channels: 3, height: 1, width: 2 });
        assert_eq!(images.pixels, [1, 4, 2, 5, 3, 6]);
        assert_eq!(images.labels, [7]);
    }

    #[test]
    fn a_lying_header_is_told() {
        let good = file(1, &[1], &[7]);
        let cases = [
            read(vec![0, 0], &good),
            read(file(3, &[1, 2, 2], &[0; 3]), &good),
            read(file(3, &[u32::MAX, u32::MAX, u32::MAX], &[0; 4]), &good),
            read(file(3, &[2, 1, 1], &[0; 2]), &good),
            read(file(3, &[1, 0, 4], &[]), &good),
            read(file(1, &[1], &[0]), &good),
            read(b"\x89PNG\r\n".to_vec(), &good),
            read(file(3, &[1, 2, 2], &[0; 4])[..9].to_vec(), &good),
        ];
        let told: Vec<String> = cases.into_iter().map(Result::unwrap_err).collect();
        insta::assert_snapshot!(told.join("\n"));
    }
}
