//! The event file of a run folder.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::ending;
use super::message::{Event, FAILURE, SUCCESS, SessionEnd, SessionStart, Setting, SettingValue, SettingsContent, Summary, Value};
use super::record;
use super::summary::{histogram, layout, scalar, settings};
use crate::atomic;
use crate::clock;
use crate::config::Lambda;
use crate::error::{Error, WriteError};
use crate::run::{RunFolder, WeightsRow};
use crate::session::{self, Evaluation, Status};
use crate::train::Row;

/// The event file of a run: for each epoch its rows and the histograms of the kernels, and at the end what was measured.
///
/// The part before the end is made of `config.toml`, `manifest.json`, `metrics.jsonl` and `weights.jsonl` alone, so it can be made again. The step of an event is the number
/// of completed epochs. Its time is the start of the run plus the seconds of training.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    /// The start of the run in seconds since 1970.
    started: f64,
    /// The labels of the penalties.
    penalties: Vec<String>,
    /// Whether the λ of a penalty is updated by evidence.
    has_evidence: bool,
    /// The names of the classes.
    classes: Vec<String>,
    /// Seconds of training at the last event.
    seconds: f64,
}

impl EventFile {
    /// Opens the event file of a run to add to it. It gets the epochs that the run folder has, and nothing after them: what an interrupted run wrote after its last checkpoint
    /// is removed, and what is missing is added.
    ///
    /// # Errors
    ///
    /// When a file of the run is damaged, or the event file can't be written.
    pub fn open(folder: &RunFolder) -> Result<Self, Error> {
        let manifest = folder.manifest()?;
        let started = clock::seconds(&manifest.started).unwrap_or_default();
        let extended = manifest.extended.last().and_then(|extension| clock::seconds(&extension.when));
        // A program that follows the file does not see that it is replaced, but sees another one.
        let path = folder.event_file(extended.unwrap_or(started));
        let experiment = folder.experiment(None)?;
        let mut file = Self {
            path,
            started,
            penalties: manifest.penalties.unwrap_or_default(),
            has_evidence: experiment.penalty.iter().any(|penalty| matches!(penalty.schedule, Lambda::Evidence { .. })),
            classes: manifest.classes,
            seconds: 0.0,
        };
        let mut expected = Vec::new();
        let version = Event { file_version: Some("brain.Event:2".to_owned()), ..file.event(0, Vec::new()) };
        record::append(&mut expected, &Event { summary: None, ..version });
        record::append(&mut expected, &file.event(0, vec![start(experiment.settings(), started)]));
        let (rows, weights) = (folder.metrics()?, folder.weights()?);
        for epoch in 0..=rows.last().map_or(0, |row| row.epoch) {
            let of_epoch: Vec<Row> = rows.iter().filter(|row| row.epoch == epoch).cloned().collect();
            file.epoch(&mut expected, epoch, &of_epoch, weights.iter().find(|row| row.epoch == epoch));
        }
        file.bring_to(&expected).map_err(WriteError::at(&file.path))?;
        folder.remove_other_event_files(&file.path)?;
        Ok(file)
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the rows of an epoch, and its weights if they are known.
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub fn add(&mut self, rows: &[Row], weights: Option<&WeightsRow>) -> Result<(), WriteError> {
        let Some(epoch) = rows.first().map(|row| row.epoch) else { return Ok(()) };
        let mut bytes = Vec::new();
        self.epoch(&mut bytes, epoch, rows, weights.filter(|row| row.epoch == epoch));
        self.append(&bytes, false).map_err(WriteError::at(&self.path))
    }

    /// Adds the end of a run: its status, and if its network was measured, the measures and examples.
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub fn end(&mut self, summary: &session::Summary, evaluation: Option<&Evaluation>) -> Result<(), WriteError> {
        let status = match summary.status {
            Status::Completed | Status::EarlyStopped => SUCCESS,
            Status::Diverged => FAILURE,
            Status::Interrupted => return Ok(()),
        };
        self.seconds = summary.seconds;
        let (mut bytes, kept) = (Vec::new(), evaluation.map_or(summary.epochs, |evaluation| evaluation.epoch));
        record::append(&mut bytes, &self.event(kept, ending::measures(summary, evaluation)));
        for value in evaluation.map(|evaluation| ending::examples(evaluation, &self.classes)).into_iter().flatten() {
            record::append(&mut bytes, &self.event(kept, vec![value]));
        }
        let end = SettingsContent { end: Some(SessionEnd { status, seconds: self.started + self.seconds }), ..SettingsContent::default() };
        record::append(&mut bytes, &self.event(summary.epochs, vec![settings("_hparams_/session_end_info", &end)]));
        self.append(&bytes, true).map_err(WriteError::at(&self.path))
    }

    fn epoch(&mut self, bytes: &mut Vec<u8>, epoch: u64, rows: &[Row], weights: Option<&WeightsRow>) {
        let mut values = Vec::new();
        for row in rows {
            let name = row.split.name();
            values.extend(row.measures().into_iter().map(|(measure, value)| scalar(format!("{measure}/{name}"), value)));
        }
        if let Some(row) = rows.first() {
            self.seconds = row.seconds;
            values.extend(row.state(&self.penalties).into_iter().map(|(name, value)| scalar(name, value)));
            values.extend((epoch == 1).then(|| charts(row, self.has_evidence)));
        }
        let parameters = weights.into_iter().flat_map(|row| &row.parameters);
        values.extend(parameters.filter_map(|(name, statistics)| histogram(format!("weights/{name}"), statistics)));
        if !values.is_empty() {
            record::append(bytes, &self.event(epoch, values));
        }
    }

    fn event(&self, epoch: u64, values: Vec<Value>) -> Event {
        let step = i64::try_from(epoch).unwrap_or(i64::MAX);
        Event { wall_time: self.started + self.seconds, step, file_version: None, summary: Some(Summary { values }) }
    }

    /// Makes `expected` the content. A program that follows the file sees it shortened or grown in place, unless its beginning is another one.
    fn bring_to(&self, expected: &[u8]) -> std::io::Result<()> {
        let found = match std::fs::read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            found => found?,
        };
        if found.starts_with(expected) {
            OpenOptions::new().write(true).open(&self.path)?.set_len(expected.len() as u64)
        } else if let Some(missing) = expected.strip_prefix(found.as_slice()) {
            self.append(missing, false)
        } else {
            atomic::write(&self.path, expected).map_err(|error| error.source)
        }
    }

    fn append(&self, bytes: &[u8], is_end: bool) -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(bytes)?;
        // What is lost before is made again from the other files.
        if is_end { file.sync_data() } else { Ok(()) }
    }
}

/// The settings of the run.
fn start(all: impl IntoIterator<Item = (String, Json)>, seconds: f64) -> Value {
    let setting = |value| match value {
        Json::Bool(value) => SettingValue::Flag(value),
        Json::Number(value) => SettingValue::Number(value.as_f64().unwrap_or(f64::NAN)),
        Json::String(value) => SettingValue::Text(value),
        other => SettingValue::Text(other.to_string()),
    };
    let all = all.into_iter().map(|(path, value)| (path, Setting { value: Some(setting(value)) })).collect();
    let content = SettingsContent { start: Some(SessionStart { settings: all, seconds }), ..SettingsContent::default() };
    settings("_hparams_/session_start_info", &content)
}

/// Charts with the curves of both splits, and of all penalties.
fn charts(row: &Row, has_evidence: bool) -> Value {
    let both = |name: String| (name.replace('_', " "), vec![format!("{name}/train"), format!("{name}/validation")]);
    let losses = vec![("data loss and penalty".to_owned(), vec!["data_loss/train".to_owned(), "penalty/train".to_owned()])];
    let splits = row.measures().into_iter().map(|(name, _)| both(name));
    let penalties = [("λ", "lambda", !row.lambdas.is_empty()), ("γ", "gamma", has_evidence)];
    let penalties =
        penalties.into_iter().filter(|(.., has)| *has).map(|(title, name, _)| (title.to_owned(), vec![format!("{name}(/.*)?")]));
    layout("Regulus", splits.chain(losses).chain(penalties).collect())
}
