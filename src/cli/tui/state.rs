//! What the screen shows.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::config::Measure;
use crate::error::Error;
use crate::launch::Launch;
use crate::train::{Event, Phase, Progress, Row, Split};

/// The largest number of rows and of points of the current epoch; of more every other one is dropped, because no screen shows them.
const MOST: usize = 2000;

/// What is known about the training.
pub(super) struct State {
    /// The name of the experiment, its data and its backend.
    pub(super) title: String,
    /// The run folder.
    pub(super) folder: String,
    /// The total number of epochs.
    pub(super) epochs: u64,
    /// The labels of the penalties.
    pub(super) penalties: Vec<String>,
    /// Rows of the epochs, also those before a resumed run; of many epochs not all.
    pub(super) rows: Vec<Row>,
    /// The progress of the current epoch.
    pub(super) progress: Option<Progress>,
    /// Data loss and penalty of the current epoch so far, each with the number of epochs as a fraction.
    pub(super) current: Vec<[f64; 3]>,
    /// What is done between steps, and since when.
    pub(super) phase: Option<(Phase, Instant)>,
    /// The measure of the best epoch.
    pub(super) best_by: Measure,
    /// The best epoch, with this measure and the data loss on the validation split.
    pub(super) best: Option<(u64, f64, f64)>,
    begun: Instant,
    first_step: u64,
}

impl State {
    /// The state before the first step of `launch`.
    pub(super) fn new(launch: &Launch) -> Result<Self, Error> {
        let (manifest, experiment) = (&launch.manifest, launch.session().experiment());
        let mut state = Self {
            title: format!("{} · {} · {}", experiment.name, manifest.dataset.source, manifest.backend),
            folder: launch.folder.path().display().to_string(),
            epochs: experiment.train.epochs.get() as u64,
            penalties: manifest.penalties.clone().unwrap_or_default(),
            rows: Vec::new(),
            progress: None,
            current: Vec::new(),
            phase: None,
            best_by: experiment.train.best_by,
            best: None,
            begun: Instant::now(),
            first_step: launch.session().state().step,
        };
        state.add(&launch.folder.metrics()?);
        Ok(state)
    }

    fn add(&mut self, rows: &[Row]) {
        for row in rows.iter().filter(|row| row.split == Split::Validation) {
            let Some(value) = self.best_by.value(row.data_loss, &row.metrics) else { continue };
            let rank = |value: f64, loss: f64| (self.best_by.cost(value), loss);
            if self.best.is_none_or(|(_, best, loss)| rank(value, row.data_loss) < rank(best, loss)) {
                self.best = Some((row.epoch, value, row.data_loss));
            }
        }
        self.rows.extend_from_slice(rows);
        while self.rows.len() > MOST {
            let mut epochs: Vec<u64> = self.rows.iter().map(|row| row.epoch).collect();
            epochs.dedup();
            // The last epoch stays.
            let kept: BTreeSet<u64> = epochs.into_iter().rev().step_by(2).collect();
            self.rows.retain(|row| kept.contains(&row.epoch));
        }
    }

    /// Takes what an event says.
    pub(super) fn on(&mut self, event: &Event) {
        match event {
            Event::Progress(progress) => {
                self.phase = None;
                let of_epoch = progress.steps.max(1) as f64 / progress.epochs.max(1) as f64;
                self.current.push([progress.step as f64 / of_epoch, progress.data_loss, progress.penalty]);
                if self.current.len() > MOST {
                    let mut index = 0;
                    self.current.retain(|_| {
                        index += 1;
                        index % 2 == 0
                    });
                }
                self.progress = Some(*progress);
            }
            Event::Epoch(rows) => {
                self.phase = None;
                self.current.clear();
                self.add(rows);
            }
            Event::Phase(phase) => {
                let since = self.phase.filter(|(current, _)| current.phase == phase.phase).map_or_else(Instant::now, |(_, since)| since);
                self.phase = Some((*phase, since));
            }
            Event::UpdatingLambda => self.begin_phase("updating λ by the evidence of the training data"),
            Event::Measuring => self.begin_phase("measuring the network"),
            Event::Checkpoint { .. } => {}
        }
    }

    fn begin_phase(&mut self, phase: &'static str) {
        self.phase = Some((Phase { phase, done: 0, total: 0 }, Instant::now()));
    }

    /// The rows of the last complete epoch.
    pub(super) fn last(&self, split: Split) -> Option<&Row> {
        self.rows.iter().rev().take(2).find(|row| row.split == split && Some(row.epoch) == self.rows.last().map(|row| row.epoch))
    }

    /// The seconds until the last step, by the mean speed so far. `None` before the first step.
    pub(super) fn seconds_left(&self) -> Option<f64> {
        let progress = self.progress?;
        let done = progress.step.checked_sub(self.first_step).filter(|done| *done > 0)?;
        Some(self.begun.elapsed().as_secs_f64() * progress.steps.saturating_sub(progress.step) as f64 / done as f64)
    }
}
