//! Atomic file writes: a temporary file is written, synced and renamed.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::WriteError;

/// Writes to standard output what goes to the path `-`. Without it that is a file of this name.
static STANDARD_OUTPUT: OnceLock<Writer> = OnceLock::new();

/// Writes bytes.
type Writer = fn(&[u8]) -> io::Result<()>;

/// The longest chain of symbolic links that is followed, as on Linux.
const LONGEST_CHAIN: usize = 40;

/// Replaces the file at `path` by `bytes` in one step. A kill or a full disk leaves the old file unchanged. The new file has the permissions of
/// the old one. A symbolic link is followed and kept. A pipe, socket or device is opened and written to.
///
/// # Errors
///
/// When `path` is a folder, can't be written to, or the disk is full.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    match STANDARD_OUTPUT.get().filter(|_| is_dash(path)) {
        Some(write) => write(bytes).map_err(WriteError::at(Path::new("standard output"))),
        None => try_write(path, bytes).map_err(WriteError::at(path)),
    }
}

/// Makes the path `-` standard output, for [`write()`]: `write` writes there. A second call changes nothing.
pub fn set_standard_output(write: fn(&[u8]) -> io::Result<()>) {
    STANDARD_OUTPUT.get_or_init(|| write);
}

/// Whether `path` is `-`.
#[must_use]
pub fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

/// Whether `path` is standard output, a pipe, socket or device, or a link to one.
#[must_use]
pub fn is_special(path: &Path) -> bool {
    STANDARD_OUTPUT.get().is_some_and(|_| is_dash(path))
        || std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// Follows the symbolic links at `path` to the end. The target need not exist.
///
/// # Errors
///
/// When a link can't be read, or the links form a circle.
pub fn target(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..LONGEST_CHAIN {
        match target.symlink_metadata() {
            Ok(metadata) if metadata.is_symlink() => {
                let next = std::fs::read_link(&target)?;
                target = folder_of(&target).join(next);
            }
            _ => return Ok(target),
        }
    }
    Err(io::Error::other("its symbolic links go in a circle"))
}

fn try_write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let found = match std::fs::metadata(path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match found {
        Some(metadata) if metadata.is_dir() => Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder; expected a file")),
        Some(metadata) if !metadata.is_file() => File::options().write(true).open(path)?.write_all(bytes),
        found => replace(&target(path)?, bytes, found.as_ref()),
    }
}

/// Writes a temporary file and renames it to `path`, which is not a link. `before` is the metadata of the file that is replaced.
fn replace(path: &Path, bytes: &[u8], before: Option<&Metadata>) -> io::Result<()> {
    let folder = folder_of(path);
    let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
    let temporary = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        if let Some(before) = before {
            copy_owner(&temporary, before);
            file.set_permissions(before.permissions())?;
        }
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    sync_folder(folder)
}

/// Copies owner and group of the replaced file, where the system allows it.
#[cfg(unix)]
fn copy_owner(path: &Path, before: &Metadata) {
    use std::os::unix::fs::{MetadataExt, chown};

    let _ = chown(path, Some(before.uid()), Some(before.gid()));
}

#[cfg(not(unix))]
fn copy_owner(_path: &Path, _before: &Metadata) {}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Syncs a folder, so that renames in it survive a power cut. Does nothing on systems other than Unix.
///
/// # Errors
///
/// When the folder can't be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        super::write(&path, b"old").unwrap();
        assert!(super::write(&path.join("b"), b"new").is_err());
        super::write(&path, b"newer").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"newer");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = super::write(folder.path(), b"new").unwrap_err();
        assert!(error.source.to_string().contains("it is a folder; expected a file"), "{error:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_the_file_it_points_to_is_written_with_its_permissions() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("store")).unwrap();
        fs::write(at("store/old"), b"old").unwrap();
        fs::set_permissions(at("store/old"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("old", at("store/link")).unwrap();
        symlink("store/link", at("chain")).unwrap();
        symlink("store/none", at("dangling")).unwrap();
        symlink("circle", at("circle")).unwrap();
        super::write(&at("chain"), b"new").unwrap();
        super::write(&at("dangling"), b"made").unwrap();
        assert!(super::write(&at("circle"), b"new").is_err());
        for link in ["chain", "store/link", "dangling", "circle"] {
            assert!(at(link).is_symlink(), "{link}");
        }
        assert_eq!(fs::read(at("store/old")).unwrap(), b"new");
        assert_eq!(fs::metadata(at("store/old")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read(at("store/none")).unwrap(), b"made");
        assert_eq!(fs::read_dir(at("store")).unwrap().count(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_or_device_is_written_to_and_never_replaced() {
        use std::os::unix::fs::{FileTypeExt, symlink};

        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        symlink("pipe", at("link")).unwrap();
        for name in ["pipe", "link"] {
            let path = at(name);
            let reader = std::thread::spawn(move || fs::read(path).unwrap());
            super::write(&at(name), b"bytes").unwrap();
            assert_eq!(reader.join().unwrap(), b"bytes");
            assert!(super::is_special(&at(name)));
        }
        assert!(fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
        assert!(at("link").is_symlink());
        symlink("/dev/null", at("null")).unwrap();
        super::write(&at("null"), b"bytes").unwrap();
        assert!(at("null").is_symlink() && fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
