//! Loading of the data of a config.

use std::path::Path;
use std::sync::Arc;

use super::loaded::Loaded;
use super::raw_dataset::RawDataset;
use super::{DataError, Decoding, Images, LeftOut, Normalizer, Preprocess, Subset};
use crate::config::{Damaged, Data as Config, Experiment, Source, Validation};
use crate::seed::Seed;

/// Callback with the number of decoded image files and the total number.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

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
    /// The seed they were split by.
    pub(super) seed: Seed,
}

impl Data {
    /// The bytes of the images that are in memory: images of a split that are shared or left out by `data.train_limit` count once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let mut images: Vec<&Arc<Images>> =
            [Some(&self.train), self.validation.as_ref(), self.test.as_ref()].into_iter().flatten().map(Subset::images).collect();
        images.dedup_by(|one, other| Arc::ptr_eq(one, other));
        images.iter().map(|images| images.pixels.len() as u64).sum()
    }
}

/// Loads the data of `config`.
///
/// # Errors
///
/// When the data are missing, damaged or inconsistent.
pub fn load(config: &Config, seed: Seed) -> Result<Data, DataError> {
    load_with(config, seed, Decoding::Reduced, &|_, _| {})
}

/// Loads the data of `config`. Image files are decoded with `decoding`; `progress` is called for each of them.
///
/// # Errors
///
/// When the data are missing, damaged or inconsistent.
pub fn load_with(config: &Config, seed: Seed, decoding: Decoding, progress: Progress) -> Result<Data, DataError> {
    Arc::new(Loaded::new(RawDataset::read(config, decoding, progress)?, decoding)?).data(config, seed)
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
    /// The class names, in the order of the labels.
    pub classes: Vec<String>,
}

impl Data {
    /// The data of an experiment whose `data.source` is `memory`.
    ///
    /// # Errors
    ///
    /// When the source is another one, or images, labels and class names do not fit together.
    pub fn from_images(experiment: &Experiment, splits: Splits) -> Result<Self, DataError> {
        let (config, source) = (&experiment.data, experiment.data.source);
        if source != Source::Memory {
            let problem = format!("`data.source` is \"{}\"; for images in memory set it to \"memory\"", source.name());
            return Err(DataError::Dataset(problem));
        }
        let Splits { train, validation, test, classes } = splits;
        [Some(&train), validation.as_ref(), test.as_ref()].into_iter().flatten().try_for_each(Images::check)?;
        if train.labels.is_empty() {
            return Err(DataError::Dataset("there are no training images".to_owned()));
        }
        if classes.len() < 2 {
            return Err(DataError::Dataset(format!("{} class names are given; a classifier needs at least 2", classes.len())));
        }
        if let Some(twice) = classes.iter().enumerate().find_map(|(index, class)| classes[..index].contains(class).then_some(class)) {
            return Err(DataError::Dataset(format!("the class name {twice:?} is given twice; each class needs a name of its own")));
        }
        let raw = RawDataset { splits: [Some(train), validation, test], classes: Some(classes), ..RawDataset::default() };
        Arc::new(Loaded::new(raw, Decoding::Reduced)?).data(config, experiment.seed)
    }

    /// The same images for another experiment, which may have another seed, `data.validation`, `data.train_limit` or `data.normalization`. Nothing is read
    /// or hashed again.
    ///
    /// # Errors
    ///
    /// When another key of `[data]` is different, or the images can't be split in that way.
    pub fn for_experiment(&self, experiment: &Experiment) -> Result<Self, DataError> {
        let Config { validation, train_limit, shuffle, normalization, .. } = experiment.data;
        if (Config { validation, train_limit, shuffle, normalization, ..self.config.clone() }) != experiment.data {
            return Err(DataError::Dataset("`[data]` of the experiment names other images than those that were loaded".to_owned()));
        }
        self.loaded.data(&experiment.data, experiment.seed)
    }

    /// Checks that the data were prepared for `experiment`.
    pub(crate) fn check_experiment(&self, experiment: &Experiment) -> Result<(), DataError> {
        let shuffle = experiment.data.shuffle;
        if self.seed == experiment.seed && (Config { shuffle, ..self.config.clone() }) == experiment.data {
            return Ok(());
        }
        let problem = "the data were prepared for an experiment with another seed or another `[data]`; make those of this one with `Data::for_experiment`";
        Err(DataError::Dataset(problem.to_owned()))
    }
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
    /// The progress callback.
    pub progress: Progress<'a>,
}

/// The labelled images of a folder.
#[derive(Clone, Debug)]
pub struct LabelledFolder {
    /// The images. A label is an index in the list of classes.
    pub subset: Subset,
    /// Files and folders that are left out.
    pub left_out: LeftOut,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// Loads the images in `dir`, whose subfolders are named after some of `classes`.
///
/// # Errors
///
/// When a subfolder is not a class, or there are no images. With [`Damaged::Refuse`] also when an image can't be decoded.
pub fn load_labelled(dir: &Path, classes: &[String], options: FolderOptions) -> Result<LabelledFolder, DataError> {
    let raw = RawDataset::labelled(dir, classes, options)?;
    let [.., Some(images)] = raw.splits else { unreachable!("the folder is the test split") };
    if images.labels.is_empty() {
        let reason = if raw.left_out.is_empty() { String::new() } else { format!(", but {}", raw.left_out) };
        return Err(DataError::content(dir, format!("has no images in subfolders named after classes{reason}")));
    }
    Ok(LabelledFolder { subset: Subset::all(Arc::new(images)), left_out: raw.left_out, warnings: raw.warnings })
}
