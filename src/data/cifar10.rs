//! The binary version of CIFAR-10: the archive, or the folder in it.
//!
//! Each of `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin` holds records of one label byte and 3,072 bytes of pixels: red, green and
//! blue planes of 32 rows. `batches.meta.txt` names the classes.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::{DataError, Images, Shape};

/// The name of the archive.
pub(super) const ARCHIVE: &str = "cifar-10-binary.tar.gz";
/// The folder in the archive.
const FOLDER: &str = "cifar-10-batches-bin";
const TRAIN: [&str; 5] = ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const TEST: &str = "test_batch.bin";

const SHAPE: Shape = Shape { channels: 3, height: 32, width: 32 };
const RECORD: usize = 1 + SHAPE.size();
const CLASSES: u8 = 10;
/// The size of each official file. Larger files are refused.
const LARGEST_FILE: u64 = 10_000 * RECORD as u64;
/// The limit of the unpacked size of an archive in bytes.
const LARGEST_ARCHIVE: u64 = 1 << 30;

/// Training and test images. `path` is the archive, the unpacked folder, or a folder that has one of them.
pub(super) fn load(path: &Path) -> Result<(Images, Images), DataError> {
    let mut files = match unpacked(path) {
        Some(folder) => from_folder(&folder)?,
        None if path.is_file() => from_archive(path)?,
        None if path.join(ARCHIVE).is_file() => from_archive(&path.join(ARCHIVE))?,
        None => {
            let hint = format!(
                "fetch it with `regulus data fetch cifar10`, or set `data.dir` to `{ARCHIVE}`, or to a folder that has it or `{FOLDER}`"
            );
            return Err(DataError::Missing { path: path.join(ARCHIVE), hint });
        }
    };
    let mut take = |name: &str| {
        let index = files.iter().position(|(path, _)| path.file_name().is_some_and(|found| found == name));
        index.map(|index| files.swap_remove(index)).ok_or_else(|| DataError::content(path, format!("has no `{name}`; fetch it again")))
    };
    let train = TRAIN.map(&mut take).into_iter().collect::<Result<Vec<_>, _>>()?;
    let test = take(TEST)?;
    Ok((images(&train)?, images(&[test])?))
}

/// The folder of the unpacked files: a folder in `path`, or `path` itself.
pub(super) fn unpacked(path: &Path) -> Option<PathBuf> {
    [path.join(FOLDER), path.to_owned()].into_iter().find(|folder| folder.join(TEST).is_file() || folder.join(TRAIN[0]).is_file())
}

type Files = Vec<(PathBuf, Vec<u8>)>;

fn from_folder(folder: &Path) -> Result<Files, DataError> {
    let mut files = Vec::new();
    for name in TRAIN.into_iter().chain([TEST]) {
        let path = folder.join(name);
        let file = File::open(&path).map_err(DataError::read(&path))?;
        files.push((path.clone(), limited(&path, file)?));
    }
    Ok(files)
}

fn from_archive(path: &Path) -> Result<Files, DataError> {
    let file = BufReader::new(File::open(path).map_err(DataError::read(path))?);
    let damaged = |error: std::io::Error| DataError::content(path, format!("is not a whole .tar.gz archive ({error}); fetch it again"));
    let mut unpacked = MultiGzDecoder::new(file).take(LARGEST_ARCHIVE);
    let mut archive = tar::Archive::new(&mut unpacked);
    let mut files = Vec::new();
    for entry in archive.entries().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let inside = entry.path().map_err(damaged)?.into_owned();
        let is_wanted = inside.file_name().is_some_and(|found| TRAIN.iter().chain([&TEST]).any(|name| found == *name));
        if entry.header().entry_type().is_file() && is_wanted {
            let size = entry.size();
            let bytes = limited(&path.join(&inside), entry)?;
            if bytes.len() as u64 != size {
                return Err(DataError::content(path, "is not a whole .tar.gz archive; fetch it again"));
            }
            files.push((path.join(inside), bytes));
        }
    }
    // The archive ends before the gzip checksum at the end of the file: read on to verify it.
    std::io::copy(&mut unpacked, &mut std::io::sink()).map_err(damaged)?;
    if unpacked.limit() == 0 {
        return Err(DataError::content(path, format!("unpacks to more than {} MiB", LARGEST_ARCHIVE >> 20)));
    }
    Ok(files)
}

fn limited(path: &Path, file: impl Read) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| DataError::content(path, format!("can't be read whole ({error}); fetch it again")))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(DataError::content(path, format!("has more than the {LARGEST_FILE} bytes of the official file")));
    }
    Ok(bytes)
}

fn images(files: &[(PathBuf, Vec<u8>)]) -> Result<Images, DataError> {
    let count: usize = files.iter().map(|(_, bytes)| bytes.len() / RECORD).sum();
    let mut images = Images::new(SHAPE, Vec::with_capacity(count * SHAPE.size()), Vec::with_capacity(count));
    for (path, bytes) in files {
        if bytes.is_empty() || bytes.len() % RECORD != 0 {
            let problem = format!("has {} bytes; expected a multiple of {RECORD}, a label and 3×32×32 pixels for each image", bytes.len());
            return Err(DataError::content(path, problem));
        }
        for (index, record) in bytes.chunks_exact(RECORD).enumerate() {
            let label = record[0];
            if label >= CLASSES {
                return Err(DataError::content(path, format!("has the label {label} in record {index}; expected 0 to 9")));
            }
            images.labels.push(label.into());
            images.pixels.extend(&record[1..]);
        }
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_label_and_planes() {
        let mut record = vec![7];
        record.extend((0..3072_u32).map(|index| u8::try_from(index / 1024).unwrap()));
        let read = images(&[("a.bin".into(), record.repeat(2))]).unwrap();
        assert_eq!(read.labels, [7, 7]);
        assert_eq!((read.pixels_of(1)[0], read.pixels_of(1)[1024], read.pixels_of(1)[3071]), (0, 1, 2));
        let message = |bytes: Vec<u8>| images(&[("a.bin".into(), bytes)]).unwrap_err().to_string();
        assert!(message(record[..3072].to_vec()).contains("expected a multiple of 3073"));
        record[0] = 10;
        assert!(message(record).contains("the label 10 in record 0"));
    }
}
