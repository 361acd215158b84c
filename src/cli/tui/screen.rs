//! The alternate screen of the terminal, which is left whatever happens.

use std::io::{Write, stderr};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::crossterm::{execute, queue};
use ratatui::{Frame, Terminal};

/// Whether the alternate screen is shown.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// The alternate screen, until it is dropped or any thread panics.
pub(super) struct Screen(Terminal<CrosstermBackend<Whole>>);

impl Screen {
    /// Shows it.
    pub(super) fn enter() -> std::io::Result<Self> {
        restore_on_panic();
        IS_SHOWN.store(true, Ordering::SeqCst);
        let enter = || {
            enable_raw_mode()?;
            execute!(stderr(), EnterAlternateScreen)?;
            Terminal::new(CrosstermBackend::new(Whole(Vec::new())))
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

/// Standard error, to which a frame goes in one write and as one update of the terminal: a user sees no half of it.
/// What was not flushed is never written, so that nothing of a frame follows the end of the screen.
struct Whole(Vec<u8>);

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let mut update = Vec::new();
        queue!(update, BeginSynchronizedUpdate)?;
        update.append(&mut self.0);
        queue!(update, EndSynchronizedUpdate)?;
        stderr().write_all(&update)
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
