//! The screen of `--tui`: curves, measures and progress of a training, drawn on standard error.
//!
//! A thread of its own draws the screen and reads the keys; training only changes a shared [`State`]. When training is to stop, the screen is left at once, so that
//! the terminal is whole while the run is saved, and Ctrl-C ends the program as always.

mod curves;
mod screen;
mod state;
mod view;

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event as TerminalEvent, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::print;
use crate::error::Error;
use crate::launch::Launch;
use crate::train::{Event, Observer};

use screen::Screen;
use state::State;

/// The time between two drawings.
const REFRESH: Duration = Duration::from_millis(200);

/// Checks that there is a terminal to draw on and to read keys from.
pub(super) fn check_terminal() -> Result<(), Error> {
    let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    if std::io::stderr().is_terminal() && std::io::stdin().is_terminal() && !is_dumb {
        return Ok(());
    }
    let problem =
        "`--tui` needs a terminal: standard input and standard error must be one, and TERM not \"dumb\"; leave it out for lines of text";
    Err(Error::Usage(problem.to_owned()))
}

/// An observer that shows training on a screen of its own.
pub(super) struct Dashboard {
    state: Arc<Mutex<State>>,
    has_ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Dashboard {
    /// Shows the screen until training ends or `stop` is set, which `q` and Ctrl-C do.
    ///
    /// # Errors
    ///
    /// When the metrics of a resumed run can't be read, or the terminal can't be used.
    pub(super) fn begin(launch: &Launch, stop: Arc<AtomicBool>) -> Result<Self, Error> {
        let state = Arc::new(Mutex::new(State::new(launch)?));
        let has_ended = Arc::new(AtomicBool::new(false));
        let failed = |error: std::io::Error| Error::Usage(format!("the terminal can't be used for `--tui`: {error}; leave it out"));
        print::hold_notes();
        let screen = Screen::enter().map_err(failed).inspect_err(|_| print::release_notes())?;
        let (of_thread, ended) = (Arc::clone(&state), Arc::clone(&has_ended));
        let show = move || {
            if let Err(error) = run(screen, &of_thread, &stop, &ended) {
                print::note(format_args!("the screen can't be drawn any more: {error}"));
            }
            print::release_notes();
        };
        let thread = std::thread::Builder::new().name("screen".to_owned()).spawn(show).map_err(failed)?;
        Ok(Self { state, has_ended, thread: Some(thread) })
    }
}

/// Draws and reads keys until training has ended or is to stop.
fn run(mut screen: Screen, state: &Mutex<State>, stop: &AtomicBool, has_ended: &AtomicBool) -> std::io::Result<()> {
    loop {
        screen.draw(|frame| view::draw(frame, &locked(state)))?;
        if has_ended.load(Ordering::Relaxed) || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        if event::poll(REFRESH)?
            && let TerminalEvent::Key(key) = event::read()?
            && is_quit(&key)
        {
            stop.store(true, Ordering::Relaxed);
        }
    }
}

fn is_quit(key: &KeyEvent) -> bool {
    let is_control_c = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
    key.kind == KeyEventKind::Press && (is_control_c || matches!(key.code, KeyCode::Char('q' | 'Q')))
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observer for Dashboard {
    fn on(&mut self, event: &Event) -> Result<ControlFlow<()>, Error> {
        locked(&self.state).on(event);
        Ok(ControlFlow::Continue(()))
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        print::release_notes();
    }
}
