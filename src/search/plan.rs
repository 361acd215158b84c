//! The plan of a sweep: its trials, seeds and folds.

use serde::{Deserialize, Serialize};

use super::space::{self, Settings};
use super::{Dimension, Unit};
use crate::config::{CheckpointKind, ConfigError, ConfigTable, Experiment, Fold, Validation};
use crate::data::{Data, DataError};
use crate::error::Error;
use crate::seed::Seed;

/// The rule of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The lowest mean validation loss.
    Minimum,
    /// The largest λ whose mean loss is within one corrected standard error of the lowest.
    OneStandardError,
}

/// Options of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanOptions {
    /// The keys and their values.
    pub space: Vec<Dimension>,
    /// The number of random trials. `None`: a grid.
    pub random: Option<usize>,
    /// The number of training seeds of each trial.
    pub seeds: usize,
    /// The number of folds of cross-validation. `None`: the validation split of the config.
    pub folds: Option<usize>,
    /// The rule of the choice.
    pub rule: Rule,
}

/// The plan of a sweep. It does not change once the sweep has begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The version of Regulus that made it.
    pub version: String,
    /// The name of the experiment.
    pub name: String,
    /// The config that the trials change, as TOML.
    pub config: String,
    /// The keys and their values.
    pub space: Vec<Dimension>,
    /// The settings of each trial.
    pub trials: Vec<Settings>,
    /// The seeds that each trial is trained with.
    pub seeds: Vec<u64>,
    /// The number of folds of cross-validation. `None`: the validation split of the config.
    pub folds: Option<usize>,
    /// The seed of the split.
    pub split_seed: u64,
    /// The rule of the choice.
    pub rule: Rule,
    /// SHA-256 over all images and labels.
    pub dataset_sha256: Option<String>,
}

/// Keys that a sweep sets itself, with the option to use instead.
const OWN_KEYS: [(&str, &str); 6] = [
    ("seed", "use `--seeds N`"),
    ("data.split_seed", "set it with `--set`: all trials have the same split"),
    ("data.validation", "set it with `--set`, or use `--folds K`"),
    ("train.keep", "a sweep takes the last epoch"),
    ("name", "it changes no training"),
    ("artifacts", "it changes no training"),
];

/// Checks that a key can be searched.
fn check_key(dimension: &Dimension) -> Result<(), ConfigError> {
    match OWN_KEYS.iter().find(|(key, _)| *key == dimension.key) {
        None => Ok(()),
        Some((key, instead)) => Err(ConfigError::Grid { argument: (*key).to_owned(), problem: format!("can't be searched; {instead}") }),
    }
}

fn no_validation() -> ConfigError {
    let problem = "leaves no validation split, but a sweep compares validation losses; set it, such as to 0.2, or use `--folds 5`";
    ConfigError::value("data.validation", problem)
}

impl Plan {
    /// Plans a sweep of the experiment in `config`.
    ///
    /// # Errors
    ///
    /// When the config or the settings of a trial can't be used, or there is no validation data.
    pub fn new(config: &ConfigTable, options: PlanOptions) -> Result<Self, ConfigError> {
        let PlanOptions { space, random, seeds, folds, rule } = options;
        let (base, config) = (config.experiment()?, config.settled()?);
        if folds.is_none() && base.data.has_validation() == Some(false) {
            return Err(no_validation());
        }
        space.iter().try_for_each(check_key)?;
        if let Some((_, twice)) = space.iter().enumerate().find(|(index, one)| space[..*index].iter().any(|other| other.key == one.key)) {
            return Err(ConfigError::Grid { argument: twice.key.clone(), problem: "is given twice; list all values at once".to_owned() });
        }
        let trials = match random {
            None => space::grid(&space)?,
            Some(count) => space::random(&space, count, base.seed),
        };
        let seeds = (0..seeds as u64).map(|index| base.seed.0.wrapping_add(index)).collect();
        let split_seed = base.data.split_seed.unwrap_or(base.seed).0;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let plan = Self {
            version,
            name: base.name,
            config: config.to_toml(),
            space,
            trials,
            seeds,
            folds,
            split_seed,
            rule,
            dataset_sha256: None,
        };
        (0..plan.trials.len()).try_for_each(|trial| plan.with_settings(trial).map(|_| ()))?;
        Ok(plan)
    }

    /// The plan with the checksum of its data, and a check that there is validation data.
    ///
    /// # Errors
    ///
    /// When the data have no validation split.
    pub fn of_data(mut self, data: &Data) -> Result<Self, ConfigError> {
        if data.validation.is_none() {
            return Err(no_validation());
        }
        self.dataset_sha256 = Some(data.checksum.clone());
        Ok(self)
    }

    /// Checks that `data` are those of the plan.
    ///
    /// # Errors
    ///
    /// When they have changed.
    pub fn check_data(&self, data: &Data) -> Result<(), DataError> {
        if self.dataset_sha256.as_ref().is_none_or(|expected| *expected == data.checksum) {
            return Ok(());
        }
        Err(DataError::Dataset("the images have changed since the sweep began; put them back, or begin a new sweep".to_owned()))
    }

    /// Every unit: all trials with the first seed and fold, then with the next fold.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        let folds: Vec<Option<usize>> = self.folds.map_or_else(|| vec![None], |folds| (1..=folds).map(Some).collect());
        let splits = self.seeds.iter().flat_map(|seed| folds.iter().map(move |fold| (*seed, *fold)));
        splits.flat_map(|(seed, fold)| (0..self.trials.len()).map(move |trial| Unit { trial, seed, fold })).collect()
    }

    /// The experiment of a unit. The measures are those of the last epoch.
    ///
    /// # Errors
    ///
    /// When the settings can't be used.
    pub fn experiment(&self, unit: &Unit) -> Result<Experiment, ConfigError> {
        let mut experiment = self.with_settings(unit.trial)?;
        experiment.seed = Seed(unit.seed);
        experiment.data.split_seed = Some(Seed(self.split_seed));
        if let (Some(fold), Some(folds)) = (unit.fold, self.folds) {
            let fold =
                Fold::new(fold, folds).ok_or_else(|| ConfigError::value("data.validation", format!("has no fold {fold} of {folds}")))?;
            experiment.data.validation = Some(Validation::Fold(fold));
        }
        experiment.train.keep = Some(CheckpointKind::Last);
        Ok(experiment)
    }

    /// The experiment in which the chosen trial is trained again: without a validation split.
    ///
    /// # Errors
    ///
    /// As [`Plan::experiment`].
    pub fn refit_experiment(&self, trial: usize, data: &Data) -> Result<Experiment, ConfigError> {
        let mut experiment = self.with_settings(trial)?;
        experiment.data.split_seed = Some(Seed(self.split_seed));
        let has_images = self.folds.is_none() && data.held_out == Validation::Folder;
        experiment.data.validation = Some(if has_images { Validation::Joined } else { Validation::NONE });
        experiment.train.keep = Some(CheckpointKind::Last);
        experiment.check_validation(false)?;
        Ok(experiment)
    }

    /// The base experiment with the settings of a trial. A setting that does not apply to the others, such as `channels` with a linear network, is left out.
    fn with_settings(&self, trial: usize) -> Result<Experiment, ConfigError> {
        let mut settings = self.trials[trial].clone();
        loop {
            let mut config = ConfigTable::from_toml(&self.config)?;
            settings.iter().try_for_each(|(key, value)| config.set_value(key, value.clone()))?;
            let error = match config.experiment() {
                Ok(experiment) => return Ok(experiment),
                Err(error) => error,
            };
            let foreign = settings.iter().position(|(key, _)| error.to_string().starts_with(&format!("`{key}` does not apply")));
            match foreign {
                Some(index) => drop(settings.remove(index)),
                None => return Err(error),
            }
        }
    }

    /// The λ of each trial, where it is comparable with that of `trial`: the only penalty's `lambda` is searched, and all other settings are equal.
    #[must_use]
    pub fn lambdas_beside(&self, trial: usize) -> Vec<Option<f64>> {
        let is_lambda = |key: &str| key.starts_with("penalty.") && key.ends_with(".lambda");
        let others = |trial: usize| self.trials[trial].iter().filter(|(key, _)| !is_lambda(key)).collect::<Vec<_>>();
        let lambda = |index: usize| {
            let mut found = self.trials[index].iter().filter(|(key, _)| is_lambda(key));
            let (Some((_, value)), None, true) = (found.next(), found.next(), others(index) == others(trial)) else { return None };
            value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
        };
        (0..self.trials.len()).map(lambda).collect()
    }

    /// The data of the first unit, from which those of the others are made.
    ///
    /// # Errors
    ///
    /// When they can't be loaded.
    pub fn data(&self, progress: crate::data::Progress) -> Result<Data, Error> {
        let first = self.units().first().copied().unwrap_or(Unit { trial: 0, seed: self.split_seed, fold: None });
        let experiment = self.experiment(&first)?;
        Ok(crate::data::load_with(&experiment, crate::data::Decoding::Reduced, progress)?)
    }
}
