//! The `[task]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::keys::keys;
use super::number::{Count, Positive};
use super::{ClassWeights, ConfigError, Experiment, Lambda, ModelKind, Normalization, Sampling, Source};

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

/// The largest standard deviation of the noise.
const LARGEST_SIGMA: f64 = 255.0;

keys! {
    struct Keys in "task" {
        /// What the network learns.
        kind: Kind = Kind::Classify;
        /// The standard deviation of the noise, on pixels from 0 to 255.
        sigma: Positive = Positive::literal(25.0), schema { "maximum": LARGEST_SIGMA }, for Denoise;
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
            Kind::Denoise if keys.sigma().get() > LARGEST_SIGMA => {
                let problem = format!("is {}; expected at most {LARGEST_SIGMA}, the range of pixels", keys.sigma().get());
                return Err(ConfigError::value("task.sigma", problem));
            }
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
        self.check_model_kind()?;
        if self.task == Task::Classify {
            self.data.fill_resizing();
        }
        self.check_task()
    }

    /// Checks that the kind of network is one for the task.
    fn check_model_kind(&self) -> Result<(), ConfigError> {
        let kind = self.model.kind;
        let problem = match (self.task, kind) {
            (Task::Classify, ModelKind::Dncnn) => {
                "which gives pictures; set `task.kind` = \"denoise\", or use \"cnn\", \"layers\" or another kind"
            }
            (Task::Denoise(_), kind) if kind.is_classifier() => {
                "which tells classes apart; for `task.kind` = \"denoise\" use \"dncnn\" or \"layers\""
            }
            _ => return Ok(()),
        };
        Err(ConfigError::value("model.kind", format!("is \"{}\", {problem}", kind.name())))
    }

    /// Checks that every option applies to the task.
    pub(crate) fn check_task(&self) -> Result<(), ConfigError> {
        if self.task == Task::Classify {
            return Ok(());
        }
        let data = &self.data;
        if data.source == Source::Shards {
            let problem =
                "is \"shards\", whose images have classes; with `task.kind` = \"denoise\" use \"folder\", with any folder of pictures";
            return Err(ConfigError::value("data.source", problem));
        }
        let updates_by_evidence = self.penalty.iter().position(|penalty| matches!(penalty.schedule, Lambda::Evidence { .. }));
        let evidence = format!("penalty.{}.schedule.kind", updates_by_evidence.unwrap_or(0));
        let foreign = [
            ("data.image_size", data.image_size.is_some(), "pictures keep their own size"),
            ("data.resize", data.resize.is_some(), "pictures keep their own size"),
            ("data.filter", data.filter.is_some(), "pictures keep their own size"),
            ("data.cache", data.cache.is_some(), "its pictures are decoded at every start"),
            ("data.memory", data.memory.is_some(), "its pictures are all in memory"),
            ("data.classes", data.classes.is_some(), "it has no classes"),
            ("train.class_weights", self.train.class_weights != ClassWeights::None, "it has no classes"),
            ("train.sampling", self.train.sampling != Sampling::Uniform, "it has no classes"),
            ("train.label_smoothing", self.train.label_smoothing.get() > 0.0, "it has no labels"),
            ("augment.mixup", self.augment.mixup.get() > 0.0, "a mixture of pictures is not one of them"),
            ("augment.test_flip", self.augment.test_flip, "it has no logits"),
            ("augment.test_shift", self.augment.test_shift > 0, "it has no logits"),
            (evidence.as_str(), updates_by_evidence.is_some(), "evidence is computed for classifiers only"),
        ];
        let transforms = self
            .augment
            .transforms()
            .map(|(key, is_given)| (key, is_given, "it flips and turns its patches, and has no other augmentation"));
        if let Some((key, _, reason)) = foreign.into_iter().chain(transforms).find(|(_, is_given, _)| *is_given) {
            return Err(ConfigError::value(key, format!("does not apply to `task.kind` = \"denoise\": {reason}; leave it out")));
        }
        if let Some(normalization) = data.normalization.filter(|normalization| *normalization != Normalization::Unit) {
            let name = normalization.name();
            let problem =
                format!("is \"{name}\"; `task.kind` = \"denoise\" needs \"unit\", so that noise and errors have the scale of pixels");
            return Err(ConfigError::value("data.normalization", problem));
        }
        Ok(())
    }

    /// A warning if parts of the pictures are in no patch. Returns `None` if there are none.
    pub(super) fn gaps_between_patches(&self) -> Option<String> {
        let Task::Denoise(Denoise { patch_size, stride, .. }) = self.task else { return None };
        (stride > patch_size).then(|| {
            let (stride, size) = (stride.get(), patch_size.get());
            format!("`task.stride` is {stride} and `task.patch_size` {size}: pixels between the patches are not used for training")
        })
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
            "sigma = 300",
            "patch_size = 0",
            "patches = 40",
            "[augment]\nmixup = 0.2",
            "[augment]\nrotation = 10",
            "[augment]\nflip = \"horizontal\"",
            "[augment]\nborder = \"reflect\"",
            "[augment]\ntest_flip = true",
            "[augment]\ntest_shift = 1",
            "[augment]\ncrop_scale = 0.5",
            "[augment]\ncutout = 8",
            "[augment]\nhue = 0.1",
            "[train]\nlabel_smoothing = 0.1",
            "[train]\nclass_weights = \"balanced\"",
            "[train]\nbest_by = \"accuracy\"",
            "[train]\nsampling = \"balanced\"",
            "[[penalty]]\nkind = \"l2\"\nlambda = 1\n[penalty.schedule]\nkind = \"evidence\"",
        ]
        .iter()
        .map(|more| load(more).unwrap_err().to_string().replace(&folder, "DIR"))
        .collect();
        let of_data = |key: &str| {
            let config = format!(
                "name = \"a\"\n[task]\nkind = \"denoise\"\n[model]\nkind = \"dncnn\"\n[data]\nsource = \"folder\"\ndir = \"pictures\"\n{key}\n"
            );
            Experiment::from_toml(&config).unwrap_err().to_string()
        };
        let keys = ["image_size = [40, 40]", "resize = \"crop\"", "filter = \"bicubic\"", "cache = false", "normalization = \"standard\""];
        let of_data = keys.map(of_data);
        let sigma = Experiment::from_toml("name = \"a\"\n[task]\nsigma = 25\n[data]\nsource = \"mnist_mini\"\n").unwrap_err().to_string();
        let kinds = ["[task]\nkind = \"denoise\"", "[model]\nkind = \"dncnn\""].map(|more| {
            Experiment::from_toml(&format!("name = \"a\"\n{more}\n[data]\nsource = \"mnist_mini\"\n")).unwrap_err().to_string()
        });
        insta::assert_snapshot!([messages, of_data.to_vec(), vec![sigma], kinds.to_vec()].concat().join("\n"));
    }
}
