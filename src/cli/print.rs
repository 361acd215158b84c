//! Writing to the terminal: results to standard output, all else to standard error.

use std::error::Error as _;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::error::{Error, WriteError};

/// A line of results. A reader that has gone away is no error.
pub(super) fn out(line: impl Display) -> Result<(), Error> {
    let mut stdout = anstream::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Err(source) if source.kind() != ErrorKind::BrokenPipe => Err(WriteError { path: PathBuf::from("standard output"), source }.into()),
        _ => Ok(()),
    }
}

/// A line of JSON results.
pub(super) fn json(value: &impl Serialize) -> Result<(), Error> {
    out(serde_json::to_string(value).unwrap_or_else(|error| unreachable!("numbers and words serialize: {error}")))
}

/// A line for people.
pub(super) fn note(line: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// A line of warning.
pub(super) fn warning(message: impl Display) {
    let style = AnsiColor::Yellow.on_default().bold();
    note(format_args!("{style}warning:{style:#} {message}"));
}

/// An error with its causes. An interruption on request is told as a note.
pub(super) fn error(error: &Error) {
    let (style, word) = match error {
        Error::Interrupted(_) => (Style::new().bold(), "note"),
        _ => (AnsiColor::Red.on_default().bold(), "error"),
    };
    note(format_args!("{style}{word}:{style:#} {error}"));
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let text = source.to_string();
        // Some libraries say their cause in their own words already.
        if !told.ends_with(&text) {
            note(format_args!("  caused by: {text}"));
        }
        told = text;
        cause = source.source();
    }
}
