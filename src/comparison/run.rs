//! A run that is compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regulus_model::Task;

use crate::checksum::sha256;
use crate::config::ConfigTable;
use crate::data::DataError;
use crate::error::Error;
use crate::listing::FolderStatus;
use crate::run::{RunError, RunFolder};
use crate::session::Summary;
use crate::train::Row;

/// What a run folder has.
#[derive(Clone, Debug)]
pub struct ComparedRun {
    /// The folder.
    pub path: PathBuf,
    /// The end of the path that tells it from the others.
    pub label: String,
    /// The values of its config by their keys.
    pub settings: BTreeMap<String, toml::Value>,
    /// The status.
    pub status: FolderStatus,
    /// The rows of `metrics.jsonl`.
    pub rows: Vec<Row>,
    /// The summary. `None` if it has not ended.
    pub summary: Option<Summary>,
    /// The labels of its penalties.
    pub penalties: Vec<String>,
    /// The task.
    pub task: Task,
    /// SHA-256 over all images and labels.
    pub dataset_sha256: String,
    /// The ratio of validation to training samples.
    pub validation_ratio: f64,
    /// What is doubtful about it.
    pub warnings: Vec<String>,
}

impl ComparedRun {
    /// Reads a run folder.
    pub(super) fn read(path: &Path, label: String) -> Result<Self, Error> {
        if !path.exists() {
            let hint = "expected a run folder, such as `regulus train` makes".to_owned();
            return Err(DataError::Missing { path: path.to_owned(), hint }.into());
        }
        let folder = RunFolder::open(path)?;
        let (manifest, rows, summary) = (folder.manifest()?, folder.metrics()?, folder.summary()?);
        let config = path.join("config.toml");
        let text = std::fs::read_to_string(&config).map_err(|source| RunError::Read { path: config, source })?;
        let status = FolderStatus::of_run(summary.as_ref().map(|summary| summary.status), || folder.is_in_use());
        let mut warnings = Vec::new();
        if !manifest.has_config(&sha256(text.as_bytes())) {
            warnings.push("config.toml was changed since the run began: its settings are not those of the results".to_owned());
        }
        warnings.extend(match status {
            FolderStatus::Completed | FolderStatus::EarlyStopped => None,
            FolderStatus::Diverged => Some("the run diverged, so that it has no final figures".to_owned()),
            _ => Some("the run has not ended, so that it has no final figures yet".to_owned()),
        });
        let dataset = manifest.dataset;
        Ok(Self {
            path: path.to_owned(),
            label,
            settings: ConfigTable::from_toml(&text)?.values(),
            status,
            rows,
            summary,
            penalties: manifest.penalties.unwrap_or_default(),
            task: manifest.task,
            validation_ratio: dataset.validation as f64 / dataset.train.max(1) as f64,
            dataset_sha256: dataset.sha256,
            warnings,
        })
    }

    pub(super) fn task_name(&self) -> &'static str {
        match self.task {
            Task::Classify => "classification",
            Task::Denoise { .. } => "denoising",
        }
    }

    /// The seed of everything random.
    #[must_use]
    pub fn seed(&self) -> Option<&toml::Value> {
        self.settings.get("seed")
    }
}
