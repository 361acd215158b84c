//! The images of a source as they were read. Data of several experiments share them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::patches::Patches;
use super::raw_dataset::RawDataset;
use super::{Data, DataError, Decoding, FrozenFeatures, Images, LeftOut, Normalizer, Subset, normalize, split};
use crate::checksum::hex;
use crate::config::{Data as Config, Denoise, Experiment, Source, Task, Validation};

/// The images of all splits, before limits, the validation split and normalization.
#[derive(Debug)]
pub(super) struct Loaded {
    train: Subset,
    validation: Option<Subset>,
    test: Option<Subset>,
    classes: Vec<String>,
    checksum: String,
    left_out: LeftOut,
    warnings: Vec<String>,
    decoding: Decoding,
    /// The last ones that were asked for.
    features: Mutex<Option<Arc<FrozenFeatures>>>,
}

impl Loaded {
    /// Checks the images that were read for `task`.
    pub(super) fn new(raw: RawDataset, task: Task, decoding: Decoding) -> Result<Self, DataError> {
        let mut raw = if task == Task::Classify { raw } else { raw.without_labels() };
        let checksum = raw.checksum.take().unwrap_or_else(|| {
            let mut hash = Sha256::new();
            raw.splits.iter().flatten().for_each(|images| images.hash_into(&mut hash));
            hex(hash)
        });
        let classes = match task {
            Task::Classify => raw.checked_classes()?,
            Task::Denoise(_) => raw.check_pictures().map(|()| Vec::new())?,
        };
        let RawDataset { mut splits, left_out, mut warnings, .. } = raw;
        for (split, name) in splits[1..].iter_mut().zip(["validation", "test"]) {
            if split.take_if(|images| images.count() == 0).is_some() {
                warnings.push(format!("the {name} folder has no images and is not used"));
            }
        }
        let [train, validation, test] = splits.map(|images| images.map(|images| Subset::all(Arc::new(images))));
        let train = train.unwrap_or_else(|| unreachable!("`checked_classes` needs training images"));
        Ok(Self { train, validation, test, classes, checksum, left_out, warnings, decoding, features: Mutex::default() })
    }

    /// `features`, or the last ones, if they are of the same layers.
    pub(super) fn shared(&self, features: FrozenFeatures) -> Arc<FrozenFeatures> {
        let mut last = self.features.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = last.take().filter(|last| last.is_same(&features)).unwrap_or_else(|| Arc::new(features));
        Arc::clone(last.insert(shared))
    }

    /// The data of an experiment. `known` are the mean and the deviation of its training images, if these are known.
    pub(super) fn data(self: &Arc<Self>, experiment: &Experiment, known: Option<&Normalizer>) -> Result<Data, DataError> {
        let Experiment { data: config, seed, task, .. } = experiment;
        let Self { classes, decoding, .. } = &**self;
        let split_seed = config.split_seed.unwrap_or(*seed);
        let mut warnings = self.warnings.clone();
        let train = limited(&self.train, config.train_limit, classes)?;
        let held_out = held_out(config, self.validation.is_some())?;
        let (train, validation) = match held_out {
            Validation::Folder => (train, self.validation.clone()),
            Validation::Joined => (joined(&train, self.validation.as_ref()), None),
            Validation::Fold(fold) => {
                let (rest, validation) = split::fold(&train, classes.len().max(1), fold, split_seed)?;
                let missing = missing_classes(&train, &rest, classes);
                if !missing.is_empty() {
                    warnings
                        .push(format!("the training split has no sample of class {} without {fold}: too few images", missing.join(", ")));
                }
                (rest, Some(validation))
            }
            Validation::Fraction(fraction) if fraction.get() == 0.0 => {
                let unused = || format!("{} not used, as `data.validation` is 0", validation_images(config.source));
                warnings.extend(self.validation.as_ref().map(|_| unused()));
                (train, None)
            }
            Validation::Fraction(fraction) => {
                let (train, validation) =
                    split::hold_out(&train, classes.len().max(1), fraction.get(), split_seed, *decoding == Decoding::Reduced)?;
                let missing = missing_classes(&train, &validation, classes);
                if !missing.is_empty() {
                    warnings.push(format!("the validation split has no sample of class {}: too few images", missing.join(", ")));
                }
                (train, Some(validation))
            }
        };
        let train = match task {
            Task::Classify => train,
            Task::Denoise(Denoise { patch_size, stride, .. }) => {
                let (images, warning) = Patches::of(&train, patch_size.get(), stride.get())?;
                warnings.extend(warning);
                Subset::all(Arc::new(images))
            }
        };
        Ok(Data {
            normalizer: normalize::normalizer(config.normalization.unwrap_or_default(), &train, known)?,
            train,
            validation,
            test: self.test.clone(),
            classes: classes.clone(),
            checksum: self.checksum.clone(),
            held_out,
            left_out: self.left_out.clone(),
            warnings,
            loaded: Arc::clone(self),
            config: config.clone(),
            task: *task,
            seed: *seed,
        })
    }
}

/// The images of both subsets.
fn joined(train: &Subset, validation: Option<&Subset>) -> Subset {
    let Some(validation) = validation else { return train.clone() };
    let images = Images::joined(train.images(), validation.images());
    let offset = u32::try_from(train.images().count()).unwrap_or(u32::MAX);
    let indices = train.indices().iter().copied().chain(validation.indices().iter().map(|index| index + offset)).collect();
    Subset::all(Arc::new(images)).select(indices)
}

/// The images of a validation split of its own, with their verb, for messages.
fn validation_images(source: Source) -> &'static str {
    match source {
        Source::Memory => "the given validation images are",
        Source::Shards => "the validation shards are",
        _ => "the validation folder is",
    }
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

/// The classes that have samples in `all` but not in `subset`. Pictures without classes have none.
fn missing_classes(all: &Subset, subset: &Subset, classes: &[String]) -> Vec<String> {
    let counts = all.class_counts(classes.len()).into_iter().zip(subset.class_counts(classes.len()));
    classes.iter().zip(counts).filter(|(_, (all, subset))| *all > 0 && *subset == 0).map(|(class, _)| format!("`{class}`")).collect()
}

/// The origin of the validation split. `has_images`: the data have validation images of their own.
fn held_out(config: &Config, has_images: bool) -> Result<Validation, DataError> {
    let in_memory = config.source == Source::Memory;
    let in_shards = config.source == Source::Shards;
    match config.validation {
        Some(Validation::Fold(fold)) if has_images => {
            let remedy = if in_memory {
                "validation images are given, too; give none"
            } else if in_shards {
                "there are validation shards; name them in `data.train_shards`, or move them away"
            } else {
                "the data have a validation folder; move its images to `train`"
            };
            Err(DataError::Dataset(format!("`data.validation` is \"{fold}\", a fold of cross-validation, but {remedy}")))
        }
        Some(Validation::Fraction(fraction)) if has_images && fraction.get() > 0.0 => {
            let remedy = if in_memory {
                "validation images are given, too; leave the key out to use them, or give none"
            } else if in_shards {
                "there are validation shards; leave the key out to use them, or move them away"
            } else {
                "the data have a validation folder; leave the key out to use the folder, or move the folder away"
            };
            Err(DataError::Dataset(format!("`data.validation` is {}, but {remedy}", fraction.get())))
        }
        Some(Validation::Folder) if !has_images && in_memory => {
            Err(DataError::Dataset("`data.validation` is \"folder\", but no validation images are given".to_owned()))
        }
        Some(Validation::Folder) if !has_images && in_shards => Err(DataError::Dataset(
            "`data.validation` is \"folder\", but there are no validation shards; name them in `data.validation_shards`".to_owned(),
        )),
        Some(Validation::Folder) if !has_images => {
            let dir = config.dir.as_deref().unwrap_or(Path::new(".")).display();
            Err(DataError::Dataset(format!(
                "`data.validation` is \"folder\", but there are no validation images in `{dir}`; they belong in a folder `val`, `valid` or `validation` beside `train`"
            )))
        }
        Some(chosen) => Ok(chosen),
        None if has_images => Ok(Validation::Folder),
        None => Ok(Validation::NONE),
    }
}
