//! The alternate screen of the terminal, which is left whatever happens.

use std::io::{Stderr, Write, stderr};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::{Frame, Terminal};

/// Whether the alternate screen is shown.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// The alternate screen, until it is dropped or any thread panics.
pub(super) struct Screen(Terminal<CrosstermBackend<Stderr>>);

impl Screen {
    /// Shows it.
    pub(super) fn enter() -> std::io::Result<Self> {
        restore_on_panic();
        IS_SHOWN.store(true, Ordering::SeqCst);
        let enter = || {
            enable_raw_mode()?;
            execute!(stderr(), EnterAlternateScreen)?;
            Terminal::new(CrosstermBackend::new(stderr()))
        };
        enter().map(Self).inspect_err(|_| restore())
    }

    pub(super) fn draw(&mut self, view: impl FnOnce(&mut Frame)) -> std::io::Result<()> {
        // After a panic of another thread its message is on the terminal.
        if IS_SHOWN.load(Ordering::SeqCst) { self.0.draw(view).map(drop) } else { Ok(()) }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was. If it is gone, there is nothing to give back.
fn restore() {
    if IS_SHOWN.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
        let _ = execute!(stderr(), LeaveAlternateScreen, Show);
        let _ = stderr().flush();
    }
}

/// Gives the terminal back before the message of a panic is printed.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
    });
}
