//! From a config to the parts of a set.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::sets::Sets;
use super::{DataError, Decoding, LeftOut, Normalizer, Preprocess, Subset, normalize, split};
use crate::checksum::hex;
use crate::config::{Damaged, Data as Config, Validation};
use crate::seed::Seed;

/// Called with how many image files are decoded, and of how many.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// What an experiment learns from, ready to use.
#[derive(Clone, Debug)]
pub struct Data {
    /// The samples to train on.
    pub train: Subset,
    /// The samples held out to steer by.
    pub validation: Option<Subset>,
    /// The samples to judge by.
    pub test: Option<Subset>,
    /// The names of the classes, in the order of their labels.
    pub classes: Vec<String>,
    /// How pixels become numbers.
    pub normalizer: Normalizer,
    /// SHA-256 over shapes, pixels and labels of the whole training, validation and test sets, before any limit or split.
    pub checksum: String,
    /// What is held out: the config's choice, or, where it leaves that open, what was found.
    pub held_out: Validation,
    /// What was found and not read.
    pub left_out: LeftOut,
    /// What the user should know of the data.
    pub warnings: Vec<String>,
}

/// Loads what `config` names.
///
/// # Errors
///
/// When it is missing, damaged, or does not fit together.
pub fn load(config: &Config, seed: Seed) -> Result<Data, DataError> {
    load_with(config, seed, Decoding::Reduced, &|_, _| {})
}

/// Loads what `config` names, image files decoded as `decoding` says, and reports progress.
///
/// # Errors
///
/// When it is missing, damaged, or does not fit together.
pub fn load_with(config: &Config, seed: Seed, decoding: Decoding, progress: Progress) -> Result<Data, DataError> {
    let mut sets = Sets::read(config, decoding, progress)?;
    let mut hash = Sha256::new();
    sets.splits.iter().flatten().for_each(|set| set.hash_into(&mut hash));
    let classes = sets.checked_classes()?;
    let Sets { mut splits, left_out, mut warnings, .. } = sets;
    for (split, name) in splits[1..].iter_mut().zip(["validation", "test"]) {
        if split.take_if(|images| images.labels.is_empty()).is_some() {
            warnings.push(format!("the {name} folder has no images and is not used"));
        }
    }
    let [train, validation, test] = splits.map(|images| images.map(|images| Subset::all(Arc::new(images))));
    let train =
        limited(&train.unwrap_or_else(|| unreachable!("classes are checked by the training images")), config.train_limit, &classes)?;
    let held_out = held_out(config, validation.is_some())?;
    let (train, validation) = match (held_out, validation) {
        (Validation::Folder, validation) => (train, validation),
        (Validation::Fraction(fraction), validation) if fraction.get() == 0.0 => {
            warnings.extend(validation.map(|_| "the validation folder is not used, as `data.validation` is 0".to_owned()));
            (train, None)
        }
        (Validation::Fraction(fraction), _) => {
            let (train, held) = split::hold_out(&train, classes.len(), fraction.get(), seed, decoding == Decoding::Reduced)?;
            let missing = missing_classes(&train, &held, &classes);
            if !missing.is_empty() {
                warnings.push(format!("the validation part has no sample of class {}: too few images", missing.join(", ")));
            }
            (train, Some(held))
        }
    };
    let normalizer = normalize::normalizer(config.normalization, &train)?;
    Ok(Data { train, validation, test, classes, normalizer, checksum: hex(hash), held_out, left_out, warnings })
}

/// Labelled images of a folder, and what the user should know of them.
#[derive(Clone, Debug)]
pub struct LabelledFolder {
    /// The images; their labels are places in the list of classes.
    pub subset: Subset,
    /// What was found and not read.
    pub left_out: LeftOut,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Loads the images in `dir`, one subfolder for each of some of `classes`. `is_kept`: the decoded images are kept for the next time.
///
/// # Errors
///
/// When a subfolder is of no class, there are no images, or, unless `damaged` says otherwise, one can't be decoded.
pub fn load_labelled(
    dir: &Path,
    classes: &[String],
    preprocess: &Preprocess,
    damaged: Damaged,
    is_kept: bool,
    progress: Progress,
) -> Result<LabelledFolder, DataError> {
    let sets = Sets::labelled(dir, classes, preprocess, damaged, is_kept, progress)?;
    let [.., Some(images)] = sets.splits else { unreachable!("the folder is listed as the last split") };
    if images.labels.is_empty() {
        let why = if sets.left_out.is_empty() { String::new() } else { format!(", but {}", sets.left_out) };
        return Err(DataError::content(dir, format!("has no images in subfolders named after classes{why}")));
    }
    Ok(LabelledFolder { subset: Subset::all(Arc::new(images)), left_out: sets.left_out, warnings: sets.warnings })
}

/// The first `limit` samples, or all.
fn limited(all: &Subset, limit: usize, classes: &[String]) -> Result<Subset, DataError> {
    let limited = match limit {
        0 => return Ok(all.clone()),
        limit if limit <= all.count() => all.select(all.indices()[..limit].to_vec()),
        limit => {
            let message = format!("`data.train_limit` is {limit}, but the set has {} training samples", all.count());
            return Err(DataError::Set(message));
        }
    };
    match missing_classes(all, &limited, classes).first() {
        None => Ok(limited),
        Some(lost) => Err(DataError::Set(format!(
            "the first {} training samples have none of class {lost}; use a larger `data.train_limit`, or data in a mixed order",
            limited.count()
        ))),
    }
}

/// The classes that `whole` has and `part` has not.
fn missing_classes(whole: &Subset, part: &Subset, classes: &[String]) -> Vec<String> {
    let counts = whole.class_counts(classes.len()).into_iter().zip(part.class_counts(classes.len()));
    classes.iter().zip(counts).filter(|(_, (whole, part))| *whole > 0 && *part == 0).map(|(class, _)| format!("`{class}`")).collect()
}

/// What is held out, where the data have a validation folder or not.
fn held_out(config: &Config, has_folder: bool) -> Result<Validation, DataError> {
    match config.validation {
        Some(Validation::Fraction(fraction)) if has_folder && fraction.get() > 0.0 => Err(DataError::Set(format!(
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
