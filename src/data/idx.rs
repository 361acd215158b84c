//! The IDX format of the MNIST files, plain or gzip-compressed.
//!
//! Layout: two zero bytes, the element type (0x08: unsigned byte), the rank, one big-endian 32-bit size for each dimension, then
//! the elements. Images have rank 3 `[count, height, width]` or rank 4 `[count, height, width, channels]`, labels rank 1.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::{DataError, Images, Shape};

/// The limit of the unpacked size of a file in bytes, whatever its header states.
const LARGEST: u64 = 16 << 30;
/// The size of a header of rank 4 in bytes.
const LONGEST_HEADER: u64 = 20;

/// Finds the file `name` in `dir`, with or without `.gz`. Accepts names that unpackers give: `.idx3-` for `-idx3-`, and a file in a folder of the same
/// name. Returns `None` if there is no such file.
pub(super) fn find(dir: &Path, name: &Path) -> Option<PathBuf> {
    let given = name.to_string_lossy();
    let plain = given.strip_suffix(".gz").unwrap_or(&given);
    let other = if plain.contains("-idx") { plain.replace("-idx", ".idx") } else { plain.replace(".idx", "-idx") };
    let names = [given.to_string(), plain.to_owned(), format!("{plain}.gz"), other.clone(), format!("{other}.gz")];
    let nested = names.iter().map(|name| Path::new(name).join(Path::new(name).file_name().unwrap_or_default()));
    names.iter().map(PathBuf::from).chain(nested).map(|name| dir.join(name)).find(|path| path.is_file())
}

/// Finds the image file and the label file of a split in `dir`. `words` are the words of which the file name has one. Returns `None` if there are no such
/// files.
///
/// # Errors
///
/// When several files match, or one of the two is missing.
pub(super) fn find_pair(dir: &Path, words: &[&str]) -> Result<Option<[PathBuf; 2]>, DataError> {
    let entries = std::fs::read_dir(dir).map_err(DataError::read(dir))?;
    let files = entries.flatten().filter(|entry| entry.path().is_file());
    let mut names: Vec<String> = files.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let mut pair = Vec::new();
    for (rank, kind) in [("idx3", "images"), ("idx1", "labels")] {
        let matches = |name: &&String| {
            let name = name.to_lowercase();
            let plain = name.strip_suffix(".gz").unwrap_or(&name);
            plain.contains(rank) && plain.ends_with("ubyte") && words.iter().any(|word| plain.contains(word))
        };
        let mut found: Vec<&String> = names.iter().filter(matches).collect();
        // A packed file beside its unpacked one is the same file.
        found.retain(|name| !name.strip_suffix(".gz").is_some_and(|plain| names.iter().any(|other| other == plain)));
        match found.as_slice() {
            [] => {}
            [one] => pair.push(dir.join(one)),
            [first, second, ..] => {
                let problem = format!("has `{first}` and `{second}`; name the file of {kind} to use, as in `data.{}_{kind}`", words[0]);
                return Err(DataError::content(dir, problem));
            }
        }
    }
    match pair.as_slice() {
        [] => Ok(None),
        [images, labels] => Ok(Some([images.clone(), labels.clone()])),
        [alone, ..] => {
            let problem = format!("has no counterpart; a {} split has two files, idx3 for images and idx1 for labels", words[0]);
            Err(DataError::content(alone, problem))
        }
    }
}

/// Transposes every image.
pub(super) fn transposed(images: Images) -> Images {
    let Shape { channels, height, width } = images.shape_of(0);
    let mut pixels = Vec::with_capacity(images.pixels.len());
    for plane in images.pixels.chunks_exact(height * width) {
        for column in 0..width {
            pixels.extend(plane.iter().skip(column).step_by(width));
        }
    }
    Images::new(Shape { channels, height: width, width: height }, pixels, images.labels)
}

/// Reads an image file and its label file.
pub(super) fn read_pair(images: &Path, labels: &Path) -> Result<Images, DataError> {
    let image_bytes = read_file(images)?;
    check_labels(labels, images, &image_bytes)?;
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
    Ok(Images::new(shape, pixels, labels.1[label_start..].iter().map(|label| u32::from(*label)).collect()))
}

/// Reads a file, unpacking it if it is gzip-compressed.
///
/// # Errors
///
/// When it can't be read or unpacked.
pub fn read_file(path: &Path) -> Result<Vec<u8>, DataError> {
    let bytes = std::fs::read(path).map_err(DataError::read(path))?;
    if bytes.starts_with(&[0x1f, 0x8b]) { unpack(path, &bytes) } else { Ok(bytes) }
}

/// Compares the count of a packed label file with the images before the file is unpacked.
fn check_labels(path: &Path, images: &Path, image_bytes: &[u8]) -> Result<(), DataError> {
    let count = |bytes: &[u8]| bytes.get(4..8).and_then(|count| Some(u32::from_be_bytes(count.try_into().ok()?)));
    let mut start = Vec::new();
    let packed = std::fs::File::open(path).map_err(DataError::read(path))?;
    // An unpacked or damaged file is reported when it is read.
    let _ = MultiGzDecoder::new(packed).take(8).read_to_end(&mut start);
    match (start.starts_with(&[0, 0, 8, 1]), count(&start), count(image_bytes)) {
        (true, Some(labels), Some(count)) if labels != count => {
            Err(DataError::content(images, format!("holds {count} images, but `{}` holds {labels} labels", path.display())))
        }
        _ => Ok(()),
    }
}

/// Unpacks gzip-compressed bytes: at most one byte more than the IDX header states.
pub(super) fn unpack(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    let damaged = |error: std::io::Error| DataError::content(path, format!("is not a whole gzip file ({error}); fetch it again"));
    let mut decoder = MultiGzDecoder::new(bytes);
    let mut unpacked = Vec::new();
    (&mut decoder).take(LONGEST_HEADER).read_to_end(&mut unpacked).map_err(damaged)?;
    let wanted = match *unpacked.as_slice() {
        [0, 0, _, rank, ref sizes @ ..] => {
            let sizes =
                sizes.chunks_exact(4).take(rank.into()).map(|size| u64::from(u32::from_be_bytes([size[0], size[1], size[2], size[3]])));
            sizes.fold(1_u64, u64::saturating_mul).saturating_add(4 + 4 * u64::from(rank))
        }
        // Not IDX: reported when the header is read.
        _ => 0,
    };
    if wanted > LARGEST {
        return Err(DataError::content(path, format!("promises more than {} GiB", LARGEST >> 30)));
    }
    // Deflate compresses at most 1032 : 1.
    let capacity = wanted.min(bytes.len() as u64 * 1032);
    unpacked.reserve_exact(usize::try_from(capacity).unwrap_or(0));
    let rest = (wanted + 1).saturating_sub(unpacked.len() as u64);
    decoder.take(rest).read_to_end(&mut unpacked).map_err(damaged)?;
    Ok(unpacked)
}

/// Checks the header against the length of the file. Returns the sizes and the offset of the elements.
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
        Some(promised) if found > promised => {
            fail(format!("has more bytes after its header than the {promised} that it promises ({sizes:?})"))
        }
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
        assert_eq!(images.shape_of(0), Shape { channels: 3, height: 1, width: 2 });
        assert_eq!(images.pixels, [1, 4, 2, 5, 3, 6]);
        assert_eq!(images.labels, [7]);
    }

    #[test]
    fn images_are_transposed() {
        let images = read(file(3, &[1, 2, 3], &[1, 2, 3, 4, 5, 6]), &file(1, &[1], &[7])).unwrap();
        let images = transposed(images);
        assert_eq!(images.shape_of(0), Shape { channels: 1, height: 3, width: 2 });
        assert_eq!(images.pixels, [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn files_are_found_under_the_names_unpackers_give_them() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "t10k-images.idx3-ubyte",
            "t10k-labels-idx1-ubyte.gz",
            "train-images-idx3-ubyte/train-images-idx3-ubyte",
            "emnist-train-labels-idx1-ubyte",
        ];
        for name in names {
            std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let found = |name: &str| find(dir.path(), Path::new(name)).map(|path| path.strip_prefix(dir.path()).unwrap().display().to_string());
        assert_eq!(found("t10k-images-idx3-ubyte").as_deref(), Some(names[0]));
        assert_eq!(found("t10k-images-idx3-ubyte.gz").as_deref(), Some(names[0]));
        assert_eq!(found("t10k-labels-idx1-ubyte").as_deref(), Some(names[1]));
        assert_eq!(found("train-images-idx3-ubyte").as_deref(), Some(names[2]));
        assert_eq!(found("train-labels-idx1-ubyte"), None);
        let pair = find_pair(dir.path(), &["test", "t10k"]).unwrap().unwrap();
        assert_eq!(pair, [dir.path().join(names[0]), dir.path().join(names[1])]);
        assert_eq!(find_pair(dir.path(), &["valid"]).unwrap(), None);
        let alone = find_pair(dir.path(), &["train"]).unwrap_err().to_string();
        assert!(alone.contains("emnist-train-labels-idx1-ubyte` has no counterpart"), "{alone}");
        std::fs::write(dir.path().join("t10k-images-idx3-ubyte"), "").unwrap();
        let message = find_pair(dir.path(), &["test", "t10k"]).unwrap_err().to_string();
        assert!(message.contains("name the file of images to use, as in `data.test_images`"), "{message}");
    }

    #[test]
    fn a_wrong_header_is_reported() {
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
        let messages: Vec<String> = cases.into_iter().map(Result::unwrap_err).collect();
        insta::assert_snapshot!(messages.join("\n"));
    }
}
