//! Telling how training goes: a bar on a terminal, plain lines elsewhere, JSON lines on request.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde_json::json;

use super::summary::short;
use super::table::{duration, grouped, percent, rounded};
use super::{bar, print};
use crate::error::Error;
use crate::train::{Event, Observer, Phase, Progress, Row};

/// Time between two plain lines, and between two JSON progress lines.
const PLAIN: Duration = Duration::from_secs(10);
const JSON: Duration = Duration::from_secs(1);

/// Watches a training for people or programs.
pub(super) struct Teller {
    way: Way,
    epochs: u64,
    told: Instant,
    /// The phase under way, and when it began.
    phase: Option<(&'static str, Instant)>,
    /// The penalties whose λ training finds: their place in the config, and what to call them.
    found: Vec<(usize, String)>,
}

enum Way {
    Bar(ProgressBar),
    Lines,
    Json,
}

impl Teller {
    /// A teller of a training of `epochs` epochs that has done `done` steps.
    pub(super) fn new(json: bool, epochs: u64, done: u64) -> Self {
        let way = if json {
            Way::Json
        } else if std::io::stderr().is_terminal() {
            let bar = bar::begin(done, done);
            bar::draw_words(&bar, "starting");
            Way::Bar(bar)
        } else {
            Way::Lines
        };
        Self { way, epochs, told: Instant::now(), phase: None, found: Vec::new() }
    }

    /// Tells the λ of these penalties after each epoch, too.
    pub(super) fn with_found(mut self, found: Vec<(usize, String)>) -> Self {
        self.found = found;
        self
    }

    /// Tells how far a phase besides the steps is, and how long it still takes, once it is seen to take long.
    fn phase(&mut self, phase: &Phase) -> Result<(), Error> {
        let Phase { phase: name, done, total } = *phase;
        let begun = match self.phase {
            Some((known, begun)) if known == name && done > 1 => begun,
            _ => Instant::now(),
        };
        self.phase = if done < total { Some((name, begun)) } else { None };
        let seconds = begun.elapsed().as_secs_f64();
        if seconds < JSON.as_secs_f64() || done == 0 {
            return Ok(());
        }
        let left = seconds * total.saturating_sub(done) as f64 / done as f64;
        let message = || format!("{name} {:.0} %, {} left", 100.0 * done as f64 / total as f64, duration(left));
        match &self.way {
            Way::Bar(bar) => bar::draw_words(bar, &message()),
            Way::Lines if self.told.elapsed() >= PLAIN => {
                self.told = Instant::now();
                print::note(message());
            }
            Way::Json if self.told.elapsed() >= JSON => {
                self.told = Instant::now();
                let mut line = json!(phase);
                line["event"] = json!("progress");
                line["seconds_left"] = json!(left);
                print::json(&line)?;
            }
            Way::Lines | Way::Json => {}
        }
        Ok(())
    }

    /// The λ that training found, for the line of an epoch.
    fn lambdas(&self, train: &Row) -> String {
        let mut line = String::new();
        for (place, label) in &self.found {
            let Some(lambda) = train.lambdas.get(*place) else { continue };
            let update = train.evidence.as_ref().and_then(|updates| *updates.get(*place)?);
            let found = update.map_or(String::new(), |update| format!(" → {}", short(update.lambda)));
            let label = if train.lambdas.len() > 1 { format!(" ({label})") } else { String::new() };
            let _ = write!(line, ", λ{label} {}{found}", short(*lambda));
        }
        line
    }

    fn progress(&mut self, progress: &Progress) -> Result<(), Error> {
        let Progress { epoch, epochs, step, steps, data_loss, penalty, images_per_second } = *progress;
        let loss = format!("loss {data_loss:.4}");
        let others = [format!("penalty {penalty:.2e}"), format!("{} images/s", rounded(images_per_second))];
        match &self.way {
            Way::Bar(bar) => {
                bar.set_length(steps);
                bar.set_position(step);
                let [penalty, speed] = others;
                let steps = format!("{}/{} steps", grouped(step), grouped(steps));
                bar::draw(bar, &format!("epoch {epoch}/{epochs}"), &[loss, bar::time_left(bar), steps, speed, penalty]);
            }
            Way::Lines if self.told.elapsed() >= PLAIN => {
                self.told = Instant::now();
                print::note(format_args!("epoch {epoch}/{epochs}, step {step}/{steps}, {loss}, {}", others.join(", ")));
            }
            Way::Json if self.told.elapsed() >= JSON => {
                self.told = Instant::now();
                let mut line = json!(progress);
                line["event"] = json!("progress");
                print::json(&line)?;
            }
            Way::Lines | Way::Json => {}
        }
        Ok(())
    }

    fn epoch(&mut self, rows: &[Row]) -> Result<(), Error> {
        self.told = Instant::now();
        self.phase = None;
        if matches!(self.way, Way::Json) {
            for row in rows {
                let mut line = json!(row);
                line["event"] = json!("epoch");
                print::json(&line)?;
            }
            return Ok(());
        }
        let Some(train) = rows.first() else { return Ok(()) };
        let mut line = format!(
            "epoch {}/{}: train loss {:.4}, accuracy {}, penalty {:.2e}{}",
            train.epoch,
            self.epochs,
            train.data_loss,
            percent(train.accuracy),
            train.penalty,
            self.lambdas(train)
        );
        for row in &rows[1..] {
            let _ = write!(line, "; validation loss {:.4}, accuracy {}", row.data_loss, percent(row.accuracy));
        }
        let _ = write!(line, "; {} images/s", rounded(train.images_per_second));
        print::note(&line);
        Ok(())
    }
}

impl Teller {
    /// Says what is being done between steps.
    fn say(&self, what: &str) {
        match &self.way {
            Way::Bar(bar) => bar::draw_words(bar, what),
            Way::Lines => print::note(what),
            Way::Json => {}
        }
    }
}

impl Observer for Teller {
    fn on(&mut self, event: &Event) -> Result<(), Error> {
        match event {
            Event::Progress(progress) => self.progress(progress),
            Event::Epoch(rows) => self.epoch(rows),
            Event::Phase(phase) => self.phase(phase),
            Event::Checkpoint { .. } => Ok(()),
            Event::UpdatingLambda => {
                self.say("finding λ by the evidence of the training data");
                Ok(())
            }
            Event::Measuring => {
                self.say("measuring the network");
                Ok(())
            }
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if matches!(self.way, Way::Bar(_)) {
            print::clear_bar();
        }
    }
}
