//! The lock of a folder that only one process may write to.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use super::RunError;
use crate::error::{Error, WriteError};

/// The name of the file.
pub(crate) const LOCK: &str = "lock";
/// [`is_locked`] has the lock for an instant, so that a taken one is tried again this often.
const RETRIES: u32 = 3;
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Locks `folder` until the returned file is dropped or the process ends.
///
/// # Errors
///
/// When another process has the lock, or the folder can't be written to.
pub(crate) fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK);
    let file = File::create(&path).map_err(WriteError::at(&path))?;
    for attempt in 0.. {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if attempt < RETRIES => std::thread::sleep(RETRY_AFTER),
            Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(source)) => return Err(WriteError { path, source }.into()),
        }
    }
    Err(RunError::InUse { path: folder.to_owned() }.into())
}

/// Whether a process has locked `folder`. Nothing is written.
pub(crate) fn is_locked(folder: &Path) -> bool {
    File::open(folder.join(LOCK)).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_seen_while_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_locked(folder.path()) && !folder.path().join(LOCK).exists());
        let held = lock(folder.path()).unwrap();
        assert!(is_locked(folder.path()));
        let error = lock(folder.path()).unwrap_err();
        assert!(matches!(&error, Error::Run(RunError::InUse { .. })), "{error}");
        drop(held);
        assert!(!is_locked(folder.path()));
        drop(lock(folder.path()).unwrap());
    }
}
