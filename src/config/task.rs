//! The `[task]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::keys::keys;
use super::number::{Count, Positive};
use super::{ConfigError, Experiment, Lambda, Normalization};

/// What the network learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Keys", into = "Keys")]
pub enum Task {
    /// To tell classes apart.
    #[default]
    Classify,
    /// To remove noise from pictures.
    Denoise(Denoise),
}

/// The removal of Gaussian noise. Training samples are square patches of the training pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Denoise {
    /// The standard deviation of the noise, on pixels from 0 to 255.
    pub sigma: Positive,
    /// The side of a patch, in pixels.
    pub patch_size: Count,
    /// The rows and columns from one patch to the next.
    pub stride: Count,
}

/// The kinds of task.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// To tell classes apart. The data loss is the cross-entropy.
    Classify,
    /// To remove Gaussian noise from pictures. The data loss is the mean squared error.
    Denoise,
}

keys! {
    struct Keys in "task" {
        /// What the network learns.
        kind: Kind = Kind::Classify;
        /// The standard deviation of the noise, on pixels from 0 to 255.
        sigma: Positive = Positive::literal(25.0), for Denoise;
        /// The side of the square patches that training pictures are cut into, in pixels.
        patch_size: Count = Count::literal(40), for Denoise;
        /// Rows and columns from one patch to the next. Patches overlap if it is less than `patch_size`.
        stride: Count = Count::literal(20), for Denoise;
    }
}

impl TryFrom<Keys> for Task {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        Ok(match keys.checked_kind()? {
            Kind::Classify => Self::Classify,
            Kind::Denoise => Self::Denoise(Denoise { sigma: keys.sigma(), patch_size: keys.patch_size(), stride: keys.stride() }),
        })
    }
}

impl From<Task> for Keys {
    fn from(task: Task) -> Self {
        match task {
            Task::Classify => Self::of(Kind::Classify),
            Task::Denoise(Denoise { sigma, patch_size, stride }) => {
                Self { sigma: Some(sigma), patch_size: Some(patch_size), stride: Some(stride), ..Self::of(Kind::Denoise) }
            }
        }
    }
}

impl From<Task> for regulus_model::Task {
    fn from(task: Task) -> Self {
        match task {
            Task::Classify => Self::Classify,
            Task::Denoise(Denoise { sigma, .. }) => Self::Denoise { sigma: sigma.get() },
        }
    }
}

impl Experiment {
    /// Checks that every option applies to the task, and fills in the defaults that depend on it.
    pub(super) fn resolve_task(&mut self) -> Result<(), ConfigError> {
        if self.task == Task::Classify {
            self.data.fill_resizing();
            return Ok(());
        }
        let data = &self.data;
        let updates_by_evidence = self.penalty.iter().position(|penalty| matches!(penalty.schedule, Lambda::Evidence { .. }));
        let evidence = format!("penalty.{}.schedule.kind", updates_by_evidence.unwrap_or(0));
        let foreign = [
            ("data.image_size", data.image_size.is_some(), "pictures keep their own size"),
            ("data.resize", data.resize.is_some(), "pictures keep their own size"),
            ("data.cache", data.cache.is_some(), "its pictures are decoded at every start"),
            ("data.classes", data.classes.is_some(), "it has no classes"),
            ("train.label_smoothing", self.train.label_smoothing.get() > 0.0, "it has no labels"),
            ("augment.mixup", self.augment.mixup.get() > 0.0, "a mixture of pictures is not one of them"),
            ("augment.shift", self.augment.shift > 0, "it flips and turns its patches, and has no other augmentation"),
            ("augment.rotation", self.augment.rotation.get() > 0.0, "it flips and turns its patches, and has no other augmentation"),
            (&evidence, updates_by_evidence.is_some(), "evidence is computed for classifiers only"),
        ];
        if let Some((key, _, reason)) = foreign.iter().find(|(_, is_given, _)| *is_given) {
            return Err(ConfigError::value(*key, format!("does not apply to `task.kind` = \"denoise\": {reason}; leave it out")));
        }
        if data.normalization != Normalization::Unit {
            let problem = "is \"standard\"; `task.kind` = \"denoise\" needs \"unit\", so that noise and errors have the scale of pixels";
            return Err(ConfigError::value("data.normalization", problem));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_do_not_apply_to_denoising_are_refused() {
        let load = |more: &str| {
            let config = format!(
                "name = \"a\"\n[task]\nkind = \"denoise\"\n{more}\n[model]\nkind = \"dncnn\"\n[data]\nsource = \"folder\"\ndir = \"pictures\"\n"
            );
            Experiment::from_toml(&config)
        };
        let experiment = load("sigma = 15").unwrap();
        let Task::Denoise(denoise) = experiment.task else { panic!("{:?}", experiment.task) };
        assert!((denoise.sigma.get() - 15.0).abs() < 1e-12);
        assert_eq!((denoise.patch_size.get(), denoise.stride.get()), (40, 20));
        assert_eq!(Experiment::from_toml(&experiment.to_toml()).unwrap(), experiment);
        let folder = std::env::current_dir().unwrap().join("pictures").display().to_string();
        let messages: Vec<String> = [
            "sigma = 0",
            "sigma = -25",
            "patch_size = 0",
            "patches = 40",
            "[augment]\nmixup = 0.2",
            "[augment]\nrotation = 10",
            "[train]\nlabel_smoothing = 0.1",
            "[[penalty]]\nkind = \"l2\"\nlambda = 1\n[penalty.schedule]\nkind = \"evidence\"",
        ]
        .iter()
        .map(|more| load(more).unwrap_err().to_string().replace(&folder, "DIR"))
        .collect();
        let of_data = |key: &str| {
            let config = format!("name = \"a\"\n[task]\nkind = \"denoise\"\n[data]\nsource = \"folder\"\ndir = \"pictures\"\n{key}\n");
            Experiment::from_toml(&config).unwrap_err().to_string()
        };
        let of_data = ["image_size = [40, 40]", "resize = \"crop\"", "cache = false", "normalization = \"standard\""].map(of_data);
        let sigma = Experiment::from_toml("name = \"a\"\n[task]\nsigma = 25\n[data]\nsource = \"mnist_mini\"\n").unwrap_err().to_string();
        insta::assert_snapshot!([messages, of_data.to_vec(), vec![sigma]].concat().join("\n"));
    }
}
