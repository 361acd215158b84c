//! The plan of a sweep: its trials, seeds and folds.

use serde::{Deserialize, Serialize};

use super::space::{self, MAX_TRAININGS, Settings};
use super::{Dimension, Unit};
use crate::config::{CheckpointKind, ConfigError, ConfigTable, Decay, Experiment, Fold, Validation};
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

/// Checks that a key can be searched: one that leaves the measure and the split as they are, and that a sweep does not set itself.
fn check_key(dimension: &Dimension) -> Result<(), ConfigError> {
    const OF_DATA: [&str; 5] = ["data.normalization", "data.shuffle", "data.image_size", "data.resize", "data.image_channels"];
    let key = dimension.key.as_str();
    let instead = match key {
        "seed" => "use `--seeds N`",
        "data.validation" => "set it with `--set`, or use `--folds K`",
        "train.keep" => "a sweep takes the last epoch",
        "name" | "artifacts" => "it changes no training",
        "model.init" => "set it with `--set`",
        "task" | "task.kind" | "task.sigma" => "losses of different tasks can't be compared",
        _ if OF_DATA.contains(&key) => return Ok(()),
        _ if key == "data" || key.starts_with("data.") => {
            "it changes the images or the split, so losses can't be compared; set it with `--set`"
        }
        _ if key == "backend" || key.starts_with("backend.") => "set it with `--set`",
        _ if key == "early_stopping" || key.starts_with("early_stopping.") => "a sweep has no early stopping",
        _ => return Ok(()),
    };
    Err(ConfigError::Grid { argument: key.to_owned(), problem: format!("can't be searched; {instead}") })
}

/// Checks that nothing but the last epoch's validation loss decides, as that loss ranks the trials.
fn check_use_of_validation(experiment: &Experiment) -> Result<(), ConfigError> {
    let key = match (experiment.early_stopping.patience > 0, &experiment.schedule.decay) {
        (true, _) => "early_stopping.patience",
        (false, Decay::Plateau { .. }) => "schedule.kind",
        _ => return Ok(()),
    };
    Err(ConfigError::value(key, "uses the validation loss during training, but a sweep ranks the trials by it; leave it out of a sweep"))
}

/// Whether a key is a λ.
fn is_lambda(key: &str) -> bool {
    key.starts_with("penalty.") && key.ends_with(".lambda")
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
        let per_trial = seeds.saturating_mul(folds.unwrap_or(1));
        if per_trial.saturating_mul(random.unwrap_or(1)) > MAX_TRAININGS {
            let problem = format!("the sweep leads to more than {MAX_TRAININGS} trainings; use fewer trials, seeds or folds");
            return Err(ConfigError::Sweep(problem));
        }
        if let Some((_, twice)) = space.iter().enumerate().find(|(index, one)| space[..*index].iter().any(|other| other.key == one.key)) {
            return Err(ConfigError::Grid { argument: twice.key.clone(), problem: "is given twice; list all values at once".to_owned() });
        }
        let trials = match random {
            None => space::grid(&space)?,
            Some(count) => space::random(&space, count, base.seed),
        };
        let seeds: Vec<u64> = (0..seeds as u64).map(|index| base.seed.0.wrapping_add(index)).collect();
        let split_seed = base.data.split_seed.unwrap_or(base.seed).0;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let mut plan = Self {
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
        if per_trial.saturating_mul(plan.trials.len()) > MAX_TRAININGS {
            let problem = format!("the sweep leads to more than {MAX_TRAININGS} trainings; use fewer values, seeds or folds");
            return Err(ConfigError::Sweep(problem));
        }
        plan.leave_out_settings()?;
        plan.check_rule()?;
        Ok(plan)
    }

    /// Leaves out the settings that do not apply to the others of their trial, such as `channels` with a linear network, and trials that are then the same.
    fn leave_out_settings(&mut self) -> Result<(), ConfigError> {
        let mut trials: Vec<Settings> = Vec::new();
        for trial in &self.trials {
            let (settings, experiment) = self.applied(trial)?;
            check_use_of_validation(&experiment)?;
            if !trials.contains(&settings) {
                trials.push(settings);
            }
        }
        self.trials = trials;
        let is_used = |key: &String| self.trials.iter().flatten().any(|(used, _)| used == key);
        match self.space.iter().find(|dimension| !is_used(&dimension.key)) {
            None => Ok(()),
            Some(dimension) => {
                let problem = "applies to no trial: other keys exclude it, such as the kind of schedule or model".to_owned();
                Err(ConfigError::Grid { argument: dimension.key.clone(), problem })
            }
        }
    }

    /// Checks that the rule can be applied.
    fn check_rule(&self) -> Result<(), ConfigError> {
        if self.rule == Rule::Minimum {
            return Ok(());
        }
        let problem =
            match (self.space.iter().filter(|dimension| is_lambda(&dimension.key)).count(), self.folds.unwrap_or(self.seeds.len())) {
                // Without any key λ is found from the data.
                (0, _) if !self.space.is_empty() => "needs a searched λ, such as `--grid penalty.0.lambda=0,0.1,1`",
                (2.., _) => "takes the largest λ, but several are searched; search one",
                (_, 1) => "needs several folds or seeds for a standard error; use `--folds 5`",
                _ => return Ok(()),
            };
        Err(ConfigError::Rule(problem.to_owned()))
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

    /// The base experiment with the settings of a trial.
    fn with_settings(&self, trial: usize) -> Result<Experiment, ConfigError> {
        Ok(self.applied(&self.trials[trial])?.1)
    }

    /// The settings that apply, and the experiment with them.
    fn applied(&self, settings: &Settings) -> Result<(Settings, Experiment), ConfigError> {
        let mut settings = settings.clone();
        loop {
            let mut config = ConfigTable::from_toml(&self.config)?;
            settings.iter().try_for_each(|(key, value)| config.set_value(key, value.clone()))?;
            let error = match config.experiment() {
                Ok(experiment) => return Ok((settings, experiment)),
                Err(error) => error,
            };
            let foreign = settings.iter().position(|(key, _)| error.to_string().starts_with(&format!("`{key}` does not apply")));
            match foreign {
                Some(index) => drop(settings.remove(index)),
                None => return Err(error),
            }
        }
    }

    /// A setting of a trial. Returns `None` if the key does not apply to it.
    #[must_use]
    pub fn setting(&self, trial: usize, key: &str) -> Option<&toml::Value> {
        self.trials[trial].iter().find_map(|(own, value)| (own == key).then_some(value))
    }

    /// The λ of each trial, where it is comparable with that of `trial`: the only penalty's `lambda` is searched, and all other settings are equal.
    #[must_use]
    pub fn lambdas_beside(&self, trial: usize) -> Vec<Option<f64>> {
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
