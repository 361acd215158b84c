//! Progress bars that fit the terminal, whatever its width.

use std::io::IsTerminal;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use console::{Term, measure_text_width, truncate_str};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::print;
use super::table::{duration, grouped};

/// The columns a bar has at least.
const NARROWEST: usize = 10;
/// Work that ends sooner shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two lines where there is no bar.
const BETWEEN_LINES: Duration = Duration::from_secs(10);
/// Between two looks at how far the work is.
const REFRESH: Duration = Duration::from_millis(100);

/// Puts a bar on the terminal; lines are printed above it from now on. Nothing is shown where standard error is no terminal.
pub(super) fn begin(total: u64, done: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total.max(1)), ProgressDrawTarget::stderr()).with_position(done);
    bar.reset_eta();
    print::show_bar(&bar);
    bar
}

/// Draws `bar` after `title`, with as many of `details` as there is room for, the first ones first.
pub(super) fn draw(bar: &ProgressBar, title: &str, details: &[String]) {
    let width = usize::from(Term::stderr().size().1);
    match fitting(width, title, details) {
        Some(details) => draw_template(bar, &format!("{} {{wide_bar}} {}", literal(title), literal(&details))),
        None => draw_words(bar, title),
    }
}

/// Draws words in the place of a bar, cut to the width.
pub(super) fn draw_words(bar: &ProgressBar, words: &str) {
    let width = usize::from(Term::stderr().size().1);
    draw_template(bar, &literal(&truncate_str(words, width, "…")));
}

/// All words are in the template, so that a drawing never has some of the line before.
fn draw_template(bar: &ProgressBar, template: &str) {
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.tick();
}

fn literal(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// The time a bar still needs, in words.
pub(super) fn time_left(bar: &ProgressBar) -> String {
    format!("{} left", duration(bar.eta().as_secs_f64()))
}

/// As many of `details` as fit on a line of `width` columns beside `title` and a bar; none if not even the bar fits.
fn fitting(width: usize, title: &str, details: &[String]) -> Option<String> {
    let mut room = width.checked_sub(measure_text_width(title) + NARROWEST + 2)?;
    let mut fitting: Vec<&str> = Vec::new();
    for detail in details {
        let needed = measure_text_width(detail) + if fitting.is_empty() { 0 } else { 2 };
        let Some(rest) = room.checked_sub(needed) else { break };
        room = rest;
        fitting.push(detail);
    }
    Some(fitting.join(", "))
}

/// A bar for work that may take a while: it appears after a second and is gone when this value is dropped. A signal that ends the program takes it
/// off the terminal too. Where standard error is no terminal, lines say how far the work is.
pub(super) struct Work {
    bar: ProgressBar,
    /// Dropped when the work is done.
    done: Option<Sender<()>>,
    shower: Option<JoinHandle<()>>,
}

impl Work {
    /// Begins work of an unknown size.
    pub(super) fn begin(title: &'static str) -> Self {
        Self::new(title, ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()))
    }

    /// Begins work of `total` steps.
    pub(super) fn of(title: &'static str, total: u64) -> Self {
        Self::new(title, ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()))
    }

    fn new(title: &'static str, bar: ProgressBar) -> Self {
        let (done, waiting) = channel();
        let shown = bar.clone();
        let is_terminal = std::io::stderr().is_terminal();
        let show = move || {
            if waiting.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            if !is_terminal {
                return print_lines(&shown, title, &waiting);
            }
            clear_on_signals();
            shown.set_draw_target(ProgressDrawTarget::stderr());
            print::show_bar(&shown);
            loop {
                match shown.length() {
                    None => draw_words(&shown, "preparing"),
                    Some(total) => {
                        let count = format!("{}/{}", grouped(shown.position()), grouped(total));
                        draw(&shown, title, &[count, time_left(&shown)]);
                    }
                }
                if waiting.recv_timeout(REFRESH) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        // Without a thread there is no bar.
        let shower = std::thread::Builder::new().spawn(show).ok();
        Self { bar, done: Some(done), shower }
    }

    /// Says that `done` of `total` steps are done.
    pub(super) fn reach(&self, done: usize, total: usize) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    /// Says that one more step is done.
    pub(super) fn advance(&self) {
        self.bar.inc(1);
    }
}

/// Prints how far the work is, until `waiting` ends.
fn print_lines(work: &ProgressBar, title: &str, waiting: &Receiver<()>) {
    loop {
        if let Some(total) = work.length() {
            print::note(format_args!("{title}: {}/{}, {}", grouped(work.position()), grouped(total), time_left(work)));
        }
        if waiting.recv_timeout(BETWEEN_LINES) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(shower) = self.shower.take() {
            let _ = shower.join();
            print::clear_bar();
        }
    }
}

/// Whether signals are another's business.
static LEFT: AtomicBool = AtomicBool::new(false);

/// Leaves SIGINT and SIGTERM to the caller, whatever [`Work`] was shown before.
pub(super) fn leave_signals() {
    LEFT.store(true, Ordering::Relaxed);
}

/// From now on SIGINT and SIGTERM take the bar off the terminal before they end the program, as they do by default.
#[cfg(unix)]
pub(super) fn clear_on_signals() {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
        let wait = move || {
            for signal in signals.forever() {
                if LEFT.load(Ordering::Relaxed) {
                    continue;
                }
                print::clear_bar();
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        };
        let _ = std::thread::Builder::new().spawn(wait);
    });
}

#[cfg(not(unix))]
pub(super) fn clear_on_signals() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_left_out_from_the_end_until_the_line_fits() {
        let details = ["loss 0.1234", "1 min 20 s left", "123/456 steps"].map(str::to_owned);
        // The title has 10 columns, the bar at least 10, and each has a space after it.
        let at = |width| fitting(width, "epoch 1/10", &details);
        assert_eq!(at(22 + 41 + 2).as_deref(), Some("loss 0.1234, 1 min 20 s left, 123/456 steps"));
        assert_eq!(at(22 + 43 - 1).as_deref(), Some("loss 0.1234, 1 min 20 s left"));
        assert_eq!(at(22 + 11).as_deref(), Some("loss 0.1234"));
        assert_eq!(at(22).as_deref(), Some(""));
        assert_eq!(at(21), None);
    }
}
