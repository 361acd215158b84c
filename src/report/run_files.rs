//! The files of a run folder, and what is missing.

use std::path::Path;

use regulus_model::Weights;

use crate::checksum::sha256;
use crate::config::CheckpointKind;
use crate::error::Error;
use crate::run::{Manifest, RunError, RunFolder, WeightsRow};
use crate::session::{Evaluation, Status, Summary};
use crate::train::{Row, Split};

/// What a run folder has.
pub(super) struct RunFiles {
    /// The name of the experiment and of the folder.
    pub(super) name: String,
    pub(super) config: String,
    pub(super) manifest: Manifest,
    pub(super) rows: Vec<Row>,
    pub(super) weights: Vec<WeightsRow>,
    pub(super) summary: Option<Summary>,
    pub(super) evaluation: Option<Evaluation>,
    pub(super) kept: Option<KeptWeights>,
    /// What is missing, and why.
    pub(super) missing: Vec<String>,
}

/// The weights of the checkpoint that commands use.
pub(super) struct KeptWeights {
    pub(super) kind: CheckpointKind,
    pub(super) epoch: u64,
    pub(super) weights: Weights,
}

impl RunFiles {
    /// Reads a run folder.
    ///
    /// # Errors
    ///
    /// When `path` is not a run folder, or a file in it is damaged.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let folder = RunFolder::open(path)?;
        let manifest = folder.manifest()?;
        let config_path = path.join("config.toml");
        let config = std::fs::read_to_string(&config_path).map_err(|source| RunError::Read { path: config_path, source })?;
        let (rows, weights, summary, evaluation) = (folder.metrics()?, folder.weights()?, folder.summary()?, folder.evaluation()?);
        let mut missing = Vec::new();
        if !manifest.has_config(&sha256(config.as_bytes())) {
            missing.push("config.toml was changed since the run began: the config below is not the one of the results.".to_owned());
        }
        missing.extend(unfinished(summary.as_ref(), &rows));
        let kept = match folder.load(None) {
            Ok(loaded) => {
                missing.extend(loaded.warning.clone());
                let (kind, epoch) = (loaded.kind, loaded.snapshot.state.epoch);
                Some(KeptWeights { kind, epoch, weights: loaded.snapshot.into_measured() })
            }
            Err(RunError::NoCheckpoint { .. }) => {
                missing.push("There is no checkpoint: the run ended or was cut off before the first. Filters are not shown.".to_owned());
                None
            }
            Err(error) => {
                missing.push(format!("The checkpoint can't be read, so that filters are not shown: {error}."));
                None
            }
        };
        missing.extend(without_weights(&weights, &rows, evaluation.is_some()));
        missing.extend(without_evaluation(evaluation.as_ref(), summary.as_ref(), !weights.is_empty()));
        let name = name_of(&config, path);
        Ok(Self { name, config, manifest, rows, weights, summary, evaluation, kept, missing })
    }

    /// The rows of a split.
    pub(super) fn rows_of(&self, split: Split) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.split == split)
    }

    /// The last epoch that has rows.
    pub(super) fn last_epoch(&self) -> Option<u64> {
        self.rows.last().map(|row| row.epoch)
    }

    /// The best epoch by `train.best_by`.
    pub(super) fn best_epoch(&self) -> Option<u64> {
        let of_summary = self.summary.as_ref().and_then(|summary| summary.best_epoch);
        let measure = self.manifest.best_by;
        let cost = |row: &Row| measure.cost_of(row.data_loss, &row.metrics).unwrap_or(f64::INFINITY);
        let order = |one: &&Row, other: &&Row| cost(one).total_cmp(&cost(other)).then(one.data_loss.total_cmp(&other.data_loss));
        of_summary.or_else(|| self.rows_of(Split::Validation).min_by(order).map(|row| row.epoch))
    }

    /// The labels of the penalties, in the order of every list of λ.
    pub(super) fn penalties(&self) -> &[String] {
        self.manifest.penalties.as_deref().unwrap_or_default()
    }
}

/// The name in the config, and that of the folder.
fn name_of(config: &str, path: &Path) -> String {
    let table: Option<toml::Table> = config.parse().ok();
    let name = table.and_then(|table| Some(table.get("name")?.as_str()?.to_owned())).unwrap_or_default();
    let folder = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = folder.file_name().map_or_else(String::new, |folder| folder.to_string_lossy().into_owned());
    if name == folder || folder.is_empty() { name } else { format!("{name} / {folder}") }
}

fn unfinished(summary: Option<&Summary>, rows: &[Row]) -> Option<String> {
    let epochs = rows.last().map_or(0, |row| row.epoch);
    match summary.map(|summary| summary.status) {
        None => Some(format!(
            "The run has not ended: this is what there is after {epochs} epochs. `regulus resume` goes on with a run that was cut off."
        )),
        Some(Status::Interrupted) => Some(format!(
            "The run was interrupted after {epochs} epochs and can be resumed: the trained network has not been measured yet."
        )),
        Some(Status::Diverged) => Some(format!(
            "The run diverged after {epochs} complete epochs: a loss or weight became infinite or NaN. Try a smaller learning rate or λ."
        )),
        Some(Status::Completed | Status::EarlyStopped) => None,
    }
}

/// Why a file is missing that only the first versions did not write. `has_other`: the run has another file that they did not write either.
fn why_missing(has_other: bool) -> &'static str {
    if has_other { "it was removed" } else { "it was removed, or an earlier version of Regulus trained the run, which did not write it" }
}

fn without_weights(weights: &[WeightsRow], rows: &[Row], has_later: bool) -> Option<String> {
    let last = rows.last()?.epoch;
    match weights.first() {
        None => Some(format!("There is no weights.jsonl: {}. ‖w‖² by layer and histograms are not shown.", why_missing(has_later))),
        Some(first) if first.epoch > 0 => Some(format!(
            "weights.jsonl has nothing before epoch {}: {}.",
            first.epoch, "an earlier version of Regulus trained these epochs, or lines were removed"
        )),
        Some(_) if weights.len() as u64 <= last => Some("weights.jsonl lacks some epochs.".to_owned()),
        Some(_) => None,
    }
}

fn without_evaluation(evaluation: Option<&Evaluation>, summary: Option<&Summary>, has_later: bool) -> Option<String> {
    let has_ended = summary.is_some_and(|summary| matches!(summary.status, Status::Completed | Status::EarlyStopped));
    (has_ended && evaluation.is_none()).then(|| {
        format!(
            "There is no evaluation.json: {}. The confusion matrix, calibration and images are not shown; `regulus evaluate` prints the measures.",
            why_missing(has_later)
        )
    })
}
