//! The experiments of a plan: that of each training, and the last one.

use super::space::Settings;
use super::{Fit, Plan};
use crate::config::{CheckpointKind, ConfigError, ConfigTable, Decay, Dimension, Experiment, Fold, Validation, Values};
use crate::data::{Data, Decoding, Loading, Progress, load_as};
use crate::error::Error;
use crate::seed::Seed;

/// Checks that a key can be searched: one that leaves the measure and the split as they are, and that a sweep does not set itself.
pub(super) fn check_key(dimension: &Dimension) -> Result<(), ConfigError> {
    const OF_DATA: [&str; 5] = ["data.normalization", "data.shuffle", "data.image_size", "data.resize", "data.image_channels"];
    let key = dimension.key.as_str();
    let instead = match key {
        "seed" => "use `--seeds N`",
        "data.validation" => "set it with `--set`, or use `--folds K`",
        "train.keep" | "train.best_by" => "a sweep takes the last epoch",
        "name" | "artifacts" => "it changes no training",
        "model.init" => "set it with `--set`",
        "task" | "task.kind" | "task.sigma" => "losses of different tasks can't be compared",
        _ if OF_DATA.contains(&key) => return Ok(()),
        _ if key == "data" || key.starts_with("data.") => {
            "it changes the images or the split, so losses can't be compared; set it with `--set`"
        }
        _ if key == "backend" || key.starts_with("backend.") => "set it with `--set`",
        _ if key == "sweep" || key.starts_with("sweep.") => "it says how values are searched, and changes no training; set it with `--set`",
        _ if key == "checkpoint" || key.starts_with("checkpoint.") => "it changes no training; set it with `--set`",
        _ if key == "early_stopping" || key.starts_with("early_stopping.") => "a sweep has no early stopping",
        _ => return Ok(()),
    };
    Err(ConfigError::Grid { argument: key.to_owned(), problem: format!("can't be searched; {instead}") })
}

/// Checks that nothing but the last epoch's validation loss decides, as that loss ranks the trials.
pub(super) fn check_use_of_validation(experiment: &Experiment) -> Result<(), ConfigError> {
    let key = match (experiment.early_stopping.patience > 0, &experiment.schedule.decay) {
        (true, _) => "early_stopping.patience",
        (false, Decay::Plateau { .. }) => "schedule.kind",
        _ => return Ok(()),
    };
    Err(ConfigError::value(key, "uses the validation loss during training, but a sweep ranks the trials by it; leave it out of a sweep"))
}

/// The experiment of a config with the first value of each key, which the config need not have.
pub(super) fn base(config: &ConfigTable, space: &[Dimension]) -> Result<Experiment, ConfigError> {
    let first = |dimension: &Dimension| match &dimension.values {
        Values::List(values) => values.first().cloned(),
        range @ Values::Range { .. } => range.at(0.0),
    };
    let settings = space.iter().filter_map(|dimension| Some((dimension.key.clone(), first(dimension)?))).collect();
    Ok(applied(&config.clone().without_sweep(), &settings)?.1)
}

/// The config of a plan with every value in the type that it expects, and absolute paths. It may lack a key that the trials set.
pub(super) fn settled(config: &ConfigTable, trials: &[Settings]) -> Result<String, ConfigError> {
    let settled = config.settled().or_else(|error| trials.first().map_or(Err(error), |trial| config.settled_with(trial)))?;
    Ok(settled.to_toml())
}

/// The settings that apply, and the experiment with them.
fn applied(config: &ConfigTable, settings: &Settings) -> Result<(Settings, Experiment), ConfigError> {
    let mut settings = settings.clone();
    loop {
        let mut config = config.clone();
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

pub(super) fn no_validation() -> ConfigError {
    let problem = "leaves no validation split, but a sweep compares validation losses; set it, such as to 0.2, or use `--folds 5`";
    ConfigError::value("data.validation", problem)
}

/// What leaves no validation split: images of a validation folder become training images, if they are read.
pub(super) fn without_validation(is_read: bool, data: &Data) -> Validation {
    if is_read && data.held_out == Validation::Folder { Validation::Joined } else { Validation::NONE }
}

impl Plan {
    /// The experiment of a training. The measures are those of the last epoch.
    ///
    /// # Errors
    ///
    /// When the settings can't be used.
    pub fn experiment(&self, fit: &Fit) -> Result<Experiment, ConfigError> {
        let mut experiment = self.with_settings(fit.trial)?;
        experiment.seed = Seed(fit.seed);
        let own = if self.sweep.reshuffle { fit.trial * self.sweep.repeats.get() } else { 0 };
        let split = own + fit.repeat.map_or(0, |repeat| repeat - 1);
        experiment.data.split_seed = Some(Seed(self.split_seed.wrapping_add(split as u64)));
        match (fit.fold, self.folds()) {
            _ if !self.needs_validation() => experiment.data.validation = self.no_validation.or(experiment.data.validation),
            (Some(fold), Some(folds)) => {
                let fold = Fold::new(fold, folds)
                    .ok_or_else(|| ConfigError::value("data.validation", format!("has no fold {fold} of {folds}")))?;
                experiment.data.validation = Some(Validation::Fold(fold));
            }
            _ => {}
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
        experiment.data.validation = Some(without_validation(self.folds().is_none(), data));
        experiment.train.keep = Some(CheckpointKind::Last);
        experiment.check_validation(false)?;
        Ok(experiment)
    }

    /// The base experiment with the settings of a trial.
    fn with_settings(&self, trial: usize) -> Result<Experiment, ConfigError> {
        Ok(self.applied(&self.trials[trial])?.1)
    }

    /// The settings that apply, and the experiment with them.
    pub(super) fn applied(&self, settings: &Settings) -> Result<(Settings, Experiment), ConfigError> {
        applied(&ConfigTable::from_toml(&self.config)?, settings)
    }

    /// The data of the first training, from which those of the others are made.
    ///
    /// # Errors
    ///
    /// When they can't be loaded.
    pub fn data(&self, progress: Progress) -> Result<Data, Error> {
        let first =
            self.fits().first().copied().unwrap_or(Fit { trial: 0, seed: self.split_seed, fold: None, repeat: None, is_finalist: false });
        let experiment = self.experiment(&first)?;
        Ok(load_as(&experiment, Loading { decoding: Decoding::Reduced, is_trained_on: true, normalizer: None, progress })?)
    }
}
