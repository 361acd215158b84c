//! The images of a data source, before limits, splits and normalization.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::cache_key::CacheKey;
use super::decode::{DecodedFolder, decode};
use super::folder::{self, Listing};
use super::labelled_files::LabelledFiles;
use super::load::{FolderOptions, Loading};
use super::pictures::decode_pictures;
use super::shards::{Shards, is_shards};
use super::stream::{check_memory, exceeds, stream};
use super::{
    CIFAR10, CIFAR100, DataError, Decoding, FASHION_MNIST, Images, KnownDataset, LeftOut, MNIST, Preprocess, Progress, Shape,
    decoded_cache, idx, legacy_listing, mnist_mini, stream,
};
use crate::config::number::Count;
use crate::config::{Damaged, Data as Config, Experiment, Source, Task, Train};

/// The images of a data source.
#[derive(Debug, Default)]
pub(super) struct RawDataset {
    /// Training, validation and test images.
    pub(super) splits: [Option<Images>; 3],
    /// The class names. `None` if the source has only labels.
    pub(super) classes: Option<Vec<String>>,
    /// Files and folders that are left out.
    pub(super) left_out: LeftOut,
    /// Warnings for the user.
    pub(super) warnings: Vec<String>,
    /// SHA-256 over shapes, pixels and labels of all splits. `None`: it is yet to be computed.
    pub(super) checksum: Option<String>,
}

impl RawDataset {
    /// Reads the images of `experiment`.
    pub(super) fn read(experiment: &Experiment, loading: Loading) -> Result<Self, DataError> {
        let config = &experiment.data;
        match (experiment.task, config.source) {
            (Task::Denoise(_), Source::Folder) => {
                let (dir, damaged) = (required(config.dir.as_deref())?, config.damaged.unwrap_or_default());
                Self::pictures(dir, config.image_channels.map_or(1, Count::get), damaged, loading.progress)
            }
            _ => Self::read_labelled(experiment, loading),
        }
    }

    /// Reads the labelled images of a source.
    fn read_labelled(experiment: &Experiment, loading: Loading) -> Result<Self, DataError> {
        let Experiment { data: config, train, .. } = experiment;
        let dir = config.dir.as_deref();
        let known = |dataset: &KnownDataset| {
            let (train, test, warnings) = dataset.load(dir)?;
            Ok(Self { warnings, ..Self::of(train, Some(test), Some(class_names(dataset))) })
        };
        match config.source {
            Source::MnistMini => {
                let (train, test) = mnist_mini::load()?;
                Ok(Self::of(train, Some(test), Some(class_names(&MNIST))))
            }
            Source::Mnist => known(&MNIST),
            Source::FashionMnist => known(&FASHION_MNIST),
            Source::Cifar10 => known(&CIFAR10),
            Source::Cifar100 => known(&CIFAR100),
            Source::Idx => Self::from_idx(config, required(dir)?),
            Source::Memory => Err(DataError::Dataset(
                "`data.source` is \"memory\": the images are given by a program, with `Data::from_images`; set another source for the command line".to_owned(),
            )),
            Source::Folder | Source::Shards => Self::from_files(config, required(dir)?, train, loading),
        }
    }

    fn of(train: Images, test: Option<Images>, classes: Option<Vec<String>>) -> Self {
        Self { splits: [Some(train), None, test], classes, ..Self::default() }
    }

    fn from_idx(config: &Config, dir: &Path) -> Result<Self, DataError> {
        // If the training files are named, only named files are read.
        let is_named = config.train_images.is_some();
        let pair = |images: Option<&Path>, labels: Option<&Path>, words: &[&str]| match (images, labels) {
            // A name that is not found is kept for the error message.
            (Some(images), Some(labels)) => Ok(Some([images, labels].map(|name| idx::find(dir, name).unwrap_or_else(|| dir.join(name))))),
            _ if is_named => Ok(None),
            _ => idx::find_pair(dir, words),
        };
        let train =
            pair(config.train_images.as_deref(), config.train_labels.as_deref(), &["train"])?.ok_or_else(|| DataError::Missing {
                path: dir.join("train-images-idx3-ubyte"),
                hint: "name the files in `data.train_images` and `data.train_labels`".to_owned(),
            })?;
        let test = pair(config.test_images.as_deref(), config.test_labels.as_deref(), &["test", "t10k"])?;
        let read = |[images, labels]: [std::path::PathBuf; 2]| {
            let images = idx::read_pair(&images, &labels)?;
            Ok(if config.transpose == Some(true) { idx::transposed(images) } else { images })
        };
        let (train, test) = (read(train)?, test.map(read).transpose()?);
        Ok(Self::of(train, test, config.classes.clone()))
    }

    fn from_files(config: &Config, dir: &Path, train: &Train, loading: Loading) -> Result<Self, DataError> {
        let Loading { decoding, is_trained_on, progress, .. } = loading;
        let [height, width] = config.image_size.map_or([28; 2], |size| size.map(Count::get));
        let channels = config.image_channels.map_or(1, Count::get);
        let (resize, filter) = (config.resize.unwrap_or_default(), config.filter.unwrap_or_default());
        let preprocess = Preprocess { shape: Shape { channels, height, width }, resize, filter, decoding };
        let (damaged, cache) = (config.damaged.unwrap_or_default(), config.cache.unwrap_or(true));
        // If it is as large as the training split, that limits it, and its size is not known yet.
        let at_once = train.samples_at_once(usize::MAX);
        let at_once = (is_trained_on && (config.train_limit == 0 || at_once <= config.train_limit / 2)).then_some(at_once);
        let options = FolderOptions { preprocess: &preprocess, damaged, cache, memory: config.memory(), at_once, progress };
        if config.source == Source::Shards {
            let settings = (&config.train_shards, &config.validation_shards, &config.test_shards);
            return Self::from_shards(dir, &Shards::find(config, dir)?, config.classes.as_deref(), &settings, options);
        }
        let listing = if decoding == Decoding::Full { legacy_listing::list(dir)? } else { folder::list(dir)? };
        Self::from_folder(dir, listing, options)
    }

    /// Reads the images in `dir`, whose subfolders are named after some of `classes`, or those of its tar files, as the test split.
    pub(super) fn labelled(dir: &Path, classes: &[String], options: FolderOptions) -> Result<Self, DataError> {
        if is_shards(dir) {
            return Self::from_shards(dir, &Shards::all(dir)?, Some(classes), &"all", options);
        }
        Self::from_folder(dir, folder::list_labelled(dir, classes)?, options)
    }

    /// Reads the image files of a folder.
    fn from_folder(dir: &Path, listing: Listing, options: FolderOptions) -> Result<Self, DataError> {
        let settings = serde_json::to_string(&(options.preprocess, options.damaged)).unwrap_or_default();
        let cache = options.cache.then(|| CacheKey::new(dir, &settings, listing.files(), |hash| listing.hash_into(hash))).flatten();
        let (decoded, warning) = Self::decoded(cache.as_ref(), &Arc::default(), options, || LabelledFiles::of(&listing))?;
        let raw = Self::of_decoded(dir, listing, decoded);
        Ok(Self { warnings: warning.into_iter().chain(raw.warnings).collect(), ..raw })
    }

    /// Reads the images of tar files. `names` are the class names; without them the training samples have them. `settings` are what the tar files were
    /// found by.
    fn from_shards(
        dir: &Path,
        shards: &Shards,
        names: Option<&[String]>,
        settings: &impl Serialize,
        options: FolderOptions,
    ) -> Result<Self, DataError> {
        let settings = serde_json::to_string(&(options.preprocess, options.damaged, "shards", settings, names)).unwrap_or_default();
        let cache = options.cache.then(|| CacheKey::new(dir, &settings, shards.files(), |hash| shards.hash_into(hash))).flatten();
        let (decoded, warning) = Self::decoded(cache.as_ref(), &shards.paths(), options, || shards.samples(dir, names))?;
        let classes = decoded.classes.clone().unwrap_or_default();
        let listing = Listing { classes, splits: [const { None }; 3], left_out: LeftOut::default(), warnings: Vec::new() };
        let raw = Self::of_decoded(dir, listing, decoded);
        Ok(Self { warnings: warning.into_iter().chain(raw.warnings).collect(), ..raw })
    }

    /// The images of `files`, from the cache if they are in it: in memory, or, if they do not fit, to be decoded when they are needed. Also returns a warning if
    /// they can't be cached.
    fn decoded(
        cache: Option<&CacheKey>,
        shards: &Arc<[PathBuf]>,
        options: FolderOptions,
        files: impl FnOnce() -> Result<LabelledFiles, DataError>,
    ) -> Result<(DecodedFolder, Option<String>), DataError> {
        let FolderOptions { preprocess, damaged, memory, at_once, progress, .. } = options;
        let cached = cache
            .and_then(|cache| decoded_cache::read(cache, preprocess, memory).or_else(|| stream::read(cache, shards, preprocess, memory)));
        if let Some(decoded) = cached {
            return Ok((decoded, None));
        }
        let files = files()?;
        let is_streamed = exceeds(files.count(), preprocess, memory);
        if let Some(at_once) = at_once.filter(|at_once| is_streamed && *at_once <= files.training_count() / 2) {
            check_memory(memory, preprocess.shape, at_once)?;
        }
        let mut decoded = if is_streamed {
            stream(&files, preprocess, damaged, memory, progress)?
        } else {
            decode(&files, preprocess, damaged, progress)?
        };
        decoded.classes = (!shards.is_empty()).then_some(files.classes);
        let write = if is_streamed { stream::write } else { decoded_cache::write };
        let warning = match cache.map(|cache| write(cache, &decoded)) {
            Some(Err(error)) => Some(format!("the decoded images are not cached: {error} ({})", error.source)),
            _ => None,
        };
        Ok((decoded, warning))
    }

    /// Reads the pictures without classes in `dir`, with their own sizes.
    pub(super) fn pictures(dir: &Path, channels: usize, damaged: Damaged, progress: Progress) -> Result<Self, DataError> {
        let listing = folder::list_pictures(dir)?;
        let decoded = decode_pictures(&listing, channels, damaged, progress)?;
        Ok(Self::of_decoded(dir, listing, decoded))
    }

    /// Reads all pictures in `dir` as the training split, whatever its folders are called. Damaged ones are left out.
    pub(super) fn all_pictures(dir: &Path, channels: usize, progress: Progress) -> Result<Self, DataError> {
        let listing = folder::list_all_pictures(dir)?;
        let decoded = decode_pictures(&listing, channels, Damaged::Skip, progress)?;
        Ok(Self::of_decoded(dir, listing, decoded))
    }

    /// The same images without labels.
    pub(super) fn without_labels(self) -> Self {
        Self { splits: self.splits.map(|images| images.map(Images::without_labels)), classes: None, ..self }
    }

    fn of_decoded(dir: &Path, listing: Listing, decoded: DecodedFolder) -> Self {
        let mut warnings = listing.warnings;
        warnings.extend(decoded.damaged.iter().map(|file| format!("`{}` is left out: {}", file.path.display(), file.problem)));
        if !decoded.left_out.is_empty() {
            warnings.push(format!("not read in `{}`: {}", dir.display(), decoded.left_out));
        }
        let DecodedFolder { splits, left_out, checksum, .. } = decoded;
        Self { splits, classes: Some(listing.classes), left_out, warnings, checksum }
    }

    /// Checks that every label has a class, that the training split has every label of the other splits, and that all images have one shape. Returns
    /// the class names. Adds a warning for classes without training samples.
    pub(super) fn checked_classes(&mut self) -> Result<Vec<String>, DataError> {
        let [train, others @ ..] = &self.splits;
        let Some(train) = train else { return Err(DataError::Dataset("there are no training images".to_owned())) };
        let others = ["validation", "test"].into_iter().zip(others).filter_map(|(name, images)| Some((name, images.as_ref()?)));
        let largest = train.labels.iter().chain(others.clone().flat_map(|(_, images)| &images.labels)).max().copied().unwrap_or(0);
        let names = self.classes.clone().unwrap_or_else(|| (0..=largest).map(|label| label.to_string()).collect());
        if largest as usize >= names.len() {
            let message = format!("a label is {largest}, but `data.classes` names {} classes, counted from 0", names.len());
            return Err(DataError::Dataset(message));
        }
        if names.len() < 2 {
            return Err(DataError::Dataset("every label is 0; a classifier needs at least 2 classes".to_owned()));
        }
        let trained = present(train, names.len());
        for (split, images) in others {
            if images.shape() != train.shape() {
                let [train, images] =
                    [train, images].map(|images| images.shape().map_or("of several sizes".to_owned(), |shape| shape.to_string()));
                let message = format!("training images are {train}, but {split} images are {images} (height×width×channels)");
                return Err(DataError::Dataset(message));
            }
            let unknown = present(images, names.len()).iter().zip(&trained).position(|(present, trained)| *present && !trained);
            if let Some(label) = unknown {
                let message = format!("{split} samples have the label {label} (class `{}`), but no training sample has it", names[label]);
                return Err(DataError::Dataset(message));
            }
        }
        let empty: Vec<String> =
            trained.iter().zip(&names).filter(|(trained, _)| !**trained).map(|(_, name)| format!("`{name}`")).collect();
        if !empty.is_empty() {
            let first = trained.iter().position(|trained| *trained).unwrap_or(0);
            let offset = if first > 0 { format!("; labels start at {first}, while classes are counted from 0") } else { String::new() };
            let shown = empty.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            let more = if empty.len() > 5 { format!(" and {} more", empty.len() - 5) } else { String::new() };
            self.warnings.push(format!("no training sample is of class {shown}{more}{offset}"));
        }
        Ok(names)
    }

    /// Checks that there are training pictures, and that all pictures have as many channels.
    pub(super) fn check_pictures(&self) -> Result<(), DataError> {
        let Some(train) = self.splits[0].as_ref().filter(|train| train.count() > 0) else {
            return Err(DataError::Dataset("there are no training pictures".to_owned()));
        };
        let channels = train.shape_of(0).channels;
        let all = self.splits.iter().flatten().flat_map(|images| (0..images.count()).map(|index| images.shape_of(index)));
        match all.map(|shape| shape.channels).find(|other| *other != channels) {
            None => Ok(()),
            Some(other) => {
                Err(DataError::Dataset(format!("some pictures have {channels} channels and some have {other}; expected one number")))
            }
        }
    }
}

fn class_names(dataset: &KnownDataset) -> Vec<String> {
    dataset.classes.iter().map(|class| (*class).to_owned()).collect()
}

fn required(dir: Option<&Path>) -> Result<&Path, DataError> {
    dir.ok_or_else(|| DataError::Dataset("the data source names no folder; set `data.dir`".to_owned()))
}

/// Whether each of `classes` classes has images.
fn present(images: &Images, classes: usize) -> Vec<bool> {
    let mut present = vec![false; classes];
    images.labels.iter().for_each(|label| present[*label as usize] = true);
    present
}
