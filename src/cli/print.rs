//! Output: results to standard output, everything else to standard error. Lines are printed above the progress bar.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde::Serialize;

use crate::atomic;
use crate::error::{Error, WriteError};

/// The progress bar on the terminal.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);
/// Lines for standard error that wait until the screen of `--tui` is left. `None`: they are printed at once.
static HELD: Mutex<Option<Vec<String>>> = Mutex::new(None);
/// Whether results go to standard error, because a file goes to standard output.
static HAS_FILE: AtomicBool = AtomicBool::new(false);
/// Whether the reader of standard output has closed it.
static READER_GONE: AtomicBool = AtomicBool::new(false);

/// Reserves standard output for a file if `output` is `-`: results and messages then go to standard error.
///
/// # Errors
///
/// When `json` goes to standard output, too.
pub(super) fn reserve(option: &str, output: Option<&Path>, json: bool) -> Result<(), Error> {
    if !output.is_some_and(atomic::is_dash) {
        return Ok(());
    }
    if json {
        let problem = format!("`{option} -` and `--json` both write to standard output; leave one out, or name a file");
        return Err(Error::Usage(problem));
    }
    HAS_FILE.store(true, Ordering::Relaxed);
    atomic::set_standard_output(file);
    Ok(())
}

/// Writes a file to standard output. A closed one is not an error.
fn file(bytes: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// What was written, in words.
pub(super) fn written(output: &Path) -> String {
    if atomic::is_dash(output) { "wrote to standard output".to_owned() } else { format!("wrote {}", output.display()) }
}

/// Prints a line of results. A closed standard output is not an error.
pub(super) fn out(line: impl Display) -> Result<(), Error> {
    if HAS_FILE.load(Ordering::Relaxed) {
        note(line);
        return Ok(());
    }
    // In one piece, so that a signal leaves no incomplete line.
    let line = format!("{line}\n");
    let write = || {
        let mut stdout = anstream::stdout().lock();
        stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush())
    };
    let written = if std::io::stdout().is_terminal() { above_bar(write) } else { write() };
    match written {
        Err(source) if source.kind() == ErrorKind::BrokenPipe => {
            READER_GONE.store(true, Ordering::Relaxed);
            Ok(())
        }
        Err(source) => Err(WriteError { path: PathBuf::from("standard output"), source }.into()),
        Ok(()) => Ok(()),
    }
}

/// Whether the reader of standard output has closed it.
pub(super) fn reader_gone() -> bool {
    READER_GONE.load(Ordering::Relaxed)
}

/// Prints a line of JSON results.
pub(super) fn json(value: &impl Serialize) -> Result<(), Error> {
    out(serde_json::to_string(value).unwrap_or_else(|error| unreachable!("numbers and words serialize: {error}")))
}

/// Prints a line to standard error.
pub(super) fn note(line: impl Display) {
    let line = format!("{line}\n");
    if let Some(held) = &mut *lock_held() {
        return held.push(line);
    }
    above_bar(|| {
        let _ = anstream::stderr().lock().write_all(line.as_bytes());
    });
}

/// Holds lines for standard error back until [`release_notes`].
pub(super) fn hold_notes() {
    lock_held().get_or_insert_with(Vec::new);
}

/// Prints the lines that were held back.
pub(super) fn release_notes() {
    let held = lock_held().take();
    held.into_iter().flatten().for_each(|line| note(line.trim_end()));
}

/// The last line that is held back, without styles.
pub(super) fn last_held() -> Option<String> {
    let held = lock_held();
    held.as_ref()?.last().map(|line| console::strip_ansi_codes(line.trim_end()).into_owned())
}

/// Prints a warning.
pub(super) fn warning(message: impl Display) {
    let style = AnsiColor::Yellow.on_default().bold();
    note(format_args!("{style}warning:{style:#} {message}"));
}

/// Prints an error with its causes. An interruption by a signal is printed as a note.
pub(super) fn error(error: &Error) {
    let (style, word) = match error {
        Error::Interrupted(_) | Error::InterruptedTraining { .. } => (Style::new().bold(), "note"),
        _ => (AnsiColor::Red.on_default().bold(), "error"),
    };
    let causes = causes(error).into_iter().map(|cause| format!("\n  caused by: {cause}"));
    note(format_args!("{style}{word}:{style:#} {error}{}", causes.collect::<String>()));
}

/// The causes of an error, from the direct one on.
pub(super) fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut message = error.to_string();
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(source) = cause {
        let text = source.to_string();
        // The messages of some libraries include their cause.
        if !message.ends_with(&text) {
            causes.push(text.clone());
        }
        message = text;
        cause = source.source();
    }
    causes
}

/// Sets the progress bar.
pub(super) fn show_bar(bar: &ProgressBar) {
    *lock_bar() = Some(bar.clone());
}

/// Removes the progress bar from the terminal, if there is one.
pub(super) fn clear_bar() {
    if let Some(bar) = lock_bar().take() {
        bar.finish_and_clear();
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// Calls `write` while the progress bar is hidden.
fn above_bar<R>(write: impl FnOnce() -> R) -> R {
    match &*lock_bar() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

fn lock_held() -> std::sync::MutexGuard<'static, Option<Vec<String>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock_bar() -> std::sync::MutexGuard<'static, Option<ProgressBar>> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner)
}
