//! The journal of a sweep in the format of Optuna's `JournalStorage`, so that Optuna and its dashboard open it.
//!
//! One JSON object a line. The first creates the study, every other one a trial that has ended, so no trial is left running. A line that was torn by a kill
//! is removed before the next one is appended. Everything in it follows from the results of the trainings, so a damaged journal is written anew, and the damaged one
//! kept beside it. Writers take the lock of Optuna's file backend, `journal.log.lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::journal_lock::JournalLock;
use super::{FitResult, FitState, Plan};
use crate::clock;
use crate::config::{Dimension, Values};
use crate::error::WriteError;

/// Operations of the journal.
const CREATE_STUDY: u8 = 0;
const CREATE_TRIAL: u8 = 4;
/// States of a trial.
const COMPLETE: u8 = 1;
const PRUNED: u8 = 2;
const FAIL: u8 = 3;
/// The direction of the study.
const MINIMIZE: u8 = 1;
/// The last operation that Optuna knows.
const LAST_OPERATION: u64 = 9;

/// What stops waiting for the lock, and who is told of it and of a damaged journal.
pub(super) struct Control<'a> {
    /// Waiting ends soon after it is set.
    pub(super) stop: &'a AtomicBool,
    /// Called with what the user should know.
    pub(super) warn: &'a mut dyn FnMut(&str),
}

/// A journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// The trials that it has.
    trials: BTreeSet<usize>,
}

impl Journal {
    /// Opens the journal at `path`, or begins it with a study of this name. A damaged one is kept aside and begun anew. Returns `None` if it was stopped while another
    /// process had the lock.
    ///
    /// # Errors
    ///
    /// When it can't be read or written.
    pub(super) fn open(path: &Path, study: &str, control: &mut Control) -> Result<Option<Self>, WriteError> {
        let first = json!({ "op_code": CREATE_STUDY, "worker_id": WORKER, "study_name": study, "directions": [MINIMIZE] });
        let aside = path.with_extension("log.damaged");
        let opened = locked(path, control, |file| {
            let bytes = whole_lines(file)?;
            let read = lines(&bytes);
            if read.is_none() {
                std::fs::write(&aside, &bytes)?;
                file.set_len(0)?;
            }
            let is_damaged = read.is_none();
            let lines = read.unwrap_or_default();
            if lines.is_empty() {
                append(file, &first)?;
            }
            Ok((lines, is_damaged))
        })?;
        let Some((lines, is_damaged)) = opened else { return Ok(None) };
        if is_damaged {
            let (path, aside) = (path.display(), aside.display());
            (control.warn)(&format!(
                "`{path}` was damaged and is written anew from the results of the trainings; the damaged one is `{aside}`"
            ));
        }
        let numbers = lines.iter().filter(|line| line["op_code"] == CREATE_TRIAL).filter_map(|line| line["user_attrs"][TRIAL].as_u64());
        let trials = numbers.filter_map(|number| usize::try_from(number).ok()).collect();
        Ok(Some(Self { path: path.to_owned(), trials }))
    }

    /// Whether it has a trial.
    pub(super) fn has(&self, trial: usize) -> bool {
        self.trials.contains(&trial)
    }

    /// Adds a trial with the results of all its fits, unless it is there, or it was stopped while another process had the lock. `from_start`: its mean loss from initial
    /// weights, for one of a path.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub(super) fn add(
        &mut self,
        plan: &Plan,
        trial: usize,
        results: &[&FitResult],
        from_start: Option<f64>,
        control: &mut Control,
    ) -> Result<(), WriteError> {
        if self.has(trial) {
            return Ok(());
        }
        let mut line = line(plan, trial, results);
        if let Some(loss) = from_start {
            line["user_attrs"][FROM_START] = json!(loss);
        }
        let added = locked(&self.path, control, |file| {
            whole_lines(file)?;
            append(file, &line)
        })?;
        if added.is_some() {
            self.trials.insert(trial);
        }
        Ok(())
    }
}

/// Runs `work` with the open file while no other process writes to it. Returns `None` if it was stopped before.
fn locked<T>(path: &Path, control: &mut Control, work: impl FnOnce(&mut File) -> io::Result<T>) -> Result<Option<T>, WriteError> {
    let lock = JournalLock::take(path, control).map_err(WriteError::at(path))?;
    let Some(lock) = lock else { return Ok(None) };
    let done = OpenOptions::new().read(true).append(true).create(true).open(path).and_then(|mut file| work(&mut file));
    drop(lock);
    done.map(Some).map_err(WriteError::at(path))
}

/// The operations in a journal. Returns `None` if Optuna could not read them: the first creates the study, and each is one that it knows.
fn lines(bytes: &[u8]) -> Option<Vec<Value>> {
    let is_operation = |line: &Value| line["op_code"].as_u64().is_some_and(|code| code <= LAST_OPERATION) && line["worker_id"].is_string();
    let read = |line: &str| serde_json::from_str::<Value>(line).ok().filter(is_operation);
    let lines: Vec<Value> = std::str::from_utf8(bytes).ok()?.lines().map(read).collect::<Option<_>>()?;
    lines.first().is_none_or(|first| first["op_code"] == CREATE_STUDY).then_some(lines)
}

/// Who wrote a line.
const WORKER: &str = "regulus";
/// The attribute with the number of the trial in the plan.
const TRIAL: &str = "trial";
/// The attribute with the mean loss from initial weights of a trial on a path.
const FROM_START: &str = "from_initial_weights";

/// The line of a trial.
fn line(plan: &Plan, trial: usize, results: &[&FitResult]) -> Value {
    let state = match results.iter().map(|result| result.state).find(|state| *state != FitState::Completed) {
        None => COMPLETE,
        Some(FitState::Pruned) => PRUNED,
        Some(_) => FAIL,
    };
    // Of a pruned trial those of its last epoch.
    let loss = |result: &&FitResult| if state == PRUNED { result.validation_loss } else { result.loss(plan.sweep.criterion) };
    let losses: Option<Vec<f64>> = results.iter().map(|result| loss(result).filter(|loss| state != FAIL && loss.is_finite())).collect();
    let losses = losses.filter(|losses| !losses.is_empty());
    let seconds = results.iter().map(|result| result.seconds).fold(0.0, |sum, seconds| sum + seconds);
    let settings: BTreeMap<&str, &toml::Value> = plan.trials[trial].iter().map(|(key, value)| (key.as_str(), value)).collect();
    let (mut params, mut distributions) = (serde_json::Map::new(), serde_json::Map::new());
    for dimension in &plan.space {
        let Some((internal, distribution)) = settings.get(dimension.key.as_str()).and_then(|value| parameter(dimension, value)) else {
            continue;
        };
        params.insert(dimension.key.clone(), internal);
        distributions.insert(dimension.key.clone(), distribution.to_string().into());
    }
    let mut attributes =
        json!({ TRIAL: trial, "seeds": plan.seeds, "folds": plan.folds(), "repeats": plan.sweep.repeats, "seconds": seconds });
    if let Some(message) = results.iter().find_map(|result| result.message.as_ref()) {
        attributes["message"] = json!(message);
    }
    let value = losses.as_ref().map(|losses| losses.iter().sum::<f64>() / losses.len() as f64);
    let each: serde_json::Map<String, Value> =
        losses.iter().flatten().enumerate().map(|(index, loss)| (index.to_string(), json!(loss))).collect();
    json!({
        "op_code": CREATE_TRIAL, "worker_id": WORKER, "study_id": 0,
        "state": if value.is_some() { state } else { FAIL },
        "value": value, "values": null,
        "datetime_start": time(&clock::before(seconds)), "datetime_complete": time(&clock::now()),
        "params": params, "distributions": distributions,
        "user_attrs": attributes, "system_attrs": {}, "intermediate_values": each,
    })
}

/// A time as every version of Python reads it.
fn time(utc: &str) -> String {
    utc.replace('Z', "+00:00")
}

/// The value of a parameter as Optuna stores it, and its distribution: a range of numbers, or an index in a list of choices. Returns `None` for a value that
/// is not in the list.
fn parameter(dimension: &Dimension, value: &toml::Value) -> Option<(Value, Value)> {
    if let Values::Range { low, high, is_log, is_whole, .. } = &dimension.values {
        if *is_whole {
            let [low, high] = [0.0, 1.0].map(|share| dimension.values.at(share));
            let attributes = json!({ "step": 1, "low": low?.as_integer(), "high": high?.as_integer(), "log": is_log });
            return Some((json!(value.as_integer()?), json!({ "name": "IntDistribution", "attributes": attributes })));
        }
        let attributes = json!({ "step": null, "low": low, "high": high, "log": is_log });
        return Some((json!(value.as_float()?.clamp(*low, *high)), json!({ "name": "FloatDistribution", "attributes": attributes })));
    }
    let choices = dimension.grid().ok()?;
    let index = choices.iter().position(|choice| choice == value)?;
    let choices: Vec<Value> = choices.iter().map(choice).collect();
    Some((json!(index), json!({ "name": "CategoricalDistribution", "attributes": { "choices": choices } })))
}

/// A choice: a number, a word, true or false; another value as text.
fn choice(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(yes) => json!(yes),
        other => json!(other.to_string()),
    }
}

/// The whole lines of the file. A last line without an end is removed.
fn whole_lines(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    if whole < bytes.len() {
        file.set_len(whole as u64)?;
        bytes.truncate(whole);
    }
    Ok(bytes)
}

/// Appends a line and syncs it.
fn append(file: &mut File, line: &Value) -> io::Result<()> {
    file.write_all(format!("{line}\n").as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The journal, and what was said.
    fn opened(path: &Path) -> (Journal, Vec<String>) {
        let mut said = Vec::new();
        let (stop, mut warn) = (AtomicBool::new(false), |text: &str| said.push(text.to_owned()));
        let journal = Journal::open(path, "digits", &mut Control { stop: &stop, warn: &mut warn }).unwrap().unwrap();
        (journal, said)
    }

    #[test]
    fn a_torn_line_is_removed_and_a_trial_is_added_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.log");
        drop(opened(&path));
        let first = std::fs::read_to_string(&path).unwrap();
        assert!(first.starts_with("{\"directions\":[1],") && first.ends_with("}\n"), "{first}");
        let trial = "{\"op_code\":4,\"worker_id\":\"regulus\",\"user_attrs\":{\"trial\":2}}";
        std::fs::write(&path, format!("{first}{trial}\n{{\"op_code\":4,\"us")).unwrap();
        let (journal, said) = opened(&path);
        assert_eq!((journal.trials, said), (BTreeSet::from([2]), Vec::new()));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert!(!path.with_extension("log.lock").exists());
    }

    #[test]
    fn a_damaged_journal_is_begun_anew_and_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.log");
        drop(opened(&path));
        let first = std::fs::read_to_string(&path).unwrap();
        let trial = "{\"op_code\":4,\"worker_id\":\"regulus\",\"user_attrs\":{\"trial\":2}}\n";
        let damaged: [Vec<u8>; 6] = [
            format!("{first}{trial}garbage\n").into(),
            format!("{first}{}", trial.replace("op_code", "op_kode")).into(),
            format!("{first}{}\n", &trial[..30]).into(),
            trial.into(),
            format!("{first}{}", trial.replace(":4", ":44")).into(),
            (0..=255_u8).rev().chain([b'\n']).collect(),
        ];
        for content in damaged {
            std::fs::write(&path, &content).unwrap();
            let (journal, said) = opened(&path);
            assert!(journal.trials.is_empty() && said.len() == 1 && said[0].contains("was damaged and is written anew"), "{said:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
            assert_eq!(std::fs::read(folder.path().join("journal.log.damaged")).unwrap(), content);
        }
    }
}
