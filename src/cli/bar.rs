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

/// The smallest width of a bar in columns.
const NARROWEST: usize = 10;
/// The delay before a bar is shown.
const DELAY: Duration = Duration::from_secs(1);
/// The time between two lines of progress, if there is no bar.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// The longest remaining time that is shown, in seconds: a year.
const LONGEST: f64 = 3.2e7;
/// The time between two updates of a bar.
const REFRESH: Duration = Duration::from_millis(100);

/// Shows a bar on the terminal. Later lines are printed above it. Nothing is shown if standard error is not a terminal.
pub(super) fn begin(total: u64, done: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total.max(1)), ProgressDrawTarget::stderr()).with_position(done);
    bar.reset_eta();
    print::show_bar(&bar);
    bar
}

/// Draws `title`, the bar, and as many of `details` as fit, from the first.
pub(super) fn draw(bar: &ProgressBar, title: &str, details: &[String]) {
    let width = usize::from(Term::stderr().size().1);
    match fitting(width, title, details) {
        Some(details) => draw_template(bar, &format!("{} {{wide_bar}} {}", literal(title), literal(&details))),
        None => draw_text(bar, title),
    }
}

/// Draws a text instead of a bar, truncated to the width.
pub(super) fn draw_text(bar: &ProgressBar, text: &str) {
    let width = usize::from(Term::stderr().size().1);
    draw_template(bar, &literal(&truncate_str(text, width, "…")));
}

/// The template has the complete text, so that no text of an earlier line remains.
fn draw_template(bar: &ProgressBar, template: &str) {
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.tick();
}

fn literal(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// The remaining time, as text.
pub(super) fn time_left(bar: &ProgressBar) -> String {
    match bar.eta().as_secs_f64() {
        // It is not known before something is done.
        seconds if seconds > LONGEST || bar.position() == 0 => "time left unknown".to_owned(),
        seconds => format!("{} left", duration(seconds)),
    }
}

/// The `details` that fit on a line of `width` columns beside `title` and a bar. Returns `None` if the bar does not fit.
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

/// A progress bar for work that may take long. It appears after a second and is removed when this value is dropped, or when a signal ends the program.
/// If standard error is not a terminal, lines of progress are printed instead.
pub(super) struct Work {
    bar: ProgressBar,
    /// Dropped at the end of the work.
    done: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
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
        let (done, finished) = channel();
        let shown = bar.clone();
        let is_terminal = std::io::stderr().is_terminal();
        let show = move || {
            if finished.recv_timeout(DELAY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            if !is_terminal {
                return print_lines(&shown, title, &finished);
            }
            clear_on_signals();
            shown.set_draw_target(ProgressDrawTarget::stderr());
            print::show_bar(&shown);
            loop {
                match shown.length() {
                    None => draw_text(&shown, "preparing"),
                    Some(total) => {
                        let count = format!("{}/{}", grouped(shown.position()), grouped(total));
                        draw(&shown, title, &[count, time_left(&shown)]);
                    }
                }
                if finished.recv_timeout(REFRESH) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        // If no thread can be started, there is no bar.
        let thread = std::thread::Builder::new().spawn(show).ok();
        Self { bar, done: Some(done), thread }
    }

    /// Sets the progress to `done` of `total` steps.
    pub(super) fn reach(&self, done: usize, total: usize) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    /// Advances the progress by one step.
    pub(super) fn advance(&self) {
        self.bar.inc(1);
    }
}

/// Prints lines of progress until `finished` is disconnected.
fn print_lines(work: &ProgressBar, title: &str, finished: &Receiver<()>) {
    loop {
        if let Some(total) = work.length() {
            print::note(format_args!("{title}: {}/{}, {}", grouped(work.position()), grouped(total), time_left(work)));
        }
        if finished.recv_timeout(LINE_INTERVAL) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
            print::clear_bar();
        }
    }
}

/// Whether another module handles the signals.
static SIGNALS_HANDLED_ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// Leaves SIGINT and SIGTERM to the caller, also if a [`Work`] was shown before.
pub(super) fn leave_signals() {
    SIGNALS_HANDLED_ELSEWHERE.store(true, Ordering::Relaxed);
}

/// Makes SIGINT and SIGTERM remove the bar before they end the program.
#[cfg(unix)]
pub(super) fn clear_on_signals() {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
        let wait = move || {
            for signal in signals.forever() {
                if SIGNALS_HANDLED_ELSEWHERE.load(Ordering::Relaxed) {
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
