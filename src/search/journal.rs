//! The journal of a sweep in the format of Optuna's `JournalStorage`, so that Optuna and its dashboard open it.
//!
//! One JSON object a line. The first creates the study, every other one a trial that has ended, so no trial is left running. A line that was torn by a kill
//! is removed before the next one is appended. Writers take the lock of Optuna's file backend, `journal.log.lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

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
/// After this time a lock was left by a killed process.
const GRACE: Duration = Duration::from_secs(30);

/// A journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// The trials that it has.
    trials: BTreeSet<usize>,
}

impl Journal {
    /// Opens the journal at `path`, or begins it with a study of this name.
    ///
    /// # Errors
    ///
    /// When it can't be read or written.
    pub(super) fn open(path: &Path, study: &str) -> Result<Self, WriteError> {
        let mut journal = Self { path: path.to_owned(), trials: BTreeSet::new() };
        let text = journal.locked(|file| {
            let text = whole_lines(file)?;
            if text.is_empty() {
                append(file, &json!({ "op_code": CREATE_STUDY, "worker_id": WORKER, "study_name": study, "directions": [MINIMIZE] }))?;
            }
            Ok(text)
        })?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let numbers = lines.filter(|line| line["op_code"] == CREATE_TRIAL).filter_map(|line| line["user_attrs"][TRIAL].as_u64());
        journal.trials = numbers.filter_map(|number| usize::try_from(number).ok()).collect();
        Ok(journal)
    }

    /// Adds a trial with the results of all its fits, unless it is there.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub(super) fn add(&mut self, plan: &Plan, trial: usize, results: &[&FitResult]) -> Result<(), WriteError> {
        if !self.trials.insert(trial) {
            return Ok(());
        }
        let line = line(plan, trial, results);
        self.locked(|file| {
            whole_lines(file)?;
            append(file, &line)
        })
    }

    /// Runs `work` with the open file while no other process writes to it.
    fn locked<T>(&self, work: impl FnOnce(&mut File) -> io::Result<T>) -> Result<T, WriteError> {
        let lock = Lock::take(&self.path).map_err(WriteError::at(&self.path))?;
        let done = OpenOptions::new().read(true).append(true).create(true).open(&self.path).and_then(|mut file| work(&mut file));
        drop(lock);
        done.map_err(WriteError::at(&self.path))
    }
}

/// Who wrote a line.
const WORKER: &str = "regulus";
/// The attribute with the number of the trial in the plan.
const TRIAL: &str = "trial";

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
fn whole_lines(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    if whole < bytes.len() {
        file.set_len(whole as u64)?;
        bytes.truncate(whole);
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Appends a line and syncs it.
fn append(file: &mut File, line: &Value) -> io::Result<()> {
    file.write_all(format!("{line}\n").as_bytes())?;
    file.sync_all()
}

/// The lock file, as long as this value lives.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> io::Result<Self> {
        let path = path.with_extension("log.lock");
        let changed = |path: &Path| std::fs::symlink_metadata(path).and_then(|file| file.modified()).ok();
        let (mut since, mut last) = (Instant::now(), changed(&path));
        loop {
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(_) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            let now = changed(&path);
            if now != last {
                (since, last) = (Instant::now(), now);
            } else if since.elapsed() > GRACE {
                // Another process may have removed it.
                let _ = std::fs::remove_file(&path);
                since = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_removed_and_a_trial_is_added_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.log");
        drop(Journal::open(&path, "digits").unwrap());
        let first = std::fs::read_to_string(&path).unwrap();
        assert!(first.starts_with("{\"directions\":[1],") && first.ends_with("}\n"), "{first}");
        std::fs::write(&path, format!("{first}{{\"op_code\":4,\"user_attrs\":{{\"trial\":2}}}}\n{{\"op_code\":4,\"us")).unwrap();
        let journal = Journal::open(&path, "digits").unwrap();
        assert_eq!(journal.trials, BTreeSet::from([2]));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert!(!path.with_extension("log.lock").exists());
    }
}
