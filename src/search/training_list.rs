//! The list of a planned sweep's trainings, and the config of each.
//!
//! ```text
//! trainings.json        for each index: trial, seed, fold, config file and its checksum
//! configs/00007.toml    what training 7 trains, with every default: `regulus train configs/00007.toml` does it alone
//! ```
//!
//! Both are written once. Trainings can be divided among machines by their index.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Fit, Plan, SweepFolder};
use crate::atomic;
use crate::checksum::{sha256, with_checksum};
use crate::config::{ConfigTable, Experiment};
use crate::error::{Error, WriteError};
use crate::run::RunError;

const LIST: &str = "trainings.json";
const CONFIGS: &str = "configs";

/// A training in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedTraining {
    /// Its index, from 0.
    pub index: usize,
    /// The training.
    #[serde(flatten)]
    pub fit: Fit,
    /// Its config, in the folder of the sweep.
    pub config: PathBuf,
    /// The checksum of the config.
    pub config_sha256: String,
}

/// The list of the trainings, by index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingList {
    /// The trainings.
    pub trainings: Vec<ListedTraining>,
}

impl TrainingList {
    /// Writes the list and the configs of `plan`.
    ///
    /// # Errors
    ///
    /// When a config can't be made, or a file can't be written.
    pub fn write(plan: &Plan, folder: &SweepFolder) -> Result<Self, Error> {
        let configs = folder.path().join(CONFIGS);
        std::fs::create_dir_all(&configs).map_err(WriteError::at(&configs))?;
        let listed = plan.fits().into_iter().enumerate().map(|(index, fit)| {
            let (text, config) = (plan.experiment(&fit)?.to_toml(), Path::new(CONFIGS).join(format!("{index:05}.toml")));
            atomic::write(&folder.path().join(&config), text.as_bytes())?;
            Ok(ListedTraining { index, fit, config, config_sha256: sha256(text.as_bytes()) })
        });
        let list = Self { trainings: listed.collect::<Result<_, Error>>()? };
        atomic::write(&folder.path().join(LIST), with_checksum(&list).as_bytes())?;
        Ok(list)
    }

    /// Reads the list. Returns `None` for a sweep that was not planned ahead.
    ///
    /// # Errors
    ///
    /// When it is damaged, or not that of the plan.
    pub fn open(plan: &Plan, folder: &SweepFolder) -> Result<Option<Self>, Error> {
        let path = folder.path().join(LIST);
        if !path.is_file() {
            return Ok(None);
        }
        let list: Self = super::folder::read(&path, "restore the file, or plan a new sweep")?;
        let fits = plan.fits();
        if list.trainings.len() != fits.len()
            || list.trainings.iter().zip(fits).enumerate().any(|(at, (listed, fit))| listed.index != at || listed.fit != fit)
        {
            let problem = "it does not list the trainings of `sweep.json`; restore both files".to_owned();
            return Err(RunError::Damaged { path, problem }.into());
        }
        Ok(Some(list))
    }

    /// The experiment in the config of a training.
    ///
    /// # Errors
    ///
    /// When the config is missing or was changed.
    pub fn experiment(&self, index: usize, folder: &SweepFolder) -> Result<Experiment, Error> {
        let listed = &self.trainings[index];
        let path = folder.path().join(&listed.config);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let problem = format!("it can't be read ({error}); restore it, or plan a new sweep");
            RunError::Damaged { path: path.clone(), problem }
        })?;
        if sha256(text.as_bytes()) != listed.config_sha256 {
            let problem =
                format!("it was changed since the sweep was planned; restore it, or train it alone: `regulus train {}`", path.display());
            return Err(RunError::Damaged { path, problem }.into());
        }
        Ok(ConfigTable::from_toml(&text)?.experiment()?)
    }
}
