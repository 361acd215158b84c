//! Loading and checking of an experiment, and writing it as TOML.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::Serialized;

use super::experiment::{MAX_THREADS, NAME};
use super::number::Count;
use super::overrides::{SetArgument, set_text};
use super::{
    Average, ConfigError, ConfigTable, Decay, Experiment, IMAGENET, Lambda, ModelKind, Normalization, PenaltyKind, Source, Sweep,
    key_paths, notation,
};

impl Experiment {
    /// Loads the experiment in `path`, with the overrides `sets`, each `KEY=VALUE`.
    ///
    /// # Errors
    ///
    /// When the file can't be read, is not TOML, or has an unknown key or invalid value.
    pub fn load(path: &Path, sets: &[String]) -> Result<Self, ConfigError> {
        Self::load_changed(path, &[], sets)
    }

    /// Loads the experiment in `path`. First removes the keys `unsets`, then applies the overrides `sets`, each `KEY=VALUE`.
    ///
    /// # Errors
    ///
    /// When the file can't be read, is not TOML, lacks a key of `unsets`, or has an unknown key or invalid value.
    pub fn load_changed(path: &Path, unsets: &[String], sets: &[String]) -> Result<Self, ConfigError> {
        ConfigTable::load(path, unsets, sets)?.experiment()
    }

    /// Reads an experiment from the text of a config.
    ///
    /// # Errors
    ///
    /// As [`Experiment::load`].
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        ConfigTable::from_toml(text)?.experiment()
    }

    /// The experiment of a config with nothing but a data source, such as `mnist`. `dir`: its folder, if it is not in the cache.
    ///
    /// # Errors
    ///
    /// When there is no such source, or it needs more keys.
    pub fn of_source(source: &str, dir: Option<&Path>) -> Result<Self, ConfigError> {
        let mut data = toml::Table::from_iter([("source".to_owned(), source.into())]);
        if let Some(dir) = dir {
            data.insert("dir".to_owned(), dir.to_string_lossy().into_owned().into());
        }
        let config = toml::Table::from_iter([("name".to_owned(), "data".into()), ("data".to_owned(), data.into())]);
        Self::from_toml(&config.to_string())
    }

    /// The experiment with another number of epochs.
    ///
    /// # Errors
    ///
    /// When an option would take effect only after the last epoch.
    pub fn with_epochs(mut self, epochs: Count) -> Result<Self, ConfigError> {
        self.train.epochs = epochs;
        self.check_epochs()?;
        Ok(self)
    }

    /// The experiment as TOML with all defaults. [`Experiment::load`] reads it back unchanged.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let text = toml::to_string(self).unwrap_or_else(|error| unreachable!("a checked experiment can be written as TOML: {error}"));
        notation::in_toml(&text)
    }

    pub(super) fn resolve(mut self) -> Result<Self, ConfigError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(plain) {
            let problem = format!("is {:?}; expected {NAME}", self.name);
            return Err(ConfigError::value("name", problem));
        }
        if self.model.kind == ModelKind::Cnn && self.model.channels.is_empty() {
            return Err(ConfigError::value(
                "model.channels",
                "is empty; expected at least one convolution's output channels; without any, leave it out and set `model.kind` = \"mlp\"",
            ));
        }
        self.resolve_task()?;
        self.check_augment()?;
        self.check_proximal()?;
        self.check_starting_point()?;
        self.check_reweighting()?;
        self.check_measure()?;
        self.check_epochs()?;
        self.backend.check_precision()?;
        self.sweep.as_ref().map_or(Ok(()), Sweep::check)?;
        if let Some(has_validation) = self.data.has_validation() {
            self.check_validation(has_validation)?;
        }
        if self.backend.threads > MAX_THREADS {
            let problem = format!("is {}; expected at most {MAX_THREADS}, or 0 for one per core", self.backend.threads);
            return Err(ConfigError::value("backend.threads", problem));
        }
        self.model.check_init()?;
        let is_imagenet = self.model.starts_from_imagenet();
        if let Some(init) = self.model.init.as_mut().filter(|_| !is_imagenet) {
            *init = absolute(init);
        }
        if let Some(channels) = self.data.image_channels.map(Count::get).filter(|channels| is_imagenet && *channels != 3) {
            let problem = format!("is {channels}, but `model.init` = \"{IMAGENET}\" has weights for colour images; set it to 3");
            return Err(ConfigError::value("data.image_channels", problem));
        }
        self.data.normalization.get_or_insert(if is_imagenet { Normalization::Lite } else { Normalization::Unit });
        let paths = [("data.dir", &self.data.dir), ("model.init", &self.model.init)];
        if let Some((key, _)) = paths.iter().find(|(_, path)| path.as_ref().is_some_and(|path| path.to_str().is_none())) {
            return Err(ConfigError::value(*key, "is under a folder whose name is not UTF-8, which TOML can't hold; rename it"));
        }
        Ok(self)
    }

    /// Checks the options that need a validation split.
    ///
    /// # Errors
    ///
    /// When `has_validation` is false and a key needs it.
    pub fn check_validation(&self, has_validation: bool) -> Result<(), ConfigError> {
        let needs_validation = [
            ("early_stopping.patience", "uses the validation split", self.early_stopping.patience > 0),
            ("schedule.kind", "is \"plateau\", which uses the validation loss", matches!(self.schedule.decay, Decay::Plateau { .. })),
        ];
        let folder = match self.data.source {
            Source::Folder => ", or a folder `val` beside `train`",
            Source::Shards => ", or `data.validation_shards`",
            _ => "",
        };
        match needs_validation.iter().find(|(_, _, needs)| *needs && !has_validation) {
            Some((key, uses, _)) => Err(ConfigError::value(*key, format!("{uses}; it needs `data.validation` > 0{folder}"))),
            None => Ok(()),
        }
    }

    /// Checks that a penalty on the distance to the starting point has one, the same for all trainings.
    fn check_starting_point(&self) -> Result<(), ConfigError> {
        let Some(index) = self.penalty.iter().position(|penalty| penalty.kind == PenaltyKind::L2Sp) else { return Ok(()) };
        let key = format!("penalty.{index}.kind");
        if self.model.init.is_none() {
            let problem = "is \"l2_sp\", a distance to initial weights; it needs `model.init`, or use \"l2\"";
            return Err(ConfigError::value(key, problem));
        }
        if self.sweep.as_ref().is_some_and(|sweep| sweep.path) {
            let problem = "is \"l2_sp\", but on a path each training starts from the weights of the one before; leave `sweep.path` out";
            return Err(ConfigError::value(key, problem));
        }
        Ok(())
    }

    /// Checks that the optimizer supports proximal steps.
    fn check_proximal(&self) -> Result<(), ConfigError> {
        let proximal = self.penalty.iter().position(|penalty| penalty.proximal);
        proximal.map_or(Ok(()), |index| self.optimizer.method.check_proximal(&format!("penalty.{index}")))
    }

    /// Checks the options that take effect in a later epoch.
    fn check_epochs(&self) -> Result<(), ConfigError> {
        let epochs = self.train.epochs;
        let late = |key: String, is_late: bool, first: Count, hint: &str| {
            let problem = format!("is {}, but `train.epochs` is {}; {hint}", first.get(), epochs.get());
            if is_late { Err(ConfigError::value(key, problem)) } else { Ok(()) }
        };
        if let Average::Swa { from_epoch } = self.averaging.0 {
            late("averaging.from_epoch".to_owned(), from_epoch > epochs, from_epoch, "use a smaller number")?;
        }
        for (index, penalty) in self.penalty.iter().enumerate() {
            if let Lambda::Evidence { burn_in_epochs, .. } = penalty.schedule {
                let hint = "λ would never be updated before the last epoch: use a smaller number, or train longer";
                late(format!("penalty.{index}.schedule.burn_in_epochs"), burn_in_epochs >= epochs, burn_in_epochs, hint)?;
            }
        }
        Ok(())
    }
}

/// Explains the error of a penalty without a kind that was added by a `--set`. `given`: the number of penalties before.
pub(super) fn of_added_penalty(error: ConfigError, given: usize, arguments: &[SetArgument]) -> ConfigError {
    let text = error.to_string();
    let kind = |argument: &SetArgument| {
        let index: usize = argument.key.strip_prefix("penalty.")?.split('.').next()?.parse().ok()?;
        let key = format!("penalty.{index}.kind");
        (index >= given && text.starts_with(&format!("`{key}` is missing"))).then_some((key, argument.key.clone()))
    };
    let Some((kind, key)) = arguments.iter().find_map(kind) else { return error };
    let penalties = match given {
        0 => "no penalty".to_owned(),
        1 => "only `penalty.0`".to_owned(),
        _ => format!("only `penalty.0` to `penalty.{}`", given - 1),
    };
    ConfigError::value(
        &kind,
        format!("is missing: the config has {penalties}, so `--set {key}` adds one; set `{kind}` too, such as to `l2`"),
    )
}

/// Reads a table. If a key of `arguments` expects a string and has another type, its text is used as the string.
pub(super) fn read(table: &mut toml::Table, arguments: &[SetArgument]) -> Result<Experiment, ConfigError> {
    let extract = |table: &toml::Table| Figment::from(Serialized::defaults(table.clone())).extract::<Experiment>().map_err(Box::new);
    loop {
        let error = match extract(table) {
            Ok(experiment) => return Ok(experiment),
            Err(error) => error,
        };
        let key = error.path.join(".");
        let is_type = matches!(error.kind, figment::error::Kind::InvalidType(..));
        let Some(argument) = arguments.iter().rev().find(|argument| is_type && argument.key == key) else {
            return Err(ConfigError::from_figment(*error));
        };
        let mut with_text = table.clone();
        if !set_text(&mut with_text, argument) {
            return Err(ConfigError::from_figment(*error));
        }
        match extract(&with_text) {
            // The key does not expect a string: report the original type.
            Err(other) if other.path == error.path => return Err(ConfigError::from_figment(*error)),
            _ => *table = with_text,
        }
    }
}

/// Checks that sections are tables: serde would also read them from lists.
pub(super) fn check_sections(table: &toml::Table) -> Result<(), ConfigError> {
    let refuse = |key: String, expected: &str, found: &toml::Value| {
        Err(ConfigError::value(key, format!("is of type {}; expected {expected}", found.type_str())))
    };
    for section in key_paths::sections().map(|(path, _)| path) {
        if let Some(found) = table.get(section).filter(|found| !found.is_table()) {
            return refuse(section.to_owned(), &format!("a table, `[{section}]`"), found);
        }
    }
    let Some(penalties) = table.get("penalty") else { return Ok(()) };
    let list = "a list of tables, each `[[penalty]]`";
    let toml::Value::Array(penalties) = penalties else { return refuse("penalty".to_owned(), list, penalties) };
    for (index, penalty) in penalties.iter().enumerate() {
        if !penalty.is_table() {
            return refuse(format!("penalty.{index}"), "a table, `[[penalty]]`", penalty);
        }
        if let Some(found) = penalty.get("schedule").filter(|found| !found.is_table()) {
            return refuse(format!("penalty.{index}.schedule"), "a table, `[penalty.schedule]`", found);
        }
    }
    Ok(())
}

/// The absolute path, so that a resolved config does not depend on the current folder.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, sets: &[&str]) -> Result<Experiment, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        Experiment::load(file.path(), &sets)
    }

    const SMALL: &str = "name = \"a\"\n[data]\nsource = \"mnist_mini\"\n[[penalty]]\nkind = \"l2\"\nlambda = 1\n";

    #[test]
    fn a_resolved_experiment_reads_back_as_itself() {
        for sets in [
            vec![],
            vec!["optimizer.kind=sgd", "schedule.kind=cosine", "train.batch_size=full", "penalty.0.samples=7"],
            vec!["schedule.kind=one_cycle", "schedule.anneal=linear"],
        ] {
            let experiment = load(SMALL, &sets).unwrap();
            assert_eq!(load(&experiment.to_toml(), &[]).unwrap(), experiment);
        }
    }

    #[test]
    fn set_reaches_into_lists_and_new_tables() {
        let experiment = load(SMALL, &["penalty.0.lambda=20", "train.epochs=3"]).unwrap();
        assert!((experiment.penalty[0].lambda.get() - 20.0).abs() < f64::EPSILON);
        assert_eq!(experiment.train.epochs.get(), 3);
        let sets = ["penalty.1.kind=l2", "penalty.1.lambda=1e1", "penalty.1.scope=biases", "train.epochs=1e1"];
        let experiment = load(SMALL, &sets).unwrap();
        assert_eq!((experiment.penalty.len(), experiment.train.epochs.get()), (2, 10));
        let bare = "name = \"a\"\n[data]\nsource = \"mnist_mini\"\n";
        assert_eq!(load(bare, &["penalty.0.kind=l2", "penalty.0.lambda=1"]).unwrap().penalty.len(), 1);
    }

    #[test]
    fn a_key_that_expects_a_string_takes_the_text() {
        for text in ["2024-01-01", "1e3", "true", "12:30:00", "0x10", "nan"] {
            assert_eq!(load(SMALL, &[&format!("name={text}").replace(':', "-")]).unwrap().name, text.replace(':', "-"));
        }
        let sets = ["data.source=folder", "data.dir=2024-01-01", "penalty.0.scope=1e3"];
        let experiment = load(SMALL, &sets).unwrap();
        assert!(experiment.data.dir.unwrap().ends_with("2024-01-01"));
        assert_eq!(String::from(experiment.penalty[0].scope.clone()), "1e3");
        let message = load(SMALL, &["train.epochs=true"]).unwrap_err().to_string();
        assert_eq!(message, "`train.epochs` is true; expected a whole number >= 1", "the message has the original type");
        let message = load(SMALL, &["train.epochs=2024-01-01"]).unwrap_err().to_string();
        assert_eq!(message, "`train.epochs` is \"2024-01-01\"; expected a whole number >= 1");
    }

    #[test]
    fn unset_removes_keys() {
        let unset = |text: &str, unsets: &[&str], sets: &[&str]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let [unsets, sets] = [unsets, sets].map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
            Experiment::load_changed(file.path(), &unsets, &sets)
        };
        let wide = format!("{SMALL}[model]\nchannels = [3]\n[[penalty]]\nkind = \"l1\"\nlambda = 2\n");
        assert!(unset(&wide, &[], &["model.kind=linear"]).is_err(), "a linear model has no channels");
        let experiment = unset(&wide, &["model.channels"], &["model.kind=linear"]).unwrap();
        assert_eq!(experiment.model.kind, ModelKind::Linear);
        let kinds = |unsets: &[&str]| {
            let experiment = unset(&wide, unsets, &[]).unwrap();
            experiment.penalty.iter().map(|penalty| penalty.kind.name()).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&["penalty.0"]), ["l1"]);
        assert_eq!(kinds(&["penalty.0", "penalty.1"]), [""; 0]);
        assert_eq!(kinds(&["penalty"]), [""; 0]);
        let message = |key: &str| unset(&wide, &[key], &[]).unwrap_err().to_string();
        let messages = ["model.chanels", "channels", "penalty.2.lambda", "train.epochs", "model.", "a.b.c"].map(message);
        insta::assert_snapshot!(messages.join("\n"));
    }

    #[test]
    fn every_key_has_a_path() {
        let paths = key_paths::all_paths();
        for path in ["seed", "penalty.0.schedule.burn_in_epochs", "data.classes", "train.keep", "model.init", "averaging.from_epoch"] {
            assert!(paths.iter().any(|known| known == path), "{path} in {paths:?}");
        }
    }

    #[test]
    fn messages_name_key_value_and_expectation() {
        let message = |set: &str| load(SMALL, &[set]).unwrap_err().to_string();
        let messages = [
            "train.epocs=3",
            "optimizer.learning_rate=-0.1",
            "optimizer.learning_rate=nan",
            "optimizer.momentum=0.9",
            "optimizer.kind=adm",
            "optimizer.weight_decay=inf",
            "penalty.0.lambda=-1",
            "penalty.1.lambda=1",
            "penalty.2.lambda=1",
            "schedule.kind=plateau",
            "penalty.lambda=1",
            "name.first=1",
            "penalty.0.scop=all",
            "train.epochs=0",
            "train.epochs=many",
            "train.batch_size=0",
            "train.batch_size=half",
            "model.dropout=1",
            "model.channels=[]",
            "model.channels=[3, 0]",
            "model.channels=32",
            "model.padding=1",
            "data.validation=1.0",
            "data.dir=/tmp",
            "data.source=imagenet",
            "early_stopping.patience=2",
            "name=../up",
            "backend.kind=tpu",
            "seed=-1",
            "data.shuffle=maybe",
            "train",
            "model=[\"mlp\"]",
            "penalty=l2",
            "penalty=[1]",
            "penalty.0.schedule.0.kind=cosine",
            "penalty.0.schedule.ratio=1",
            "averaging.decay=0.9",
            "augment.rotation=200",
            "penalty.0.proximal=false",
            "lambda=1",
            "epochs=3",
            "epoch=3",
            "learning_rte=0.1",
            "model.batch_size=3",
            "kind=l2",
            "zzz=1",
        ];
        let lines: Vec<String> = messages.iter().map(|set| format!("{set}\n    {}", message(set))).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
