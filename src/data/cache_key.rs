//! What a file in the cache was made of.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::cache_dir;
use super::scan::FoundFile;
use crate::checksum::{hex, sha256};
use crate::error::WriteError;

/// The resolution of file times in nanoseconds. A file that was changed later than this before the listing may change again without a new time.
const TICK: i128 = 50_000_000;
/// The prefix of the names of unfinished files.
const TEMPORARY_PREFIX: &str = ".new-";
/// Unfinished files that are older than this were left by a killed process.
const ABANDONED: Duration = Duration::from_hours(24);

/// What a file in the cache was made of.
pub(super) struct CacheKey {
    /// The path without an extension.
    stem: PathBuf,
    /// SHA-256 over options, names, sizes and times.
    key: String,
    /// The time of the listing, in nanoseconds since 1970.
    listed_at: i128,
    /// The latest time of a file.
    newest: i128,
}

impl CacheKey {
    /// The key of `files` in `dir` that are read with `settings`. `hash_into` adds their names, sizes and times to a hash. Returns `None` if there is no cache
    /// folder.
    pub(super) fn new<'a>(
        dir: &Path,
        settings: &str,
        files: impl Iterator<Item = &'a FoundFile>,
        hash_into: impl FnOnce(&mut Sha256),
    ) -> Option<Self> {
        let name = sha256(format!("{}\n{settings}", dir.canonicalize().ok()?.display()).as_bytes());
        let stem = cache_dir().ok()?.join("decoded").join(&name[..32]);
        let mut key = Sha256::new_with_prefix(settings.as_bytes());
        hash_into(&mut key);
        let newest = files.map(|file| if cfg!(unix) { file.stamp[2] } else { file.stamp[1] }).max().unwrap_or(0);
        let listed_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| i128::try_from(now.as_nanos()).unwrap_or(0));
        Some(Self { stem, key: hex(key), listed_at, newest })
    }

    /// The file with this extension.
    pub(super) fn path(&self, extension: &str) -> PathBuf {
        self.stem.with_extension(extension)
    }

    /// The checksum over options, names, sizes and times.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether no file has changed so shortly before the listing that it could change again unnoticed.
    pub(super) fn is_settled(&self) -> bool {
        self.newest <= self.listed_at - TICK
    }

    /// Writes the file with this extension under a temporary name and renames it.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub(super) fn write(
        &self,
        extension: &str,
        content: impl FnOnce(&mut tempfile::NamedTempFile) -> std::io::Result<()>,
    ) -> Result<(), WriteError> {
        let path = self.path(extension);
        let write = |folder: &Path| {
            std::fs::create_dir_all(folder)?;
            remove_abandoned(folder);
            let mut temporary = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(folder)?;
            content(&mut temporary)?;
            temporary.persist(&path)?;
            Ok(())
        };
        write(path.parent().unwrap_or(Path::new("."))).map_err(WriteError::at(&path))
    }
}

/// Removes unfinished files that killed processes left.
fn remove_abandoned(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX)) {
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > ABANDONED) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
