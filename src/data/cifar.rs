//! The binary versions of CIFAR-10 and CIFAR-100: the archive, or the folder in it.
//!
//! Each file holds records of label bytes and 3,072 bytes of pixels: red, green and blue planes of 32 rows. CIFAR-10 has one label, CIFAR-100 a coarse and a fine one, of
//! which the fine one is used.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::{DataError, Images, Shape};

const SHAPE: Shape = Shape { channels: 3, height: 32, width: 32 };
/// The number of records in the official file of test images of each.
const TEST_RECORDS: usize = 10_000;
/// The limit of the unpacked size of an archive in bytes.
const LARGEST_ARCHIVE: u64 = 1 << 30;

/// One of the two datasets.
#[derive(Debug)]
pub(super) struct Cifar {
    /// The name of the source.
    name: &'static str,
    /// The name of the archive.
    archive: &'static str,
    /// The folder in the archive.
    folder: &'static str,
    /// The files of training images.
    train: &'static [&'static str],
    /// The file of test images.
    test: &'static str,
    /// The label bytes of a record. The last one is used.
    labels: usize,
    classes: u8,
    /// The number of records in each official file of training images. Larger files are refused, smaller ones are warned about.
    records: usize,
}

pub(super) const CIFAR10: Cifar = Cifar {
    name: "cifar10",
    archive: "cifar-10-binary.tar.gz",
    folder: "cifar-10-batches-bin",
    train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
    test: "test_batch.bin",
    labels: 1,
    classes: 10,
    records: 10_000,
};

pub(super) const CIFAR100: Cifar = Cifar {
    name: "cifar100",
    archive: "cifar-100-binary.tar.gz",
    folder: "cifar-100-binary",
    train: &["train.bin"],
    test: "test.bin",
    labels: 2,
    classes: 100,
    records: 50_000,
};

type Files = Vec<(PathBuf, Vec<u8>)>;

impl Cifar {
    /// Training and test images, and warnings. `path` is the archive, the unpacked folder, or a folder that has one of them.
    pub(super) fn load(&self, path: &Path) -> Result<(Images, Images, Vec<String>), DataError> {
        let Self { name, archive, folder, .. } = self;
        let mut files = match self.unpacked(path) {
            Some(folder) => self.files_of_folder(&folder)?,
            None if path.is_file() => self.files_of_archive(path)?,
            None if path.join(archive).is_file() => self.files_of_archive(&path.join(archive))?,
            None => {
                let hint = format!(
                    "fetch it with `regulus data fetch {name}`, or set `data.dir` to `{archive}`, or to a folder that has it or `{folder}`"
                );
                return Err(DataError::Missing { path: path.join(archive), hint });
            }
        };
        let mut take = |name: &&str| {
            let index = files.iter().position(|(path, _)| path.file_name().is_some_and(|found| found == *name));
            index.map(|index| files.swap_remove(index)).ok_or_else(|| DataError::content(path, format!("has no `{name}`; fetch it again")))
        };
        let train = self.train.iter().map(&mut take).collect::<Result<Vec<_>, _>>()?;
        let test = take(&self.test)?;
        let expected = train.iter().map(|file| (file, self.records)).chain([(&test, TEST_RECORDS)]);
        let warnings = expected.filter_map(|(file, expected)| self.shortage(file, expected)).collect();
        Ok((self.images(&train)?, self.images(&[test])?, warnings))
    }

    /// A warning about a file with fewer records than the official one.
    fn shortage(&self, (path, bytes): &(PathBuf, Vec<u8>), expected: usize) -> Option<String> {
        let count = bytes.len() / self.record();
        let problem = || format!("`{}` has {count} images; the official file has {expected}: is it whole?", path.display());
        (count < expected).then(problem)
    }

    /// The folder of the unpacked files: a folder in `path`, or `path` itself.
    pub(super) fn unpacked(&self, path: &Path) -> Option<PathBuf> {
        let has_files = |folder: &PathBuf| folder.join(self.test).is_file() || folder.join(self.train[0]).is_file();
        [path.join(self.folder), path.to_owned()].into_iter().find(has_files)
    }

    fn files(&self) -> impl Iterator<Item = &'static str> {
        self.train.iter().copied().chain([self.test])
    }

    /// The bytes of a record.
    const fn record(&self) -> usize {
        self.labels + SHAPE.size()
    }

    fn files_of_folder(&self, folder: &Path) -> Result<Files, DataError> {
        let mut files = Vec::new();
        for name in self.files() {
            let path = folder.join(name);
            let file = File::open(&path).map_err(DataError::read(&path))?;
            files.push((path.clone(), self.limited(&path, file)?));
        }
        Ok(files)
    }

    fn files_of_archive(&self, path: &Path) -> Result<Files, DataError> {
        let file = BufReader::new(File::open(path).map_err(DataError::read(path))?);
        let damaged = |error: std::io::Error| DataError::content(path, format!("is not a whole .tar.gz archive ({error}); fetch it again"));
        let mut unpacked = MultiGzDecoder::new(file).take(LARGEST_ARCHIVE);
        let mut archive = tar::Archive::new(&mut unpacked);
        let mut files = Vec::new();
        for entry in archive.entries().map_err(damaged)? {
            let entry = entry.map_err(damaged)?;
            let inside = entry.path().map_err(damaged)?.into_owned();
            let is_wanted = inside.file_name().is_some_and(|found| self.files().any(|name| found == name));
            if entry.header().entry_type().is_file() && is_wanted {
                let size = entry.size();
                let bytes = self.limited(&path.join(&inside), entry)?;
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

    fn limited(&self, path: &Path, file: impl Read) -> Result<Vec<u8>, DataError> {
        let most = (self.records.max(TEST_RECORDS) * self.record()) as u64;
        let mut bytes = Vec::new();
        file.take(most + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| DataError::content(path, format!("can't be read whole ({error}); fetch it again")))?;
        if bytes.len() as u64 > most {
            return Err(DataError::content(path, format!("has more than the {most} bytes of the official file")));
        }
        Ok(bytes)
    }

    fn images(&self, files: &[(PathBuf, Vec<u8>)]) -> Result<Images, DataError> {
        let size = self.record();
        let count: usize = files.iter().map(|(_, bytes)| bytes.len() / size).sum();
        let mut images = Images::new(SHAPE, Vec::with_capacity(count * SHAPE.size()), Vec::with_capacity(count));
        for (path, bytes) in files {
            if bytes.is_empty() || bytes.len() % size != 0 {
                let labels = if self.labels == 1 { "a label" } else { "two labels" };
                let problem =
                    format!("has {} bytes; expected a multiple of {size}, {labels} and 3×32×32 pixels for each image", bytes.len());
                return Err(DataError::content(path, problem));
            }
            for (index, record) in bytes.chunks_exact(size).enumerate() {
                let (labels, pixels) = record.split_at(self.labels);
                let label = labels[self.labels - 1];
                if label >= self.classes {
                    let problem = format!("has the label {label} in record {index}; expected 0 to {}", self.classes - 1);
                    return Err(DataError::content(path, problem));
                }
                images.labels.push(label.into());
                images.pixels.extend(pixels);
            }
        }
        Ok(images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_labels_and_planes() {
        for (cifar, labels) in [(CIFAR10, vec![7]), (CIFAR100, vec![99, 7])] {
            let mut record = labels;
            let last = record.len() - 1;
            record.extend((0..3072_u32).map(|index| u8::try_from(index / 1024).unwrap()));
            let read = cifar.images(&[("a.bin".into(), record.repeat(2))]).unwrap();
            assert_eq!(read.labels, [7, 7]);
            assert_eq!((read.pixels_of(1)[0], read.pixels_of(1)[1024], read.pixels_of(1)[3071]), (0, 1, 2));
            let message = |bytes: Vec<u8>| cifar.images(&[("a.bin".into(), bytes)]).unwrap_err().to_string();
            assert!(message(record[..3072].to_vec()).contains(&format!("expected a multiple of {}", record.len())));
            record[last] = cifar.classes;
            assert!(message(record).contains(&format!("the label {} in record 0; expected 0 to {}", cifar.classes, cifar.classes - 1)));
        }
    }
}
