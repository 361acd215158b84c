//! The `[data]` section.

use std::path::PathBuf;

use regulus_model::preprocess::{Filter, Resize};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::keys::keys;
use super::number::{Count, Sides};
use super::validation::{FOLDER, JOINED, Validation};
use super::{ByteSize, ConfigError};
use crate::seed::Seed;

/// The data of an experiment. The keys of other sources are `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct Data {
    /// The source.
    pub source: Source,
    /// The folder of the files. `None`: built into the program, or in the cache.
    pub dir: Option<PathBuf>,
    /// The file of training images. `None`: found by the usual names, as all four.
    pub train_images: Option<PathBuf>,
    /// The file of training labels.
    pub train_labels: Option<PathBuf>,
    /// The file of test images.
    pub test_images: Option<PathBuf>,
    /// The file of test labels.
    pub test_labels: Option<PathBuf>,
    /// The tar shards of the training split. `None`: found by their names, as all three.
    pub train_shards: Option<String>,
    /// The tar shards of the validation split.
    pub validation_shards: Option<String>,
    /// The tar shards of the test split.
    pub test_shards: Option<String>,
    /// The names of the classes 0, 1, …
    pub classes: Option<Vec<String>>,
    /// Whether images are transposed.
    pub transpose: Option<bool>,
    /// The height and width images are resized to, in pixels.
    pub image_size: Option<[Count; 2]>,
    /// 1 for grey, 3 for colour.
    pub image_channels: Option<Count>,
    /// How images are resized to `image_size`.
    pub resize: Option<Resize>,
    /// How pixels between those of the file are computed.
    pub filter: Option<Filter>,
    /// The treatment of images that can't be decoded.
    pub damaged: Option<Damaged>,
    /// Whether decoded images are cached for the next start.
    pub cache: Option<bool>,
    /// The memory of decoded images. `None`: the default.
    pub memory: Option<ByteSize>,
    /// The validation split. `None`: the validation folder or shards, if there are any.
    pub validation: Option<Validation>,
    /// The seed of the validation split. `None`: the seed of the experiment.
    pub split_seed: Option<Seed>,
    /// Use only this many training samples, from the first; 0: all.
    pub train_limit: usize,
    /// Whether the samples are shuffled in each epoch.
    pub shuffle: bool,
    /// The normalization of pixels. `None`: that of the initial weights, or `unit`.
    pub normalization: Option<Normalization>,
}

keys! {
    struct Keys in "data" {
        /// The origin of the images.
        source: Source;
        /// The folder of the files. For the sets that can be fetched the default is their folder in the cache (`REGULUS_DATA`, or `regulus` in
        /// the user's cache folder). For `cifar10` and `cifar100` it can also be the archive.
        dir: PathBuf, default "required for `idx`, `folder` and `shards`", schema { "x-values": "path" },
            for Mnist | FashionMnist | Cifar10 | Cifar100 | Idx | Folder | Shards;
        /// The file of training images in `dir`, plain or `.gz`.
        train_images: PathBuf, default "found by the usual names", schema { "x-values": "path" }, for Idx;
        /// The file of training labels.
        train_labels: PathBuf, default "found by the usual names", schema { "x-values": "path" }, for Idx;
        /// The file of test images.
        test_images: PathBuf, default "found by the usual names, or no test split if the training files are named",
            schema { "x-values": "path" }, for Idx;
        /// The file of test labels.
        test_labels: PathBuf, default "as `test_images`", schema { "x-values": "path" }, for Idx;
        /// The tar shards of the training split: a path in `dir` with lists or ranges in braces, such as `train-{000..099}.tar`, or with `*`.
        train_shards: String, default "found by their names", schema { "x-values": "path with `{…}` or `*`" }, for Shards;
        /// The tar shards of the validation split.
        validation_shards: String, default "found by their names, or none if `train_shards` is given",
            schema { "x-values": "path with `{…}` or `*`" }, for Shards;
        /// The tar shards of the test split.
        test_shards: String, default "as `validation_shards`", schema { "x-values": "path with `{…}` or `*`" }, for Shards;
        /// The names of the classes 0, 1, …
        classes: Vec<String>, default "the class numbers; for `shards` with classes by name these in order",
            schema { "uniqueItems": true, "x-values": "list of names" }, for Idx | Shards;
        /// Swaps rows and columns of each image, which EMNIST's files need.
        transpose: bool = false, for Idx;
        /// The height and width that images are resized to, in pixels. With task `denoise` pictures keep their size.
        image_size: Sides = Sides([Count::literal(28); 2]), schema { "items": { "maximum": LARGEST_SIDE } }, for Folder | Shards;
        /// The number of channels: 1 is grey, 3 is colour.
        image_channels: Count = Count::literal(1), schema { "enum": CHANNELS }, for Folder | Shards;
        /// The treatment of images with other proportions.
        resize: Resize = Resize::Stretch, for Folder | Shards;
        /// How images are resized. It is widened where they are made smaller (antialiasing).
        filter: Filter = Filter::Bilinear, for Folder | Shards;
        /// The treatment of damaged images.
        damaged: Damaged = Damaged::Refuse, for Folder | Shards;
        /// Caches decoded images for the next start; of a set that is larger than `memory` only what was found in its files.
        cache: bool = true, for Folder | Shards;
        /// The memory for decoded images. A larger set is decoded again in each epoch, some batches ahead, and these take at most this memory.
        memory: ByteSize = ByteSize::literal(DEFAULT_MEMORY), for Folder | Shards;
        /// The validation split: a fraction of every class (with task `denoise` of the pictures), a fold of it (`"fold 2/5"` is
        /// the second of five), or `"folder"`: for `folder` the images of `val` beside `train`, for `shards` its
        /// validation shards, for `memory` the given ones. With `"joined"` these are training
        /// images, too, and there is no validation split.
        validation: Validation, default "the validation folder or shards if there are any, else 0";
        /// The seed by which a fraction or folds are drawn.
        split_seed: Seed, default "`seed`";
        /// Uses only the first n training samples (with task `denoise` the first n pictures); 0: all. They must have samples of every class.
        train_limit: usize = 0;
        /// A new order of the samples in each epoch.
        shuffle: bool = true;
        /// The normalization of pixels.
        normalization: Normalization, default "`unit`; `lite` with `model.init` = \"imagenet\"";
    }
}

/// The treatment of images that can't be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Damaged {
    /// An error names the first such file.
    #[default]
    Refuse,
    /// They are left out. A warning names each of them, and the manifest has their number.
    Skip,
}

/// The data sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// CIFAR-100: the same of 100 classes, the fine labels.
    Cifar100,
    /// Any pair of IDX files.
    Idx,
    /// A folder with one subfolder of image files for each class; with task `denoise` any folder of pictures.
    Folder,
    /// Image files with their classes in tar files, in the layout of `WebDataset`.
    Shards,
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
            Self::Cifar100 => "cifar100",
            Self::Idx => "idx",
            Self::Folder => "folder",
            Self::Shards => "shards",
            Self::Memory => "memory",
        }
    }

    /// Whether its images are files that are decoded and resized.
    #[must_use]
    pub const fn has_image_files(self) -> bool {
        matches!(self, Self::Folder | Self::Shards)
    }
}

/// The normalization of pixels (0 to 255).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// Pixel / 255.
    #[default]
    Unit,
    /// (pixel / 255 − mean) / deviation, with mean and deviation of the training split, for each channel.
    Standard,
    /// (pixel − 127) / 128, with which EfficientNet-Lite0 was trained on `ImageNet`.
    Lite,
    /// (pixel / 255 − mean) / deviation, with the means 0.485, 0.456, 0.406 and the deviations 0.229, 0.224, 0.225 of `ImageNet`, as torchvision's weights expect. For colour images.
    Torchvision,
}

/// The largest side of `image_size` in pixels.
const LARGEST_SIDE: usize = 16_384;

/// The bytes of memory for decoded images if the config names none.
pub const DEFAULT_MEMORY: u64 = 4_000_000_000;

/// The accepted `image_channels`: grey and colour.
const CHANNELS: [usize; 2] = [1, 3];

impl Normalization {
    /// The name in configs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Standard => "standard",
            Self::Lite => "lite",
            Self::Torchvision => "torchvision",
        }
    }
}

impl Data {
    /// Fills in the defaults for image files that are resized.
    pub(super) fn fill_resizing(&mut self) {
        if self.source.has_image_files() {
            let defaults = Keys::default();
            self.image_size.get_or_insert_with(|| defaults.image_size().0);
            self.resize.get_or_insert_with(|| defaults.resize());
            self.filter.get_or_insert_with(|| defaults.filter());
            self.cache.get_or_insert_with(|| defaults.cache());
            self.memory.get_or_insert_with(|| defaults.memory());
        }
    }

    /// The bytes of memory for decoded images.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory.unwrap_or_else(|| Keys::default().memory()).get()
    }

    /// Whether there is a validation split. Returns `None` if that depends on the content of the folder.
    #[must_use]
    pub fn has_validation(&self) -> Option<bool> {
        self.validation.map(|validation| match validation {
            Validation::Fraction(fraction) => fraction.get() > 0.0,
            Validation::Folder | Validation::Fold(_) => true,
            Validation::Joined => false,
        })
    }
}

impl TryFrom<Keys> for Data {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        let source = keys.checked_kind()?;
        keys.check_files(source)?;
        keys.check_folder()?;
        keys.check_classes()?;
        let has_files = source.has_image_files();
        let has_validation_images = has_files || source == Source::Memory;
        let validation = match keys.validation {
            None if !has_validation_images => Some(Validation::NONE),
            Some(word @ (Validation::Folder | Validation::Joined)) if !has_validation_images => {
                let word = if word == Validation::Folder { FOLDER } else { JOINED };
                let problem = format!(
                    "is \"{word}\", which is for sources `folder` and `shards`; with source `{}` set a fraction, such as 0.1",
                    source.name()
                );
                return Err(ConfigError::value("data.validation", problem));
            }
            validation => validation,
        };
        Ok(Self {
            source,
            transpose: (source == Source::Idx).then(|| keys.transpose()),
            image_size: keys.image_size.map(|Sides(sides)| sides),
            image_channels: has_files.then(|| keys.image_channels()),
            resize: keys.resize,
            filter: keys.filter,
            damaged: has_files.then(|| keys.damaged()),
            cache: keys.cache,
            memory: keys.memory,
            validation,
            split_seed: keys.split_seed,
            train_limit: keys.train_limit(),
            shuffle: keys.shuffle(),
            normalization: keys.normalization,
            dir: keys.dir.map(|dir| super::load::absolute(&dir)),
            train_images: keys.train_images,
            train_labels: keys.train_labels,
            test_images: keys.test_images,
            test_labels: keys.test_labels,
            train_shards: keys.train_shards,
            validation_shards: keys.validation_shards,
            test_shards: keys.test_shards,
            classes: keys.classes,
        })
    }
}

impl Keys {
    /// Checks that the files of the source are named together.
    fn check_files(&self, source: Source) -> Result<(), ConfigError> {
        let missing =
            |key: &str| Err(ConfigError::value(format!("data.{key}"), format!("is missing; source `{}` needs it", source.name())));
        if matches!(source, Source::Idx | Source::Folder | Source::Shards) && self.dir.is_none() {
            return missing("dir");
        }
        if self.train_images.is_some() != self.train_labels.is_some() {
            return missing(if self.train_images.is_none() { "train_images" } else { "train_labels" });
        }
        if self.test_images.is_some() != self.test_labels.is_some() {
            return missing(if self.test_images.is_none() { "test_images" } else { "test_labels" });
        }
        let others = [("validation_shards", &self.validation_shards), ("test_shards", &self.test_shards)];
        if let (None, Some((key, _))) = (&self.train_shards, others.iter().find(|(_, shards)| shards.is_some())) {
            let problem = "is given, but `data.train_shards` is not; name the training shards, too";
            return Err(ConfigError::value(format!("data.{key}"), problem));
        }
        Ok(())
    }

    fn check_folder(&self) -> Result<(), ConfigError> {
        if let Some(side) = self.image_size().0.iter().find(|side| side.get() > LARGEST_SIDE) {
            return Err(ConfigError::value("data.image_size", format!("has a side of {}; expected at most {LARGEST_SIDE}", side.get())));
        }
        let channels = self.image_channels().get();
        if !CHANNELS.contains(&channels) {
            let [grey, colour] = CHANNELS;
            let problem = format!("is {channels}; expected {grey} (grey) or {colour} (colour)");
            return Err(ConfigError::value("data.image_channels", problem));
        }
        Ok(())
    }

    fn check_classes(&self) -> Result<(), ConfigError> {
        if let Some(classes) = &self.classes
            && let Some(twice) = classes.iter().enumerate().find_map(|(index, class)| classes[..index].contains(class).then_some(class))
        {
            return Err(ConfigError::value("data.classes", format!("names {twice:?} twice; each class needs a name of its own")));
        }
        Ok(())
    }
}

impl From<Data> for Keys {
    fn from(data: Data) -> Self {
        Self {
            source: Some(data.source),
            dir: data.dir,
            train_images: data.train_images,
            train_labels: data.train_labels,
            test_images: data.test_images,
            test_labels: data.test_labels,
            train_shards: data.train_shards,
            validation_shards: data.validation_shards,
            test_shards: data.test_shards,
            classes: data.classes,
            transpose: data.transpose,
            image_size: data.image_size.map(Sides),
            image_channels: data.image_channels,
            resize: data.resize,
            filter: data.filter,
            damaged: data.damaged,
            cache: data.cache,
            memory: data.memory,
            validation: data.validation,
            split_seed: data.split_seed,
            train_limit: Some(data.train_limit),
            shuffle: Some(data.shuffle),
            normalization: data.normalization,
        }
    }
}
