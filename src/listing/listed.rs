//! A run or a sweep in a listing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::FolderStatus;
use crate::clock;
use crate::config::{ConfigTable, Criterion, Scope};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::run::{RunError, RunFolder};
use crate::search::{SweepFolder, TrialSummary};
use crate::session::{SplitSummary, Summary};
use crate::train::Split;

/// Whether a folder is one of a run or of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The folder of a run.
    Run,
    /// The folder of a sweep. The run of the chosen trial, in its folder `refit`, is listed by itself.
    Sweep,
}

/// A run or a sweep.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Whether it is a run or a sweep.
    pub kind: Kind,
    /// The folder.
    #[serde(rename = "run")]
    pub path: PathBuf,
    /// The name of the experiment.
    pub name: Option<String>,
    /// The status.
    pub status: FolderStatus,
    /// The source of the data.
    pub dataset: Option<String>,
    /// The penalties, such as `l2 on kernels`.
    pub penalties: Vec<String>,
    /// λ of each penalty: of a run that has ended those of its kept checkpoint, else the last. Of a sweep the chosen ones that were searched.
    pub lambdas: Vec<f64>,
    /// Completed epochs of a run.
    pub epochs: Option<u64>,
    /// The split of loss and metrics: the test split, without one the validation split, without one the training split. Of a run that has not ended those of the
    /// last epoch; of a sweep by validation loss the mean over the trainings of the chosen trial.
    pub split: Option<&'static str>,
    /// The data loss.
    pub data_loss: Option<f64>,
    /// Of a sweep, what ranks its trials: `validation_loss`, `loo` (leave-one-out loss) or `evidence` (−ln p(data | λ) / m).
    pub criterion: Option<Criterion>,
    /// Its value for the chosen trial.
    pub criterion_value: Option<f64>,
    /// The metrics of the task.
    pub metrics: Metrics,
    /// When it began, in UTC.
    pub started: Option<String>,
    /// What is missing or damaged.
    pub problem: Option<String>,
    /// The config; of a sweep that has chosen with the settings of the chosen trial.
    #[serde(skip)]
    pub config: Option<ConfigTable>,
}

impl Listed {
    /// Reads the files of a folder. What can't be read is its `problem`.
    pub(super) fn read(path: &Path, kind: Kind) -> Self {
        let mut listed = Self {
            kind,
            path: path.to_owned(),
            name: None,
            status: FolderStatus::Damaged,
            dataset: None,
            penalties: Vec::new(),
            lambdas: Vec::new(),
            epochs: None,
            split: None,
            data_loss: None,
            criterion: None,
            criterion_value: None,
            metrics: Metrics::new(),
            started: None,
            problem: None,
            config: None,
        };
        let read = match kind {
            Kind::Run => listed.read_run(),
            Kind::Sweep => listed.read_sweep(),
        };
        if let Err(error) = read {
            let is_beginning = matches!(error, Error::Run(RunError::NotARun { .. })) && crate::run::is_locked(path);
            listed.status = if is_beginning { FolderStatus::Running } else { FolderStatus::Damaged };
            listed.problem = (!is_beginning).then(|| in_words(&error));
        }
        listed
    }

    fn read_run(&mut self) -> Result<(), Error> {
        let folder = RunFolder::open(&self.path)?;
        let path = self.path.join("config.toml");
        self.of_config(&std::fs::read_to_string(&path).map_err(|source| RunError::Read { path, source })?)?;
        let manifest = folder.manifest()?;
        self.started = Some(manifest.started);
        self.dataset = Some(manifest.dataset.source);
        self.penalties = manifest.penalties.unwrap_or_else(|| std::mem::take(&mut self.penalties));
        let summary = folder.summary()?;
        match &summary {
            Some(Summary { test, validation, train, .. }) if test.is_some() || validation.is_some() || train.is_some() => {
                self.epochs = summary.as_ref().map(|summary| summary.epochs);
                let splits = [("test", test), ("validation", validation), ("train", train)];
                if let Some((split, Some(SplitSummary { data_loss, metrics, .. }))) = splits.into_iter().find(|(_, split)| split.is_some())
                {
                    (self.split, self.data_loss, self.metrics) = (Some(split), Some(*data_loss), metrics.clone());
                }
                self.lambdas = summary.as_ref().map(|summary| summary.lambdas.clone()).unwrap_or_default();
            }
            _ => {
                let rows = folder.last_metrics()?;
                self.epochs = Some(rows.first().map_or(0, |row| row.epoch));
                if let Some(row) = rows.iter().find(|row| row.split == Split::Validation).or(rows.first()) {
                    self.split = Some(if row.split == Split::Train { "train" } else { "validation" });
                    (self.data_loss, self.metrics, self.lambdas) = (Some(row.data_loss), row.metrics.clone(), row.lambdas.clone());
                }
            }
        }
        if self.lambdas.is_empty() {
            self.lambdas = self.configured_lambdas();
        }
        self.status = FolderStatus::of_run(summary.map(|summary| summary.status), || folder.is_in_use());
        Ok(())
    }

    fn read_sweep(&mut self) -> Result<(), Error> {
        self.started = began(&self.path);
        let (folder, plan) = SweepFolder::open_shared(&self.path)?;
        self.of_config(&plan.config)?;
        let study = folder.study()?;
        self.criterion = Some(plan.sweep.criterion);
        let chosen = study.as_ref().and_then(|study| study.trials.iter().find(|trial| Some(trial.trial) == study.chosen));
        if let Some(TrialSummary { settings, comparison, validation, .. }) = chosen {
            let lambda = |(key, value): (&String, &toml::Value)| number(value).filter(|_| key.ends_with(".lambda"));
            self.lambdas = settings.iter().filter_map(lambda).collect();
            self.penalties = self.config.as_ref().map(|config| labels(config, Some(settings))).unwrap_or_default();
            // Filters see what the row shows: the settings of the chosen trial.
            if let Some(config) = &mut self.config {
                for (key, value) in settings {
                    config.set_value(key, value.clone())?;
                }
            }
            self.criterion_value = comparison.map(|found| found.mean);
            if plan.sweep.criterion == Criterion::ValidationLoss {
                (self.split, self.data_loss, self.metrics) = (Some("validation"), self.criterion_value, validation.clone());
            }
        }
        let has_ended = study.is_some_and(|study| study.refit.is_some() || study.chosen.is_none());
        self.status = match has_ended {
            true => FolderStatus::Completed,
            false if SweepFolder::is_in_use(&self.path) => FolderStatus::Running,
            false if !folder.has_begun() => FolderStatus::Planned,
            // What has ended is saved, however it was stopped.
            false => FolderStatus::Interrupted,
        };
        Ok(())
    }

    /// Takes what the config says.
    fn of_config(&mut self, text: &str) -> Result<(), Error> {
        let config = ConfigTable::from_toml(text)?;
        let word = |key: &str| config.value(key).and_then(toml::Value::as_str).map(str::to_owned);
        self.name = word("name");
        self.dataset = word("data.source");
        self.penalties = labels(&config, None);
        self.config = Some(config);
        Ok(())
    }

    fn configured_lambdas(&self) -> Vec<f64> {
        let Some(config) = &self.config else { return Vec::new() };
        (0..self.penalties.len()).filter_map(|index| number(config.value(&format!("penalty.{index}.lambda"))?)).collect()
    }

    /// The data loss, or of a sweep by another criterion than the validation loss the value of that criterion.
    #[must_use]
    pub fn loss(&self) -> Option<f64> {
        self.data_loss.or(self.criterion_value)
    }

    /// The seconds since it began.
    #[must_use]
    pub fn age(&self) -> Option<f64> {
        clock::seconds_since(self.started.as_ref()?)
    }
}

/// The labels of the penalties in a config that `settings` change, such as `l2 on kernels`: those that the manifest of a run has.
fn labels(config: &ConfigTable, settings: Option<&BTreeMap<String, toml::Value>>) -> Vec<String> {
    let word = |key: &str| {
        settings.and_then(|settings| settings.get(key)).or_else(|| config.value(key)).and_then(toml::Value::as_str).map(str::to_owned)
    };
    let indexes = (0..).take_while(|index| config.value(&format!("penalty.{index}")).is_some());
    let label = |index: u32| {
        let scope = word(&format!("penalty.{index}.scope")).unwrap_or_else(|| String::from(Scope::Kernels));
        Some(format!("{} on {scope}", word(&format!("penalty.{index}.kind"))?))
    };
    indexes.filter_map(label).collect()
}

fn number(value: &toml::Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

/// When the folder of a sweep was made, or where the file system does not know it, when its plan was written.
fn began(path: &Path) -> Option<String> {
    let made: Option<SystemTime> = std::fs::metadata(path).and_then(|folder| folder.created()).ok();
    let planned = || std::fs::metadata(path.join("sweep.json")).and_then(|file| file.modified()).ok();
    made.or_else(planned).map(clock::text)
}

/// An error with its cause, on one line.
fn in_words(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}").replace('\n', " ")
}
