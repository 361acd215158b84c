//! The lock of one training, for processes on several machines that share the folder.
//!
//! The lock is a file that only one process can create. File systems on a network do that reliably, unlike their locks on parts of files. Its owner rewrites it
//! every few seconds, so that a file that does not change any more was left by a killed process and can be taken over. On the same machine it is also left
//! behind if there is no such process.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::error::{Error, WriteError};
use crate::run::RunError;

/// The time between two writes of the owner.
const BEAT: Duration = Duration::from_secs(5);
/// A file that has not changed for this time was left behind. Caches of network file systems last less long.
pub(super) const LEFT_BEHIND: Duration = Duration::from_mins(1);
/// The time between two looks at the lock of another process.
const LOOK: Duration = Duration::from_millis(200);

/// The owner of a lock, as written in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    /// The name of the machine.
    host: String,
    /// The process.
    process: u32,
    /// What process numbers of the same machine and container have in common. Empty where that is not known.
    machine: String,
    /// When the lock was taken, in nanoseconds since 1970.
    since: u128,
}

impl Owner {
    /// This process.
    pub(super) fn this() -> Self {
        let line = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
        let machine = || {
            let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
            Some(format!("{} {}", line("/proc/sys/kernel/random/boot_id")?, namespace.display()))
        };
        let name = || std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok();
        Self {
            host: line("/proc/sys/kernel/hostname").or_else(name).unwrap_or_else(|| "another machine".to_owned()),
            process: std::process::id(),
            machine: machine().unwrap_or_default(),
            since: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos()),
        }
    }

    /// Another process on this machine.
    #[cfg(test)]
    pub(super) fn of_process(process: u32) -> Self {
        Self { process, ..Self::this() }
    }

    /// The process in words.
    pub(super) fn name(&self) -> String {
        format!("process {} on {}", self.process, self.host)
    }

    /// Whether it is known that the process has ended.
    pub(super) fn has_ended(&self) -> bool {
        !self.machine.is_empty() && self.machine == Self::this().machine && !Path::new(&format!("/proc/{}", self.process)).exists()
    }

    /// The content of the file. It has the same length for each beat.
    pub(super) fn content(&self, beat: u32) -> Vec<u8> {
        let owner = serde_json::to_string(self).unwrap_or_else(|error| unreachable!("numbers and words serialize: {error}"));
        format!("{owner}\n{beat:010}\n").into_bytes()
    }

    /// The owner in the content of a file. Returns `None` if it is not completely written.
    pub(super) fn of(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content.split(|byte| *byte == b'\n').next()?).ok()
    }
}

/// The lock of a training, until it is dropped.
#[derive(Debug)]
pub(super) struct TrainingLock {
    path: PathBuf,
    owner: Owner,
    /// Ends the thread that rewrites the file.
    beats: Option<(Sender<()>, JoinHandle<()>)>,
}

impl TrainingLock {
    /// Takes the lock `path`. If another process may have it, calls `waiting` with its name and waits until it is known whether it still runs. Returns `None` if
    /// `stop` was set in the meantime.
    ///
    /// # Errors
    ///
    /// When another process has it, or the file can't be written.
    pub(super) fn take(path: &Path, stop: &AtomicBool, waiting: &mut dyn FnMut(&str)) -> Result<Option<Self>, Error> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut seen: Option<(Vec<u8>, Instant)> = None;
        loop {
            match std::fs::create_dir_all(folder) {
                // Another owner has removed it in the meantime.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && !folder.is_file() => continue,
                created => created.map_err(WriteError::at(folder))?,
            }
            match OpenOptions::new().write(true).create_new(true).open(path) {
                Ok(file) => return Self::begin(path, file).map(Some).map_err(|source| WriteError { path: path.to_owned(), source }.into()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                // The last owner of a lock removes the empty folder.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(source) => return Err(WriteError { path: path.to_owned(), source }.into()),
            }
            let content = match std::fs::read(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                read => read.map_err(|source| RunError::Read { path: path.to_owned(), source })?,
            };
            let owner = Owner::of(&content);
            let name = owner.as_ref().map_or("another process".to_owned(), Owner::name);
            let (before, since) = seen.get_or_insert_with(|| {
                if owner.as_ref().is_none_or(|owner| !owner.has_ended()) {
                    waiting(&name);
                }
                (content.clone(), Instant::now())
            });
            if *before != content && !before.is_empty() {
                return Err(in_use(path, name).into());
            }
            before.clone_from(&content);
            if since.elapsed() >= LEFT_BEHIND || owner.is_some_and(|owner| owner.has_ended()) {
                remove_left_behind(path, &content).map_err(WriteError::at(path))?;
                continue;
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Writes the file that was just created, from now on every few seconds.
    fn begin(path: &Path, mut file: std::fs::File) -> std::io::Result<Self> {
        let owner = Owner::this();
        file.write_all(&owner.content(0))?;
        file.sync_all()?;
        let (end, ended) = channel();
        let (of_thread, own_path) = (owner.clone(), path.to_owned());
        let beat = move || {
            let mut beat = 0;
            while ended.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                beat += 1;
                // After a pause of the whole machine the lock may be that of another process. Then, and while the disk fails, it is left alone.
                if std::fs::read(&own_path).is_ok_and(|content| Owner::of(&content).as_ref() == Some(&of_thread)) {
                    let _ = OpenOptions::new().write(true).open(&own_path).and_then(|mut file| file.write_all(&of_thread.content(beat)));
                }
            }
        };
        let thread = std::thread::Builder::new().name("lock".to_owned()).spawn(beat)?;
        Ok(Self { path: path.to_owned(), owner, beats: Some((end, thread)) })
    }
}

impl Drop for TrainingLock {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.beats.take() {
            drop(end);
            let _ = thread.join();
        }
        if std::fs::read(&self.path).is_ok_and(|content| Owner::of(&content).as_ref() == Some(&self.owner)) {
            let _ = std::fs::remove_file(&self.path);
        }
        // It is removed with its last lock.
        let _ = self.path.parent().map(std::fs::remove_dir);
    }
}

/// The error while another process has the lock at `path`, named after its training and in a folder of the sweep.
fn in_use(path: &Path, owner: String) -> RunError {
    let sweep = path.parent().and_then(Path::parent).unwrap_or(Path::new(".")).to_owned();
    let training = path.file_stem().map_or_else(String::new, |name| format!("`{}`", name.to_string_lossy()));
    RunError::TrainingInUse { training, sweep, owner }
}

/// Removes a lock with this content. Of several processes only one succeeds in renaming it; a lock that another one has taken in the meantime is put back.
pub(super) fn remove_left_behind(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let owner = Owner::this();
    let aside = path.with_extension(format!("lock.{}.{}", owner.process, owner.since));
    match std::fs::rename(path, &aside) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        renamed => renamed?,
    }
    if std::fs::read(&aside)? != content {
        let _ = std::fs::hard_link(&aside, path);
    }
    std::fs::remove_file(&aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(path: &Path) -> Result<Option<TrainingLock>, Error> {
        TrainingLock::take(path, &AtomicBool::new(false), &mut |_| {})
    }

    #[test]
    fn one_owner_at_a_time_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks/7.lock");
        let lock = take(&path).unwrap();
        let mut asked = Vec::new();
        let error = TrainingLock::take(&path, &AtomicBool::new(false), &mut |name| asked.push(name.to_owned())).unwrap_err();
        let process = format!("process {}", std::process::id());
        assert!(asked.len() == 1 && asked[0].starts_with(&process), "{asked:?}");
        assert!(error.to_string().contains(&format!("is being trained by {process}")), "{error}");
        let stopped = TrainingLock::take(&path, &AtomicBool::new(true), &mut |_| {}).unwrap();
        assert!(stopped.is_none());
        drop(lock);
        assert!(!folder.path().join("locks").exists());
        drop(take(&path).unwrap().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_lock_of_a_process_that_has_ended_is_taken_over_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks/7.lock");
        std::fs::create_dir(folder.path().join("locks")).unwrap();
        // The number of a process that has ended.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let owner = Owner::of_process(child.id());
        std::fs::write(&path, owner.content(3)).unwrap();
        let begun = Instant::now();
        let lock = take(&path).unwrap().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5) && lock.owner.process == std::process::id());
        // On another machine it is not known; so it waits, until it is told to stop.
        drop(lock);
        std::fs::create_dir_all(folder.path().join("locks")).unwrap();
        std::fs::write(&path, Owner { machine: "another".to_owned(), ..owner }.content(3)).unwrap();
        let stop = AtomicBool::new(false);
        let waits = TrainingLock::take(&path, &stop, &mut |_| stop.store(true, Ordering::Relaxed)).unwrap();
        assert!(waits.is_none() && path.exists());
    }

    #[test]
    fn a_lock_that_was_taken_in_the_meantime_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7.lock");
        std::fs::write(&path, "new").unwrap();
        remove_left_behind(&path, b"old").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        remove_left_behind(&path, b"new").unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
