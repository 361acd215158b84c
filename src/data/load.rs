//! Loading of the data of a config.

use std::mem::discriminant;
use std::path::Path;
use std::sync::Arc;

use regulus_kernels::algorithm::Algorithm;
use regulus_model::Weights;
use regulus_model::graph::Graph;
use regulus_model::infer::InferError;

use super::loaded::Loaded;
use super::raw_dataset::RawDataset;
use super::stream::{bytes_of_batch, check_memory};
use super::{DataError, Decoding, FrozenFeatures, Images, LeftOut, Normalizer, Preprocess, Subset};
use crate::config::{Damaged, Data as Config, Denoise, Experiment, Source, Task, Validation};
use crate::seed::Seed;

/// Callback with the number of decoded image files and the total number.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// The largest number of micro-batches that are decoded ahead.
const MOST_AHEAD: usize = 8;

/// The data of an experiment.
#[derive(Clone, Debug)]
pub struct Data {
    /// The training split.
    pub train: Subset,
    /// The validation split.
    pub validation: Option<Subset>,
    /// The test split.
    pub test: Option<Subset>,
    /// The class names, in the order of the labels.
    pub classes: Vec<String>,
    /// The normalization of pixels.
    pub normalizer: Normalizer,
    /// SHA-256 over shapes, pixels and labels of all training, validation and test images, before limits and splits.
    pub checksum: String,
    /// The origin of the validation split: as in the config, or, if the config does not state it, as found in the data.
    pub held_out: Validation,
    /// Files and folders that are left out.
    pub left_out: LeftOut,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// The images before they were split.
    pub(super) loaded: Arc<Loaded>,
    /// The section they were split by.
    pub(super) config: Config,
    /// The task they were made for.
    pub(super) task: Task,
    /// The seed they were split by.
    pub(super) seed: Seed,
}

impl Data {
    /// The number of the samples of all splits.
    #[must_use]
    pub fn count(&self) -> u64 {
        [Some(&self.train), self.validation.as_ref(), self.test.as_ref()].into_iter().flatten().map(|subset| subset.count() as u64).sum()
    }

    /// The bytes of the images that are in memory: images of a split that are shared or left out by `data.train_limit` count once. Patches are
    /// not copied from their pictures. Of images that are decoded when they are needed, the bytes of their paths and labels.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sources().iter().map(|images| images.bytes()).sum()
    }

    /// The bytes of all images in memory, or of those that are decoded when they are needed, if they were all in memory.
    #[must_use]
    pub fn decoded_bytes(&self) -> u64 {
        self.sources().iter().map(|images| if images.stream().is_some() { images.decoded_bytes() } else { images.bytes() }).sum()
    }

    /// Whether the images are decoded each time they are needed, because they do not fit into `data.memory`.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.train.is_streamed()
    }

    /// The number of micro-batches of up to `samples` samples that are assembled ahead. It is limited by `data.memory` if images are decoded when they are needed.
    #[must_use]
    pub fn batches_ahead(&self, samples: usize) -> usize {
        if !self.is_streamed() {
            return 1;
        }
        let batches = self.config.memory() / self.bytes_of_batch(samples).max(1);
        usize::try_from(batches).unwrap_or(usize::MAX).saturating_sub(1).clamp(1, MOST_AHEAD)
    }

    /// The bytes of a micro-batch of `samples` samples: its pixels as bytes and as numbers.
    pub(crate) fn bytes_of_batch(&self, samples: usize) -> u64 {
        bytes_of_batch(self.train.shape(), samples)
    }

    /// Checks that `data.memory` is enough for two micro-batches of `samples` samples: one that is computed and one that is decoded meanwhile.
    ///
    /// # Errors
    ///
    /// When it is not, and the images are decoded when they are needed.
    pub(crate) fn check_memory(&self, samples: usize) -> Result<(), DataError> {
        if self.is_streamed() { check_memory(self.config.memory(), self.train.shape(), samples) } else { Ok(()) }
    }

    /// Checks that every image so far could be decoded.
    ///
    /// # Errors
    ///
    /// When the file of an image that is not in memory has been changed or removed since the data were read.
    pub fn check_decoded(&self) -> Result<(), DataError> {
        [Some(&self.train), self.validation.as_ref(), self.test.as_ref()].into_iter().flatten().try_for_each(Subset::check_decoded)
    }

    /// The images that have the pixels, each once.
    fn sources(&self) -> Vec<&Arc<Images>> {
        let subsets = [Some(&self.train), self.validation.as_ref(), self.test.as_ref()];
        let mut images: Vec<&Arc<Images>> = subsets.into_iter().flatten().map(|subset| subset.images().source()).collect();
        images.dedup_by(|one, other| Arc::ptr_eq(one, other));
        images
    }
}

/// Loads the data of `experiment`.
///
/// # Errors
///
/// When the data are missing, damaged or inconsistent.
pub fn load(experiment: &Experiment) -> Result<Data, DataError> {
    load_with(experiment, Decoding::Reduced, &|_, _| {})
}

/// Loads the data of `experiment`. Image files are decoded with `decoding`; `progress` is called for each of them.
///
/// # Errors
///
/// When the data are missing, damaged or inconsistent.
pub fn load_with(experiment: &Experiment, decoding: Decoding, progress: Progress) -> Result<Data, DataError> {
    load_as(experiment, Loading { decoding, is_trained_on: false, normalizer: None, progress })
}

/// How the data of an experiment are loaded.
#[derive(Clone, Copy)]
pub(crate) struct Loading<'a> {
    /// The decoding of image files.
    pub(crate) decoding: Decoding,
    /// Whether they are trained on. Then too small a `data.memory` is an error before the images are decoded.
    pub(crate) is_trained_on: bool,
    /// The mean and the deviation of the training images, if a run has them. They are not computed again where that takes a pass over all images.
    pub(crate) normalizer: Option<&'a Normalizer>,
    /// Called for each decoded image file.
    pub(crate) progress: Progress<'a>,
}

/// Loads the data of `experiment`.
///
/// # Errors
///
/// When the data are missing, damaged or inconsistent.
pub(crate) fn load_as(experiment: &Experiment, loading: Loading) -> Result<Data, DataError> {
    Arc::new(Loaded::new(RawDataset::read(experiment, loading)?, experiment.task, loading.decoding)?).data(experiment, loading.normalizer)
}

/// Images of each split in memory, for [`Data::from_images`].
#[derive(Clone, Debug)]
pub struct Splits {
    /// The training images.
    pub train: Images,
    /// The validation images. `None`: a fraction of the training images if `data.validation` is above 0.
    pub validation: Option<Images>,
    /// The test images.
    pub test: Option<Images>,
    /// The class names, in the order of the labels. Empty for pictures without classes.
    pub classes: Vec<String>,
}

impl Data {
    /// The data of an experiment whose `data.source` is `memory`.
    ///
    /// # Errors
    ///
    /// When the source is another one, or images, labels and class names do not fit together.
    pub fn from_images(experiment: &Experiment, splits: Splits) -> Result<Self, DataError> {
        let source = experiment.data.source;
        if source != Source::Memory {
            let problem = format!("`data.source` is \"{}\"; for images in memory set it to \"memory\"", source.name());
            return Err(DataError::Dataset(problem));
        }
        let Splits { train, validation, test, classes } = splits;
        let all = [Some(&train), validation.as_ref(), test.as_ref()];
        if experiment.task == Task::Classify {
            all.into_iter().flatten().try_for_each(Images::check_labels)?;
        }
        all.into_iter().flatten().try_for_each(Images::check)?;
        if train.count() == 0 {
            return Err(DataError::Dataset("there are no training images".to_owned()));
        }
        check_class_names(&classes, experiment.task)?;
        let raw = RawDataset { splits: [Some(train), validation, test], classes: Some(classes), ..RawDataset::default() };
        Arc::new(Loaded::new(raw, experiment.task, Decoding::Reduced)?).data(experiment, None)
    }

    /// What the frozen layers of a network with these weights give for the images. Experiments that share the images share it, if they have the same layers.
    /// Returns `Ok(None)` as [`FrozenFeatures::new`].
    ///
    /// # Errors
    ///
    /// As [`FrozenFeatures::new`].
    pub fn frozen_features(
        &self,
        graph: &Graph,
        weights: &Weights,
        algorithm: Algorithm,
    ) -> Result<Option<Arc<FrozenFeatures>>, InferError> {
        let features = FrozenFeatures::new(graph, weights, &self.normalizer, algorithm)?;
        Ok(features.map(|features| self.loaded.shared(features)))
    }

    /// The same images for another experiment, which may have another seed, `data.validation`, `data.train_limit`, `data.normalization` or size of patches.
    /// Nothing is read or hashed again.
    ///
    /// # Errors
    ///
    /// When another key of `[data]` is different, or the images can't be split in that way.
    pub fn for_experiment(&self, experiment: &Experiment) -> Result<Self, DataError> {
        if discriminant(&self.task) != discriminant(&experiment.task) {
            return Err(DataError::Dataset("`[task]` of the experiment is not the one that the images were loaded for".to_owned()));
        }
        if !self.has_images_of(experiment) {
            return Err(DataError::Dataset("`[data]` of the experiment names other images than those that were loaded".to_owned()));
        }
        self.loaded.data(experiment, None)
    }

    /// As [`Data::for_experiment`]; other images are loaded.
    ///
    /// # Errors
    ///
    /// When the images can't be loaded or split.
    pub fn for_any_experiment(&self, experiment: &Experiment) -> Result<Self, DataError> {
        if self.has_images_of(experiment) { self.loaded.data(experiment, None) } else { load(experiment) }
    }

    /// Whether the images are those that an experiment names.
    fn has_images_of(&self, experiment: &Experiment) -> bool {
        let Config { validation, split_seed, train_limit, shuffle, normalization, .. } = experiment.data;
        discriminant(&self.task) == discriminant(&experiment.task)
            && (Config { validation, split_seed, train_limit, shuffle, normalization, ..self.config.clone() }) == experiment.data
    }

    /// Checks that the data were prepared for `experiment`.
    pub(crate) fn check_experiment(&self, experiment: &Experiment) -> Result<(), DataError> {
        let shuffle = experiment.data.shuffle;
        if self.seed == experiment.seed
            && patches(self.task) == patches(experiment.task)
            && (Config { shuffle, ..self.config.clone() }) == experiment.data
        {
            return Ok(());
        }
        let problem = "the data were prepared for an experiment with another seed, `[data]` or `[task]`; make those of this one with `Data::for_experiment`";
        Err(DataError::Dataset(problem.to_owned()))
    }
}

/// The size and stride of patches. Returns `None` for a task without patches.
fn patches(task: Task) -> Option<[usize; 2]> {
    match task {
        Task::Classify => None,
        Task::Denoise(Denoise { patch_size, stride, .. }) => Some([patch_size.get(), stride.get()]),
    }
}

/// Checks the class names of images in memory.
fn check_class_names(classes: &[String], task: Task) -> Result<(), DataError> {
    let twice = classes.iter().enumerate().find_map(|(index, class)| classes[..index].contains(class).then_some(class));
    let problem = match (task, twice) {
        (Task::Classify, _) if classes.len() < 2 => format!("{} class names are given; a classifier needs at least 2", classes.len()),
        (Task::Classify, Some(twice)) => format!("the class name {twice:?} is given twice; each class needs a name of its own"),
        (Task::Denoise(_), _) if !classes.is_empty() => {
            format!("{} class names are given; the pictures of `task.kind` = \"denoise\" have none", classes.len())
        }
        _ => return Ok(()),
    };
    Err(DataError::Dataset(problem))
}

/// The pictures without classes in `dir`, at any depth, in their own sizes, with `channels` channels. Those that can't be decoded are left out.
///
/// # Errors
///
/// When there are none.
pub fn load_pictures(dir: &Path, channels: usize, progress: Progress) -> Result<LoadedFolder, DataError> {
    let mut raw = RawDataset::all_pictures(dir, channels, progress)?;
    let pictures = raw.splits[0].take().unwrap_or_else(|| unreachable!("all pictures are in the first split"));
    Ok(LoadedFolder { subset: Subset::all(Arc::new(pictures)), left_out: raw.left_out, warnings: raw.warnings })
}

/// Options for reading a folder of images.
#[derive(Clone, Copy)]
pub struct FolderOptions<'a> {
    /// The preprocessing.
    pub preprocess: &'a Preprocess,
    /// The treatment of images that can't be decoded.
    pub damaged: Damaged,
    /// Whether decoded images are cached.
    pub cache: bool,
    /// The bytes of memory for decoded images. More than these are decoded when they are needed.
    pub memory: u64,
    /// The samples of a batch, if the images are trained on: `memory` must then be enough for two batches. `None`: it is not checked.
    pub at_once: Option<usize>,
    /// The progress callback.
    pub progress: Progress<'a>,
}

/// The images of a folder.
#[derive(Clone, Debug)]
pub struct LoadedFolder {
    /// The images. A label is an index in the list of classes.
    pub subset: Subset,
    /// Files and folders that are left out.
    pub left_out: LeftOut,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// Loads the images in `dir`, whose subfolders are named after some of `classes`, or those of the tar files in it.
///
/// # Errors
///
/// When a subfolder is not a class, or there are no images. With [`Damaged::Refuse`] also when an image can't be decoded.
pub fn load_labelled(dir: &Path, classes: &[String], options: FolderOptions) -> Result<LoadedFolder, DataError> {
    let raw = RawDataset::labelled(dir, classes, options)?;
    let [.., Some(images)] = raw.splits else { unreachable!("the folder is the test split") };
    if images.count() == 0 {
        let reason = if raw.left_out.is_empty() { String::new() } else { format!(", but {}", raw.left_out) };
        return Err(DataError::content(dir, format!("has no images in subfolders named after classes{reason}")));
    }
    Ok(LoadedFolder { subset: Subset::all(Arc::new(images)), left_out: raw.left_out, warnings: raw.warnings })
}
