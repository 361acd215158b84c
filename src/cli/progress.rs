//! The progress of training: a bar on a terminal, else plain lines, or JSON lines on request.

use std::fmt::Write;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde_json::json;

use super::summary::short;
use super::table::{brief, duration, grouped, loss, metrics_listed, rounded};
use super::{bar, print};
use crate::config::Measure;
use crate::error::Error;
use crate::train::{Event, Observer, Phase, Progress, Row};

/// The time between two plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);
/// The time between two JSON lines.
const JSON_INTERVAL: Duration = Duration::from_secs(1);

/// An observer that prints progress.
pub(super) struct ProgressReporter {
    output: Output,
    epochs: u64,
    last_report: Instant,
    /// The current phase and its start.
    phase: Option<(&'static str, Instant)>,
    /// The penalties whose λ training determines: index in the config and label.
    determined: Vec<(usize, String)>,
    /// The measure by which the best epoch is chosen.
    best_by: Measure,
}

enum Output {
    Bar(ProgressBar),
    Lines,
    Json,
}

impl ProgressReporter {
    /// A reporter for a run of `epochs` epochs that has completed `done` steps.
    pub(super) fn new(json: bool, epochs: u64, done: u64) -> Self {
        let output = if json {
            Output::Json
        } else if std::io::stderr().is_terminal() {
            let bar = bar::begin(done, done);
            bar::draw_text(&bar, "starting");
            Output::Bar(bar)
        } else {
            Output::Lines
        };
        Self { output, epochs, last_report: Instant::now(), phase: None, determined: Vec::new(), best_by: Measure::DataLoss }
    }

    /// Also prints this measure after each epoch.
    pub(super) fn with_best_by(mut self, best_by: Measure) -> Self {
        self.best_by = best_by;
        self
    }

    /// Also prints the λ of these penalties after each epoch.
    pub(super) fn with_determined_lambdas(mut self, penalties: Vec<(usize, String)>) -> Self {
        self.determined = penalties;
        self
    }

    /// Prints progress and remaining time of a long phase, once it has taken a second.
    fn phase(&mut self, phase: &Phase) -> Result<(), Error> {
        let Phase { phase: name, done, total } = *phase;
        let started = match self.phase {
            Some((current, started)) if current == name && done > 1 => started,
            _ => Instant::now(),
        };
        self.phase = if done < total { Some((name, started)) } else { None };
        let seconds = started.elapsed().as_secs_f64();
        if seconds < JSON_INTERVAL.as_secs_f64() || done == 0 {
            return Ok(());
        }
        let left = seconds * total.saturating_sub(done) as f64 / done as f64;
        let message = || format!("{name} {:.0} %, {} left", 100.0 * done as f64 / total as f64, duration(left));
        match &self.output {
            Output::Bar(bar) => bar::draw_text(bar, &message()),
            Output::Lines if self.last_report.elapsed() >= PLAIN_INTERVAL => {
                self.last_report = Instant::now();
                print::note(message());
            }
            Output::Json if self.last_report.elapsed() >= JSON_INTERVAL => {
                self.last_report = Instant::now();
                let mut line = json!(phase);
                line["event"] = json!("progress");
                line["seconds_left"] = json!(left);
                print::json(&line)?;
            }
            Output::Lines | Output::Json => {}
        }
        Ok(())
    }

    /// The λ that training determines, for the line of an epoch.
    fn lambdas(&self, train: &Row) -> String {
        let mut line = String::new();
        for (index, label) in &self.determined {
            let Some(lambda) = train.lambdas.get(*index) else { continue };
            let update = train.evidence.as_ref().and_then(|updates| *updates.get(*index)?);
            let updated = update.map_or(String::new(), |update| format!(" → {}", short(update.lambda)));
            let label = if train.lambdas.len() > 1 { format!(" ({label})") } else { String::new() };
            let _ = write!(line, ", λ{label} {}{updated}", short(*lambda));
        }
        line
    }

    fn progress(&mut self, progress: &Progress) -> Result<(), Error> {
        let Progress { epoch, epochs, step, steps, data_loss, penalty, images_per_second } = *progress;
        let [loss, penalty] = [data_loss, penalty].map(loss);
        let loss = format!("loss {loss}");
        let others = [format!("penalty {penalty}"), format!("{} images/s", rounded(images_per_second))];
        match &self.output {
            Output::Bar(bar) => {
                bar.set_length(steps);
                bar.set_position(step);
                let [penalty, speed] = others;
                let steps = format!("{}/{} steps", grouped(step), grouped(steps));
                bar::draw(bar, &format!("epoch {epoch}/{epochs}"), &[loss, bar::time_left(bar), steps, speed, penalty]);
            }
            Output::Lines if self.last_report.elapsed() >= PLAIN_INTERVAL => {
                self.last_report = Instant::now();
                print::note(format_args!("epoch {epoch}/{epochs}, step {step}/{steps}, {loss}, {}", others.join(", ")));
            }
            Output::Json if self.last_report.elapsed() >= JSON_INTERVAL => {
                self.last_report = Instant::now();
                let mut line = json!(progress);
                line["event"] = json!("progress");
                print::json(&line)?;
            }
            Output::Lines | Output::Json => {}
        }
        Ok(())
    }

    fn epoch(&mut self, rows: &[Row]) -> Result<(), Error> {
        self.last_report = Instant::now();
        self.phase = None;
        if matches!(self.output, Output::Json) {
            for row in rows {
                let mut line = json!(row);
                line["event"] = json!("epoch");
                print::json(&line)?;
            }
            return Ok(());
        }
        let Some(train) = rows.first() else { return Ok(()) };
        let mut line = format!(
            "epoch {}/{}: train {}, penalty {}{}",
            train.epoch,
            self.epochs,
            measures(train, self.best_by),
            loss(train.penalty),
            self.lambdas(train)
        );
        for row in &rows[1..] {
            let _ = write!(line, "; validation {}", measures(row, self.best_by));
        }
        let _ = write!(line, "; {} images/s", rounded(train.images_per_second));
        print::note(&line);
        Ok(())
    }
}

/// The data loss and the metrics of a row, such as `loss 0.0712, accuracy 98.00 %`.
fn measures(row: &Row, best_by: Measure) -> String {
    [vec![format!("loss {}", loss(row.data_loss))], metrics_listed(&brief(&row.metrics, best_by))].concat().join(", ")
}

impl ProgressReporter {
    /// Prints the name of a phase between steps.
    fn announce(&self, phase: &str) {
        match &self.output {
            Output::Bar(bar) => bar::draw_text(bar, phase),
            Output::Lines => print::note(phase),
            Output::Json => {}
        }
    }
}

impl Observer for ProgressReporter {
    fn on(&mut self, event: &Event) -> Result<ControlFlow<()>, Error> {
        match event {
            Event::Progress(progress) => self.progress(progress)?,
            Event::Epoch(rows) => self.epoch(rows)?,
            Event::Phase(phase) => self.phase(phase)?,
            Event::Checkpoint { .. } => {}
            Event::UpdatingLambda => self.announce("updating λ by the evidence of the training data"),
            Event::Measuring => self.announce("measuring the network"),
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Drop for ProgressReporter {
    fn drop(&mut self) {
        if matches!(self.output, Output::Bar(_)) {
            print::clear_bar();
        }
    }
}
