//! Loading of the data of a config.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::raw_dataset::RawDataset;
use super::{DataError, Decoding, Images, LeftOut, Normalizer, Preprocess, Subset, normalize, split};
use crate::checksum::hex;
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
    prepare(RawDataset::read(config, decoding, progress)?, config, seed, decoding)
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
        let raw = RawDataset { splits: [Some(train), validation, test], classes: Some(classes), ..RawDataset::default() };
        prepare(raw, config, experiment.seed, Decoding::Reduced)
    }
}

/// Limits, splits and normalization.
fn prepare(mut raw: RawDataset, config: &Config, seed: Seed, decoding: Decoding) -> Result<Data, DataError> {
    let mut hash = Sha256::new();
    raw.splits.iter().flatten().for_each(|images| images.hash_into(&mut hash));
    let classes = raw.checked_classes()?;
    let RawDataset { mut splits, left_out, mut warnings, .. } = raw;
    for (split, name) in splits[1..].iter_mut().zip(["validation", "test"]) {
        if split.take_if(|images| images.labels.is_empty()).is_some() {
            warnings.push(format!("the {name} folder has no images and is not used"));
        }
    }
    let [train, validation, test] = splits.map(|images| images.map(|images| Subset::all(Arc::new(images))));
    let train = limited(&train.unwrap_or_else(|| unreachable!("`checked_classes` needs training images")), config.train_limit, &classes)?;
    let held_out = held_out(config, validation.is_some())?;
    let (train, validation) = match (held_out, validation) {
        (Validation::Folder, validation) => (train, validation),
        (Validation::Fraction(fraction), validation) if fraction.get() == 0.0 => {
            warnings.extend(validation.map(|_| "the validation folder is not used, as `data.validation` is 0".to_owned()));
            (train, None)
        }
        (Validation::Fraction(fraction), _) => {
            let (train, validation) = split::hold_out(&train, classes.len(), fraction.get(), seed, decoding == Decoding::Reduced)?;
            let missing = missing_classes(&train, &validation, &classes);
            if !missing.is_empty() {
                warnings.push(format!("the validation split has no sample of class {}: too few images", missing.join(", ")));
            }
            (train, Some(validation))
        }
    };
    let normalizer = normalize::normalizer(config.normalization, &train)?;
    Ok(Data { train, validation, test, classes, normalizer, checksum: hex(hash), held_out, left_out, warnings })
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

/// The first `limit` samples; all if `limit` is 0.
fn limited(all: &Subset, limit: usize, classes: &[String]) -> Result<Subset, DataError> {
    let limited = match limit {
        0 => return Ok(all.clone()),
        limit if limit <= all.count() => all.select(all.indices()[..limit].to_vec()),
        limit => {
            let message = format!("`data.train_limit` is {limit}, but the set has {} training samples", all.count());
            return Err(DataError::Dataset(message));
        }
    };
    match missing_classes(all, &limited, classes).first() {
        None => Ok(limited),
        Some(lost) => Err(DataError::Dataset(format!(
            "the first {} training samples have none of class {lost}; use a larger `data.train_limit`, or data in a mixed order",
            limited.count()
        ))),
    }
}

/// The classes that have samples in `all` but not in `subset`.
fn missing_classes(all: &Subset, subset: &Subset, classes: &[String]) -> Vec<String> {
    let counts = all.class_counts(classes.len()).into_iter().zip(subset.class_counts(classes.len()));
    classes.iter().zip(counts).filter(|(_, (all, subset))| *all > 0 && *subset == 0).map(|(class, _)| format!("`{class}`")).collect()
}

/// The origin of the validation split. `has_folder`: the data have a validation folder.
fn held_out(config: &Config, has_folder: bool) -> Result<Validation, DataError> {
    match config.validation {
        Some(Validation::Fraction(fraction)) if has_folder && fraction.get() > 0.0 => Err(DataError::Dataset(format!(
            "`data.validation` is {}, but the data have a validation folder; leave the key out to use the folder, or move the folder away",
            fraction.get()
        ))),
        Some(Validation::Folder) if !has_folder => Err(DataError::Missing {
            path: config.dir.as_deref().unwrap_or(Path::new(".")).join("val"),
            hint: "`data.validation` = \"folder\" needs a folder `val`, `valid` or `validation` beside `train`".to_owned(),
        }),
        Some(chosen) => Ok(chosen),
        None if has_folder => Ok(Validation::Folder),
        None => Ok(Validation::NONE),
    }
}
