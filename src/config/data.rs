//! The `[data]` section.

use std::path::PathBuf;

use regulus_model::preprocess::Resize;
use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ConfigError;
use super::number::{Count, Fraction, number_or_word};

/// The data of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The source.
    pub source: Source,
    /// The folder of the files. Downloadable datasets: a folder instead of the one in the cache; `cifar10`: or the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// `idx`: the file of training images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_images: Option<PathBuf>,
    /// `idx`: the file of training labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_labels: Option<PathBuf>,
    /// `idx`: the file of test images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_images: Option<PathBuf>,
    /// `idx`: the file of test labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_labels: Option<PathBuf>,
    /// `folder`: the height and width images are resized to, in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_size: Option<[Count; 2]>,
    /// `folder`: 1 for grey, 3 for colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_channels: Option<Count>,
    /// `folder`: how images are resized to `image_size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// `idx`: the names of the classes 0, 1, …; by default their numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Use only this many training samples, from the first; 0: all.
    #[serde(default)]
    pub train_limit: usize,
    /// `folder`: the treatment of images that can't be decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<Damaged>,
    /// `folder`: whether decoded images are cached for the next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<bool>,
    /// `idx`: whether images are transposed, which EMNIST needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transpose: Option<bool>,
    /// The validation split. By default source `folder` uses a validation folder if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Whether the samples are shuffled in each epoch.
    #[serde(default = "yes")]
    pub shuffle: bool,
    /// The normalization of pixels.
    #[serde(default)]
    pub normalization: Normalization,
}

fn yes() -> bool {
    true
}

/// The origin of the validation split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Validation {
    /// A random fraction of the training samples, stratified by class; 0: no validation split.
    Fraction(Fraction),
    /// Source `folder`: the images of the folder `val`, `valid` or `validation` beside `train`. Source `memory`: the given validation images.
    Folder,
}

impl Validation {
    /// No validation split.
    pub const NONE: Self = Self::Fraction(Fraction::literal(0.0));
}

impl Serialize for Validation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fraction(fraction) => fraction.serialize(serializer),
            Self::Folder => serializer.serialize_str(FOLDER),
        }
    }
}

impl<'de> Deserialize<'de> for Validation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a number in [0, 1) or \"folder\"";
        match number_or_word(deserializer, &[FOLDER], expected)? {
            Ok(number) => {
                Fraction::try_from(number).map(Self::Fraction).map_err(|_| de::Error::custom(format!("is {number}; expected {expected}")))
            }
            Err(_) => Ok(Self::Folder),
        }
    }
}

const FOLDER: &str = "folder";

/// The treatment of images that can't be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Damaged {
    /// An error that names the first such file.
    #[default]
    Refuse,
    /// They are left out. A warning names each of them, and the manifest has their number.
    Skip,
}

/// The data sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// 5,000 training and 1,000 test images of MNIST, built into the program.
    MnistMini,
    /// The MNIST database of handwritten digits.
    Mnist,
    /// Fashion-MNIST: articles of clothing.
    FashionMnist,
    /// CIFAR-10: small colour photographs, in the official binary version.
    Cifar10,
    /// Any pair of IDX files.
    Idx,
    /// A folder with one subfolder of image files for each class.
    Folder,
    /// Images in memory, of a program that uses the library.
    Memory,
}

impl Source {
    /// The name in configs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MnistMini => "mnist_mini",
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion_mnist",
            Self::Cifar10 => "cifar10",
            Self::Idx => "idx",
            Self::Folder => "folder",
            Self::Memory => "memory",
        }
    }
}

/// The normalization of pixels (0 to 255).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// Pixel / 255.
    #[default]
    Unit,
    /// (pixel / 255 − mean) / deviation, with mean and deviation of the training split for each channel.
    Standard,
}

/// The largest side of `image_size` in pixels.
const LARGEST_SIDE: usize = 16_384;

impl Data {
    /// The data section for a source name, such as `mnist`. `dir`: its folder, if it is not in the cache.
    ///
    /// # Errors
    ///
    /// When there is no such source, or it needs more keys.
    pub fn named(source: &str, dir: Option<&std::path::Path>) -> Result<Self, ConfigError> {
        let mut keys = figment::value::Dict::from([("source".to_owned(), source.into())]);
        if let Some(dir) = dir {
            keys.insert("dir".to_owned(), dir.to_string_lossy().into_owned().into());
        }
        let mut data: Self =
            figment::Figment::from(figment::providers::Serialized::defaults(keys)).extract().map_err(|mut error: figment::Error| {
                error.path.insert(0, "data".to_owned());
                ConfigError::from_figment(error)
            })?;
        data.resolve()?;
        Ok(data)
    }

    /// Whether there is a validation split. Returns `None` if that depends on the content of the folder.
    #[must_use]
    pub fn has_validation(&self) -> Option<bool> {
        self.validation.map(|validation| match validation {
            Validation::Fraction(fraction) => fraction.get() > 0.0,
            Validation::Folder => true,
        })
    }

    /// Checks that the given keys apply to the source, and fills in the defaults of the source.
    pub(super) fn resolve(&mut self) -> Result<(), ConfigError> {
        use Source::{Folder, Idx, Memory, MnistMini};
        let source = self.source;
        let given = [
            ("dir", self.dir.is_some(), !matches!(source, MnistMini | Memory)),
            ("train_images", self.train_images.is_some(), source == Idx),
            ("train_labels", self.train_labels.is_some(), source == Idx),
            ("test_images", self.test_images.is_some(), source == Idx),
            ("test_labels", self.test_labels.is_some(), source == Idx),
            ("image_size", self.image_size.is_some(), source == Folder),
            ("image_channels", self.image_channels.is_some(), source == Folder),
            ("resize", self.resize.is_some(), source == Folder),
            ("damaged", self.damaged.is_some(), source == Folder),
            ("cache", self.cache.is_some(), source == Folder),
            ("transpose", self.transpose.is_some(), source == Idx),
            ("classes", self.classes.is_some(), source == Idx),
        ];
        super::load::refuse_foreign_keys("data", &format!("source `{}`", source.name()), &given)?;
        let missing = |key: &str| ConfigError::value(format!("data.{key}"), format!("is missing; source `{}` needs it", source.name()));
        if matches!(source, Idx | Folder) && self.dir.is_none() {
            return Err(missing("dir"));
        }
        if self.train_images.is_some() != self.train_labels.is_some() {
            return Err(missing(if self.train_images.is_none() { "train_images" } else { "train_labels" }));
        }
        if self.test_images.is_some() != self.test_labels.is_some() {
            return Err(missing(if self.test_images.is_none() { "test_images" } else { "test_labels" }));
        }
        if source == Folder {
            let size = self.image_size.get_or_insert([Count::literal(28); 2]);
            if let Some(side) = size.iter().find(|side| side.get() > LARGEST_SIDE) {
                return Err(ConfigError::value(
                    "data.image_size",
                    format!("has a side of {}; expected at most {LARGEST_SIDE}", side.get()),
                ));
            }
            self.resize.get_or_insert_default();
            self.damaged.get_or_insert_default();
            self.cache.get_or_insert(true);
            let channels = self.image_channels.get_or_insert(Count::literal(1)).get();
            if channels != 1 && channels != 3 {
                return Err(ConfigError::value("data.image_channels", format!("is {channels}; expected 1 (grey) or 3 (colour)")));
            }
        }
        if source == Idx {
            self.transpose.get_or_insert(false);
        }
        match self.validation {
            None if !matches!(source, Folder | Memory) => self.validation = Some(Validation::NONE),
            Some(Validation::Folder) if !matches!(source, Folder | Memory) => {
                let problem =
                    format!("is \"folder\", which is for source `folder`; with source `{}` set a fraction, such as 0.1", source.name());
                return Err(ConfigError::value("data.validation", problem));
            }
            _ => {}
        }
        if let Some(classes) = &self.classes
            && let Some(twice) = classes.iter().enumerate().find_map(|(index, class)| classes[..index].contains(class).then_some(class))
        {
            return Err(ConfigError::value("data.classes", format!("names {twice:?} twice; each class needs a name of its own")));
        }
        if let Some(dir) = &mut self.dir {
            *dir = super::load::absolute(dir);
        }
        Ok(())
    }
}
