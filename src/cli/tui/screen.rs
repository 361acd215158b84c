//! The alternate screen of the terminal, which is left whatever happens.

use std::io::{Write, stderr};
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::crossterm::{execute, queue};
use ratatui::{Frame, Terminal};

/// Whether the alternate screen is shown. Who writes to it holds the lock.
static IS_SHOWN: Mutex<bool> = Mutex::new(false);

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The alternate screen, until it is dropped or any thread panics.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Bytes>>,
    /// Those of the frame that is drawn.
    bytes: Bytes,
}

impl Screen {
    /// Shows it.
    pub(super) fn enter() -> std::io::Result<Self> {
        restore_on_panic();
        *locked(&IS_SHOWN) = true;
        let bytes = Bytes::default();
        let enter = || {
            enable_raw_mode()?;
            execute!(stderr(), EnterAlternateScreen)?;
            Terminal::new(CrosstermBackend::new(bytes.clone()))
        };
        let terminal = enter().inspect_err(|_| restore())?;
        Ok(Self { terminal, bytes })
    }

    /// Draws a frame. It is one write and one update of the terminal, so that nobody sees half of it.
    pub(super) fn draw(&mut self, view: impl FnOnce(&mut Frame)) -> std::io::Result<()> {
        self.terminal.draw(view)?;
        let mut update = Vec::new();
        queue!(update, BeginSynchronizedUpdate)?;
        update.append(&mut locked(&self.bytes.0));
        queue!(update, EndSynchronizedUpdate)?;
        // After a panic of another thread its message is on the terminal.
        let is_shown = locked(&IS_SHOWN);
        if *is_shown { stderr().write_all(&update) } else { Ok(()) }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// What is to be written to the terminal.
#[derive(Clone, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        locked(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Gives the terminal back as it was. If it is gone, there is nothing to give back.
fn restore() {
    if take(&mut *locked(&IS_SHOWN)) {
        let _ = disable_raw_mode();
        let _ = execute!(stderr(), EndSynchronizedUpdate, LeaveAlternateScreen, Show);
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
