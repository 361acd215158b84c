//! The plan of a sweep: its trials, seeds and splits.

use serde::{Deserialize, Serialize};

use super::pruner::ends_any;
use super::space::{self, Settings};
use super::{Fit, FitResult, planned};
use crate::config::number::Count;
use crate::config::{
    ConfigError, ConfigTable, Criterion, Dimension, Lambda, MAX_TRAININGS, Penalty, PenaltyKind, Pruner, Rule, Sweep, Validation,
};
use crate::data::{Data, DataError};

/// The plan of a sweep. Once the sweep has begun, it does not change, but for the trials that a tree-structured Parzen estimator adds.
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
    /// What is searched, and how it is chosen. The values are those of `space`.
    pub sweep: Sweep,
    /// The settings of each trial.
    pub trials: Vec<Settings>,
    /// The seeds that each trial is trained with.
    pub seeds: Vec<u64>,
    /// The seed of the first split.
    pub split_seed: u64,
    /// The trials of a path whose losses from initial weights decide, beside that of the first. Empty until the path is done.
    #[serde(default)]
    pub finalists: Vec<usize>,
    /// For a criterion without validation: what makes every image but the test split a training image.
    pub no_validation: Option<Validation>,
    /// SHA-256 over all images and labels.
    pub dataset_sha256: Option<String>,
}

impl Plan {
    /// Plans a sweep of the experiment in `config`. `found`: the values of λ that were found from the data, for a `sweep` without values.
    ///
    /// # Errors
    ///
    /// When the config or the settings of a trial can't be used, or there is no validation data that the criterion needs.
    pub fn new(config: &ConfigTable, sweep: &Sweep, found: Option<Dimension>) -> Result<Self, ConfigError> {
        sweep.check()?;
        let mut space = sweep.space()?;
        space.extend(found);
        space.iter().try_for_each(planned::check_key)?;
        if let Some((_, twice)) = space.iter().enumerate().find(|(index, one)| space[..*index].iter().any(|other| other.key == one.key)) {
            return Err(ConfigError::Grid { argument: twice.key.clone(), problem: "is given twice; list all values at once".to_owned() });
        }
        let base = planned::base(config, &space)?;
        let seeds: Vec<u64> = (0..sweep.seeds.get() as u64).map(|index| base.seed.0.wrapping_add(index)).collect();
        let mut plan = Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: base.name,
            config: config.clone().without_sweep().to_toml(),
            space,
            sweep: sweep.clone(),
            trials: Vec::new(),
            seeds,
            split_seed: base.data.split_seed.unwrap_or(base.seed).0,
            finalists: Vec::new(),
            no_validation: None,
            dataset_sha256: None,
        };
        if plan.needs_validation() && sweep.folds.is_none() && base.data.has_validation() == Some(false) {
            return Err(planned::no_validation());
        }
        let count = sweep.random.or(sweep.tpe).map(Count::get);
        plan.check_size(count.unwrap_or(1))?;
        plan.trials = match (count, sweep.tpe) {
            (None, _) => space::grid(&plan.space)?,
            (Some(count), None) => space::random(&plan.space, count, base.seed),
            // The others are chosen from the results of these.
            (Some(count), Some(_)) => space::random(&plan.space, count.min(super::tpe::RANDOM), base.seed),
        };
        plan.check_size(plan.trials.len())?;
        plan.leave_out_settings()?;
        plan.check_rule()?;
        plan.check_path()?;
        plan.config = planned::settled(&config.clone().without_sweep(), &plan.trials)?;
        Ok(plan)
    }

    /// Adds trials that are not there yet. Returns whether there are any.
    ///
    /// # Errors
    ///
    /// When their settings can't be used.
    pub(super) fn add_trials(&mut self, trials: Vec<Settings>) -> Result<bool, ConfigError> {
        let before = self.trials.len();
        for trial in trials {
            let (settings, experiment) = self.applied(&trial)?;
            planned::check_use_of_validation(&experiment)?;
            if !self.trials.contains(&settings) {
                self.trials.push(settings);
            }
        }
        Ok(self.trials.len() > before)
    }

    /// The settings of a trial that apply to it; all where they can't be used.
    pub(super) fn without_unused(&self, settings: Settings) -> Settings {
        self.applied(&settings).map_or(settings, |(used, _)| used)
    }

    fn check_size(&self, trials: usize) -> Result<(), ConfigError> {
        if trials.saturating_mul(self.fits_of_trial()) <= MAX_TRAININGS {
            return Ok(());
        }
        let problem = format!("the sweep leads to more than {MAX_TRAININGS} trainings; use fewer values, seeds, folds or repeats");
        Err(ConfigError::Sweep(problem))
    }

    /// Leaves out the settings that do not apply to the others of their trial, such as `channels` with a linear network, and trials that are then the same.
    fn leave_out_settings(&mut self) -> Result<(), ConfigError> {
        let mut trials: Vec<Settings> = Vec::new();
        for trial in &self.trials {
            let (settings, experiment) = self.applied(trial)?;
            planned::check_use_of_validation(&experiment)?;
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

    /// Checks that the rule can be applied, and the pruner.
    fn check_rule(&self) -> Result<(), ConfigError> {
        let searched = |key: &str| self.space.iter().any(|dimension| dimension.key == key);
        if self.sweep.pruner != Pruner::None && ["train.epochs", "train.max_steps"].into_iter().any(searched) {
            let problem = "compares trials after the same number of epochs; leave `train.epochs` and `train.max_steps` out of the values";
            return Err(ConfigError::value("sweep.pruner", problem));
        }
        if let Some(fit) = self.fits().first().filter(|_| self.sweep.pruner != Pruner::None) {
            let epochs = self.experiment(fit)?.train.epochs.get() as u64;
            if self.sweep.first_decision(epochs) >= epochs {
                let problem = format!(
                    "decides after {} of {epochs} epochs, so that nothing ends early; train for more, or leave the pruner out",
                    self.sweep.first_decision(epochs)
                );
                return Err(ConfigError::value("sweep.pruner", problem));
            }
            // Without any key λ is found from the data, with 13 values.
            if !self.space.is_empty() && !ends_any(&self.sweep, self.trials.len(), epochs) {
                let problem = match self.sweep.pruner {
                    Pruner::TopK => format!(
                        "keeps the best {} of {} trials, so that nothing ends early; use more values, a smaller `sweep.pruner_keep`, or leave the pruner out",
                        self.sweep.pruner_keep.get(),
                        self.trials.len()
                    ),
                    _ => "has one trial, so that nothing ends early; use more values, or leave the pruner out".to_owned(),
                };
                return Err(ConfigError::value("sweep.pruner", problem));
            }
        }
        self.check_criterion()?;
        if self.sweep.rule == Rule::Minimum {
            return Ok(());
        }
        let lambdas = self.space.iter().filter(|dimension| is_lambda(&dimension.key)).count();
        let problem = match (lambdas, self.fits_of_trial(), self.sweep.criterion) {
            // Without any key λ is found from the data.
            (0, _, _) if !self.space.is_empty() => "needs a searched λ, such as `--grid penalty.0.lambda=0,0.1,1`",
            (2.., _, _) => "takes the largest λ, but several are searched; search one",
            // The images give a standard error.
            (_, _, Criterion::Loo) => return Ok(()),
            (_, 1, Criterion::Evidence) => "needs several seeds for a standard error; use `--seeds 5`",
            (_, 1, _) => "needs several folds, repeats or seeds for a standard error; use `--folds 5`",
            _ => return Ok(()),
        };
        Err(ConfigError::Rule(problem.to_owned()))
    }

    /// Checks that what the training images say is defined for a trial: it needs a prior, which squares are.
    fn check_criterion(&self) -> Result<(), ConfigError> {
        if !self.sweep.needs_curvature() {
            return Ok(());
        }
        let is_zero = |penalty: &Penalty| matches!(penalty.schedule, Lambda::Scheduled(_)) && penalty.lambda.get() == 0.0;
        // Without any key λ is found from the data.
        let is_prior = |penalty: &Penalty| {
            matches!(penalty.kind, PenaltyKind::L2 | PenaltyKind::ElasticNet { .. }) && (self.space.is_empty() || !is_zero(penalty))
        };
        let mut has_prior = false;
        for trial in &self.trials {
            let experiment = self.applied(trial)?.1;
            if let Some(key) = experiment.reweighting_key() {
                let way = if self.sweep.curvature { "`sweep.curvature`" } else { "`sweep.criterion`" };
                let problem =
                    format!("is set, but {way} computes the likelihood of training images that all count the same; leave one of them out");
                return Err(ConfigError::value(key, problem));
            }
            has_prior |= experiment.penalty.iter().any(is_prior);
        }
        if has_prior {
            return Ok(());
        }
        let (key, way) = if self.sweep.curvature { ("curvature", "leave it out") } else { ("criterion", "rank by validation losses") };
        let problem = format!("is not defined for any trial: it needs a penalty `l2` (or `elastic_net`) with λ above 0; add one, or {way}");
        Err(ConfigError::value(format!("sweep.{key}"), problem))
    }

    /// The plan with the checksum of its data, and a check that there is validation data.
    ///
    /// # Errors
    ///
    /// When the data have no validation split that the criterion needs.
    pub fn of_data(mut self, data: &Data) -> Result<Self, ConfigError> {
        if self.needs_validation() && data.validation.is_none() {
            return Err(planned::no_validation());
        }
        self.no_validation = (!self.needs_validation()).then(|| planned::without_validation(true, data));
        self.dataset_sha256 = Some(data.checksum.clone());
        Ok(self)
    }

    /// Takes the data from another folder.
    ///
    /// # Errors
    ///
    /// When the source has no folder.
    pub(super) fn move_data(&mut self, dir: &std::path::Path) -> Result<(), ConfigError> {
        let mut config = ConfigTable::from_toml(&self.config)?;
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        config.set_value("data.dir", dir.to_string_lossy().into_owned().into())?;
        self.config = config.to_toml();
        Ok(())
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

    /// Whether validation losses rank the trials.
    #[must_use]
    pub fn needs_validation(&self) -> bool {
        self.sweep.criterion == Criterion::ValidationLoss
    }

    /// The number of folds. `None`: the validation split of the config.
    #[must_use]
    pub fn folds(&self) -> Option<usize> {
        self.sweep.folds.map(Count::get)
    }

    /// The number of trainings of each trial.
    #[must_use]
    pub fn fits_of_trial(&self) -> usize {
        self.seeds.len().saturating_mul(self.splits())
    }

    /// The number of splits of each trial: folds and repeats.
    #[must_use]
    pub fn splits(&self) -> usize {
        self.sweep.repeats.get().saturating_mul(self.folds().unwrap_or(1))
    }

    /// The degrees of freedom of the differences between trials. Those of k folds are k − 1, also with repeats; those of leave-one-out losses come from the images of
    /// the results.
    #[must_use]
    pub fn degrees(&self, results: &[FitResult]) -> usize {
        let count = match (self.sweep.criterion, self.folds()) {
            (Criterion::Loo, _) => results.first().map_or(0, |result| result.train_samples),
            (_, Some(folds)) => folds,
            (_, None) if self.splits() > 1 => self.splits(),
            (_, None) => self.seeds.len(),
        };
        count.saturating_sub(1)
    }

    /// Every training: all trials with the first seed and split, then with the next split; at last those of the finalists of a path but its first.
    #[must_use]
    pub fn fits(&self) -> Vec<Fit> {
        let options = |count: Option<usize>| count.map_or_else(|| vec![None], |count| (1..=count).map(Some).collect::<Vec<_>>());
        let folds = options(self.folds());
        let repeats = options(Some(self.sweep.repeats.get()).filter(|repeats| *repeats > 1));
        let splits = repeats.iter().flat_map(|repeat| folds.iter().map(move |fold| (*repeat, *fold)));
        let shared: Vec<_> = splits.flat_map(|split| self.seeds.iter().map(move |seed| (split, *seed))).collect();
        let of_all = |((repeat, fold), seed): ((Option<usize>, Option<usize>), u64)| {
            (0..self.trials.len()).map(move |trial| Fit { trial, seed, fold, repeat, is_finalist: false })
        };
        let again = self.trained_again();
        let of_finalists = |((repeat, fold), seed): ((Option<usize>, Option<usize>), u64)| {
            again.iter().map(move |trial| Fit { trial: *trial, seed, fold, repeat, is_finalist: true })
        };
        shared.iter().copied().flat_map(of_all).chain(shared.iter().copied().flat_map(of_finalists)).collect()
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
}

/// Whether a key is a λ.
fn is_lambda(key: &str) -> bool {
    key.starts_with("penalty.") && key.ends_with(".lambda")
}
