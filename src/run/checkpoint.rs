//! Checkpoints. Each is a folder with checksums, written under a temporary name and renamed.
//!
//! A new checkpoint is written and synced; then the old one is renamed to `NAME.previous` and the new one to `NAME`. A kill at any time leaves at
//! least one complete checkpoint. The previous one is used if the newer one is damaged later.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::RunError;
use super::metrics_log::MetricsPrefix;
use regulus_model::Weights;

use crate::atomic::sync_folder;
use crate::checksum::sha256;
use crate::config::CheckpointKind;
use crate::error::WriteError;
use crate::train::{Snapshot, TrainingState};

/// The weights for evaluation and export.
const WEIGHTS: &str = "model.safetensors";
/// The trained weights, if `WEIGHTS` are an average.
const TRAINED: &str = "trained.safetensors";
/// The starting point of `l2_sp` penalties, if there are any.
const ORIGIN: &str = "start.safetensors";
const OPTIMIZER: &str = "optimizer.bpk";
const STATE: &str = "position.json";
/// Length and checksum of `metrics.jsonl` at that time.
const METRICS: &str = "metrics.json";
/// The checksums, in the format of `sha256sum`.
const CHECKSUMS: &str = "SHA256SUMS";

/// The number of further attempts to read a damaged or missing checkpoint.
const RETRIES: usize = 4;
const RETRY_AFTER: Duration = Duration::from_millis(25);

/// A loaded checkpoint.
#[derive(Clone, Debug)]
pub struct LoadedCheckpoint {
    /// The content.
    pub snapshot: Snapshot,
    /// The kind of checkpoint.
    pub kind: CheckpointKind,
    /// The part of `metrics.jsonl` before the checkpoint. `None` in checkpoints of version 0.1.0.
    pub metrics: Option<MetricsPrefix>,
    /// Set if the newer checkpoint is damaged or missing and this is the previous one.
    pub warning: Option<String>,
}

/// Saves `snapshot` in `folder`.
pub(super) fn save(folder: &Path, kind: CheckpointKind, snapshot: &Snapshot, metrics: &MetricsPrefix) -> Result<(), WriteError> {
    let path = folder.join(kind.name());
    try_save(folder, kind, snapshot, metrics).map_err(WriteError::at(&path))
}

/// Saves `snapshot` in `folder`, outside of a run.
pub(crate) fn save_checkpoint(folder: &Path, kind: CheckpointKind, snapshot: &Snapshot) -> Result<(), WriteError> {
    save(folder, kind, snapshot, &MetricsPrefix::default())
}

/// Loads a checkpoint that [`save_checkpoint`] saved. Returns `None` if there is none.
pub(crate) fn load_checkpoint(folder: &Path, kind: CheckpointKind) -> Result<Option<Snapshot>, RunError> {
    Ok(load(folder, kind)?.map(|loaded| loaded.snapshot))
}

fn try_save(folder: &Path, kind: CheckpointKind, snapshot: &Snapshot, metrics: &MetricsPrefix) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let temporary = folder.join(format!(".{}.new", kind.name()));
    remove_if_present(&temporary)?;
    fs::create_dir(&temporary)?;
    let state = serde_json::to_vec_pretty(&snapshot.state)?;
    let mut files = vec![
        (WEIGHTS, snapshot.measured().to_safetensors(&BTreeMap::new())),
        (OPTIMIZER, snapshot.optimizer.clone()),
        (STATE, state),
        (METRICS, serde_json::to_vec(metrics)?),
    ];
    if snapshot.averaged.is_some() {
        files.push((TRAINED, snapshot.weights.to_safetensors(&BTreeMap::new())));
    }
    if let Some(origin) = &snapshot.origin {
        files.push((ORIGIN, origin.to_safetensors(&BTreeMap::new())));
    }
    let checksums: Vec<String> = files.iter().map(|(name, bytes)| format!("{}  {name}", sha256(bytes))).collect();
    let checksums = checksums.join("\n") + "\n";
    for (name, bytes) in files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).chain([(CHECKSUMS, checksums.as_bytes())]) {
        let mut file = fs::File::create(temporary.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    sync_folder(&temporary)?;
    let path = folder.join(kind.name());
    // A damaged checkpoint must not replace the complete previous one.
    if read(&path).is_ok() {
        let previous = previous(folder, kind);
        remove_if_present(&previous)?;
        fs::rename(&path, &previous)?;
    } else {
        remove_if_present(&path)?;
    }
    fs::rename(&temporary, &path)?;
    sync_folder(folder)
}

/// Loads a checkpoint, or the previous one if it is damaged or missing. Returns `None` if there is neither.
pub(super) fn load(folder: &Path, kind: CheckpointKind) -> Result<Option<LoadedCheckpoint>, RunError> {
    let path = folder.join(kind.name());
    let previous = previous(folder, kind);
    // While another process saves one, it may be missing for a moment.
    let mut found = path.exists().then(|| read(&path));
    for _ in 0..RETRIES {
        if matches!(found, Some(Ok(_))) || !previous.exists() {
            break;
        }
        std::thread::sleep(RETRY_AFTER);
        found = path.exists().then(|| read(&path));
    }
    let problem = match found {
        Some(Ok((snapshot, metrics))) => return Ok(Some(LoadedCheckpoint { snapshot, kind, metrics, warning: None })),
        None if !previous.exists() => return Ok(None),
        Some(Err(damage)) if !previous.exists() => return Err(damage),
        Some(Err(damage)) => damage.to_string(),
        None => format!("`{}` is missing", path.display()),
    };
    let (snapshot, metrics) = read(&previous)?;
    let warning = format!("{problem}; using the checkpoint before it, after step {}", snapshot.state.step);
    Ok(Some(LoadedCheckpoint { snapshot, kind, metrics, warning: Some(warning) }))
}

fn previous(folder: &Path, kind: CheckpointKind) -> PathBuf {
    folder.join(format!("{}.previous", kind.name()))
}

fn read(checkpoint: &Path) -> Result<(Snapshot, Option<MetricsPrefix>), RunError> {
    let damaged = |path: &Path, problem: String| RunError::Damaged { path: path.to_owned(), problem };
    let bytes = |name: &str| {
        let path = checkpoint.join(name);
        fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => damaged(checkpoint, format!("it has no `{name}`")),
            _ => RunError::Read { path, source: error },
        })
    };
    let checksums = String::from_utf8_lossy(&bytes(CHECKSUMS)?).into_owned();
    let checked = |name: &str| {
        let bytes = bytes(name)?;
        if checksums.lines().any(|line| line == format!("{}  {name}", sha256(&bytes))) {
            Ok(bytes)
        } else {
            Err(damaged(&checkpoint.join(name), format!("its SHA-256 is not the one in `{CHECKSUMS}`")))
        }
    };
    let weights = |name: &str| {
        let path = checkpoint.join(name);
        Weights::from_safetensors(&path, &checked(name)?).map_err(|error| damaged(&path, error.to_string()))
    };
    // A file that is not in the list is read, too: then the list is damaged.
    let has = |name: &str| checksums.lines().any(|line| line.ends_with(&format!("  {name}"))) || checkpoint.join(name).exists();
    let origin = if has(ORIGIN) { Some(weights(ORIGIN)?) } else { None };
    let (weights, averaged) = if has(TRAINED) { (weights(TRAINED)?, Some(weights(WEIGHTS)?)) } else { (weights(WEIGHTS)?, None) };
    let invalid_json = |name: &'static str| move |error: serde_json::Error| damaged(&checkpoint.join(name), error.to_string());
    let state: TrainingState = serde_json::from_slice(&checked(STATE)?).map_err(invalid_json(STATE))?;
    let metrics = if has(METRICS) { Some(serde_json::from_slice(&checked(METRICS)?).map_err(invalid_json(METRICS))?) } else { None };
    Ok((Snapshot { weights, averaged, optimizer: checked(OPTIMIZER)?, state, origin }, metrics))
}

fn remove_if_present(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
