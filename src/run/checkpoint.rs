//! Checkpoints: one folder each, committed by one rename, with a checksum over all of it.
//!
//! A new checkpoint is written beside the old one and synced; then the old one is renamed to `NAME.previous` and the new one takes its
//! name. A kill before, between or after leaves at least one whole checkpoint, and the one before it is kept in case the newer one is
//! damaged later.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::RunError;
use super::metrics_log::Mark;
use regulus_model::Weights;

use crate::atomic::sync_folder;
use crate::checksum::sha256;
use crate::config::CheckpointKind;
use crate::error::WriteError;
use crate::train::{Position, Snapshot};

/// What is measured and exported.
const WEIGHTS: &str = "model.safetensors";
/// What is trained, where that is something else: with averaging, the weights themselves.
const TRAINED: &str = "trained.safetensors";
const OPTIMIZER: &str = "optimizer.bpk";
const POSITION: &str = "position.json";
/// What was in `metrics.jsonl` then.
const METRICS: &str = "metrics.json";
/// In the format of `sha256sum`, which can check it too.
const CHECKSUMS: &str = "SHA256SUMS";

/// How often a checkpoint that is damaged or missing is looked at again.
const RETRIES: usize = 4;
const RETRY_AFTER: Duration = Duration::from_millis(25);

/// A checkpoint that was read, and what had to be said about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it holds.
    pub snapshot: Snapshot,
    /// The kind of checkpoint.
    pub which: CheckpointKind,
    /// The rows of `metrics.jsonl` then; none in checkpoints of before there were marks.
    pub metrics: Option<Mark>,
    /// That the newer one is damaged or missing, and this is the one before it.
    pub warning: Option<String>,
}

/// Commits `snapshot` under `name` in `folder`.
pub(super) fn save(folder: &Path, which: CheckpointKind, snapshot: &Snapshot, metrics: &Mark) -> Result<(), WriteError> {
    let place = folder.join(which.name());
    try_save(folder, which, snapshot, metrics).map_err(WriteError::at(&place))
}

fn try_save(folder: &Path, which: CheckpointKind, snapshot: &Snapshot, metrics: &Mark) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let aside = folder.join(format!(".{}.new", which.name()));
    remove_if_there(&aside)?;
    fs::create_dir(&aside)?;
    let position = serde_json::to_vec_pretty(&snapshot.position)?;
    let mut files = vec![
        (WEIGHTS, snapshot.measured().to_safetensors(&BTreeMap::new())),
        (OPTIMIZER, snapshot.optimizer.clone()),
        (POSITION, position),
        (METRICS, serde_json::to_vec(metrics)?),
    ];
    if snapshot.averaged.is_some() {
        files.push((TRAINED, snapshot.weights.to_safetensors(&BTreeMap::new())));
    }
    let checksums: Vec<String> = files.iter().map(|(name, bytes)| format!("{}  {name}", sha256(bytes))).collect();
    let checksums = checksums.join("\n") + "\n";
    for (name, bytes) in files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).chain([(CHECKSUMS, checksums.as_bytes())]) {
        let mut file = fs::File::create(aside.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    sync_folder(&aside)?;
    let place = folder.join(which.name());
    // A damaged checkpoint must not take the place of the whole one before it.
    if read(&place).is_ok() {
        let previous = previous(folder, which);
        remove_if_there(&previous)?;
        fs::rename(&place, &previous)?;
    } else {
        remove_if_there(&place)?;
    }
    fs::rename(&aside, &place)?;
    sync_folder(folder)
}

/// Reads the checkpoint, or, if it is damaged or missing, the one before it.
pub(super) fn load(folder: &Path, which: CheckpointKind) -> Result<Option<Loaded>, RunError> {
    let place = folder.join(which.name());
    let previous = previous(folder, which);
    // Beside a training that commits one, it may be missing or half renamed for a moment.
    let mut found = place.exists().then(|| read(&place));
    for _ in 0..RETRIES {
        if matches!(found, Some(Ok(_))) || !previous.exists() {
            break;
        }
        std::thread::sleep(RETRY_AFTER);
        found = place.exists().then(|| read(&place));
    }
    let problem = match found {
        Some(Ok((snapshot, metrics))) => return Ok(Some(Loaded { snapshot, which, metrics, warning: None })),
        None if !previous.exists() => return Ok(None),
        Some(Err(damage)) if !previous.exists() => return Err(damage),
        Some(Err(damage)) => damage.to_string(),
        None => format!("`{}` is missing", place.display()),
    };
    let (snapshot, metrics) = read(&previous)?;
    let warning = format!("{problem}; using the checkpoint before it, after step {}", snapshot.position.step);
    Ok(Some(Loaded { snapshot, which, metrics, warning: Some(warning) }))
}

fn previous(folder: &Path, which: CheckpointKind) -> PathBuf {
    folder.join(format!("{}.previous", which.name()))
}

fn read(place: &Path) -> Result<(Snapshot, Option<Mark>), RunError> {
    let damaged = |path: &Path, problem: String| RunError::Damaged { path: path.to_owned(), problem };
    let bytes = |name: &str| {
        let path = place.join(name);
        fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => damaged(place, format!("it has no `{name}`")),
            _ => RunError::Read { path, source: error },
        })
    };
    let checksums = String::from_utf8_lossy(&bytes(CHECKSUMS)?).into_owned();
    let checked = |name: &str| {
        let bytes = bytes(name)?;
        if checksums.lines().any(|line| line == format!("{}  {name}", sha256(&bytes))) {
            Ok(bytes)
        } else {
            Err(damaged(&place.join(name), format!("its SHA-256 is not the one in `{CHECKSUMS}`")))
        }
    };
    let weights = |name: &str| {
        let path = place.join(name);
        Weights::from_safetensors(&path, &checked(name)?).map_err(|error| damaged(&path, error.to_string()))
    };
    // A file that is there and not in the list is a damaged list.
    let has = |name: &str| checksums.lines().any(|line| line.ends_with(&format!("  {name}"))) || place.join(name).exists();
    let (weights, averaged) = if has(TRAINED) { (weights(TRAINED)?, Some(weights(WEIGHTS)?)) } else { (weights(WEIGHTS)?, None) };
    let in_json = |name: &'static str| move |error: serde_json::Error| damaged(&place.join(name), error.to_string());
    let position: Position = serde_json::from_slice(&checked(POSITION)?).map_err(in_json(POSITION))?;
    let metrics = if has(METRICS) { Some(serde_json::from_slice(&checked(METRICS)?).map_err(in_json(METRICS))?) } else { None };
    Ok((Snapshot { weights, averaged, optimizer: checked(OPTIMIZER)?, position }, metrics))
}

fn remove_if_there(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
