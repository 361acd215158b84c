//! The lock of a journal: the file that Optuna's file backend takes, with the name of its owner in it.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::journal::Control;
use super::training_lock::{Owner, remove_left_behind};

/// After this time without change a lock was left by a killed process.
const GRACE: Duration = Duration::from_secs(30);
/// A lock is usually held for a few milliseconds. After this time the user is told.
const UNUSUAL: Duration = Duration::from_secs(1);
/// The time between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// The lock file, as long as this value lives.
pub(super) struct JournalLock(PathBuf);

impl JournalLock {
    /// Takes the lock of the journal at `path`. One whose owner has ended on this machine is taken over at once, another one after [`GRACE`] without change. Returns
    /// `None` if it was stopped before.
    ///
    /// # Errors
    ///
    /// When the file can't be made, read or removed.
    pub(super) fn take(path: &Path, control: &mut Control) -> io::Result<Option<Self>> {
        let path = path.with_extension("log.lock");
        let changed = || std::fs::symlink_metadata(&path).and_then(|file| file.modified()).ok();
        let (begun, mut since, mut last, mut is_said) = (Instant::now(), Instant::now(), changed(), false);
        loop {
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    let lock = Self(path);
                    file.write_all(&Owner::this().content(0))?;
                    return Ok(Some(lock));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            let content = match std::fs::read(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                read => read?,
            };
            let (now, owner) = (changed(), Owner::of(&content));
            if now != last {
                (since, last) = (Instant::now(), now);
            }
            if since.elapsed() > GRACE || owner.as_ref().is_some_and(Owner::has_ended) {
                remove_left_behind(&path, &content)?;
                since = Instant::now();
                continue;
            }
            if control.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if begun.elapsed() > UNUSUAL && !is_said {
                is_said = true;
                let (name, seconds) = (owner.map_or("another program".to_owned(), |owner| owner.name()), GRACE.as_secs());
                (control.warn)(&format!(
                    "{name} has locked the journal with `{}`; waiting up to {seconds} seconds to see whether it still runs",
                    path.display()
                ));
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for JournalLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn waiting_for_a_lock_says_so_and_can_be_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.log");
        std::fs::write(folder.path().join("journal.log.lock"), "").unwrap();
        let (stop, mut said, begun) = (AtomicBool::new(false), Vec::new(), Instant::now());
        let mut warn = |text: &str| {
            said.push(text.to_owned());
            stop.store(true, Ordering::Relaxed);
        };
        assert!(JournalLock::take(&path, &mut Control { stop: &stop, warn: &mut warn }).unwrap().is_none());
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert!(said.len() == 1 && said[0].starts_with("another program has locked the journal with `"), "{said:?}");
        assert!(folder.path().join("journal.log.lock").exists(), "the lock of another program is left alone");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_lock_of_a_process_that_has_ended_is_taken_over_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.log");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        std::fs::write(folder.path().join("journal.log.lock"), Owner::of_process(child.id()).content(0)).unwrap();
        let (stop, mut said, begun) = (AtomicBool::new(false), 0, Instant::now());
        let mut warn = |_: &str| said += 1;
        let lock = JournalLock::take(&path, &mut Control { stop: &stop, warn: &mut warn }).unwrap();
        assert!(lock.is_some() && begun.elapsed() < Duration::from_secs(10) && said == 0);
        drop(lock);
        assert!(!folder.path().join("journal.log.lock").exists());
    }
}
