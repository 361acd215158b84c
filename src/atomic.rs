//! Files that are whole or not there: written aside, synced, renamed.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::error::WriteError;

/// Writes `bytes` to `path`, in place of what was there, in one step: a kill or a full disk leaves the old file as it was.
///
/// # Errors
///
/// When the folder can't be written to, or the disk is full.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    try_write(path, bytes).map_err(WriteError::at(path))
}

fn try_write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
    let aside = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = File::create(&aside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&aside, path)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    written?;
    sync_folder(folder)
}

/// Makes renames in a folder last through a power cut, where the system can.
///
/// # Errors
///
/// When the folder can't be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        super::write(&path, b"old").unwrap();
        assert!(super::write(&path.join("b"), b"new").is_err());
        super::write(&path, b"newer").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"newer");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
