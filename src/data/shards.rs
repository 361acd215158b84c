//! Sets of images in tar files in the layout of `WebDataset`, one or more for each split.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use sha2::Sha256;
use wildmatch::WildMatch;

use super::folder::{VALIDATION, hash_file};
use super::image_file::{ImageFile, Member};
use super::labelled_files::LabelledFiles;
use super::left_out::Reason;
use super::scan::{Entry, FoundFile, entries};
use super::shard::{Shard, ShardSample};
use super::{DataError, LeftOut, braces};
use crate::config::Data as Config;

/// The largest number of a class: the confusion matrix of so many takes 800 MB. A larger one is a mistake.
const LARGEST_CLASS: u32 = 9_999;

/// The tar files of a set.
#[derive(Debug, Default)]
pub(super) struct Shards {
    /// Those of the training, validation and test splits.
    splits: [Option<Vec<FoundFile>>; 3],
    /// Tar files that are not used.
    left_out: LeftOut,
}

/// Whether `path` is a tar file, or a folder that has one.
pub(super) fn is_shards(path: &Path) -> bool {
    has_tar_extension(path) && path.is_file() || entries(path).is_ok_and(|entries| !tar_files(entries).is_empty())
}

impl Shards {
    /// Finds the tar files of a config.
    ///
    /// # Errors
    ///
    /// When there are none for training, or one that is named is missing.
    pub(super) fn find(config: &Config, dir: &Path) -> Result<Self, DataError> {
        let Some(train) = &config.train_shards else { return Self::by_name(dir) };
        let patterns = [("train", Some(train)), ("validation", config.validation_shards.as_ref()), ("test", config.test_shards.as_ref())];
        let mut shards = Self::default();
        for (split, (name, pattern)) in shards.splits.iter_mut().zip(patterns) {
            *split = pattern.map(|pattern| matching(dir, &format!("data.{name}_shards"), pattern)).transpose()?;
        }
        Ok(shards)
    }

    /// All tar files in `dir`, or the tar file `dir`, as the test split.
    pub(super) fn all(dir: &Path) -> Result<Self, DataError> {
        let files = if dir.is_file() {
            vec![FoundFile::of(dir).map_err(DataError::read(dir))?]
        } else {
            tar_files(entries(dir).map_err(DataError::read(dir))?)
        };
        Ok(Self { splits: [None, None, Some(files)], ..Self::default() })
    }

    /// The tar files in the folders `train`, `val` and `test`, or those in `dir` whose names begin with these words. All are for training if there are none of
    /// both.
    fn by_name(dir: &Path) -> Result<Self, DataError> {
        if dir.is_file() {
            return Ok(Self { splits: [Some(vec![FoundFile::of(dir).map_err(DataError::read(dir))?]), None, None], ..Self::default() });
        }
        let is = |name: &str, words: &[&str], begins: bool| {
            words
                .iter()
                .any(|word| name == *word || begins && name.starts_with(word) && !name[word.len()..].starts_with(char::is_alphabetic))
        };
        let split_of = |path: &Path, begins: bool| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            [&["train", "training"][..], &VALIDATION, &["test", "testing"]].iter().position(|words| is(&name, words, begins))
        };
        let mut shards = Self::default();
        let mut others = Vec::new();
        let mut found = Vec::new();
        for entry in entries(dir).map_err(DataError::read(dir))? {
            match entry {
                Entry::Folder(path) if split_of(&path, false).is_some() => {
                    let files = tar_files(entries(&path).map_err(DataError::read(&path))?);
                    found.extend(files.into_iter().map(|file| (split_of(&path, false), file)));
                }
                entry => others.push(entry),
            }
        }
        found.extend(tar_files(others).into_iter().map(|file| (split_of(&file.path, true), file)));
        let has_train = found.iter().any(|(split, _)| *split == Some(0));
        for (split, file) in found {
            match split.or(if has_train { None } else { Some(0) }) {
                Some(split) => shards.splits[split].get_or_insert_default().push(file),
                None => shards.left_out.add(Reason::UnusedShard, &file.path),
            }
        }
        if shards.splits[0].is_some() {
            return Ok(shards);
        }
        let hint = "name the files in `data.train_shards`, or give them names such as `train-000.tar`";
        Err(DataError::content(dir, format!("has no tar files for training (`*.tar`, not compressed); {hint}")))
    }

    /// All tar files.
    pub(super) fn files(&self) -> impl Iterator<Item = &FoundFile> {
        self.splits.iter().flatten().flatten()
    }

    /// The paths of all, in the order of [`Member::shard`].
    pub(super) fn paths(&self) -> Arc<[PathBuf]> {
        self.files().map(|file| file.path.clone()).collect()
    }

    /// Adds names, sizes and times to a hash.
    pub(super) fn hash_into(&self, hash: &mut Sha256) {
        for split in &self.splits {
            let count = split.as_ref().map_or(u64::MAX, |files| files.len() as u64);
            sha2::Digest::update(hash, count.to_le_bytes());
            split.iter().flatten().for_each(|file| hash_file(file, hash));
        }
    }

    /// Reads the names and classes of all samples. `names` are the class names, in the order of the labels; without them the training samples have them.
    ///
    /// # Errors
    ///
    /// When a file is no whole tar file, or the classes of its samples can't be used.
    pub(super) fn samples(&self, dir: &Path, names: Option<&[String]>) -> Result<LabelledFiles, DataError> {
        let all: Vec<&FoundFile> = self.files().collect();
        let read: Vec<Result<Shard, DataError>> = all.par_iter().map(|file| Shard::read(&file.path)).collect();
        let mut read = read.into_iter().collect::<Result<Vec<Shard>, _>>()?.into_iter().zip(0_u32..);
        let mut left_out = self.left_out.clone();
        let mut found = [const { None }; 3];
        for (samples, split) in found.iter_mut().zip(&self.splits) {
            let Some(split) = split else { continue };
            let samples = samples.insert(Vec::new());
            for (shard, index) in read.by_ref().take(split.len()) {
                left_out.join(shard.left_out);
                samples.extend(shard.samples.into_iter().map(|sample| (index, sample)));
            }
        }
        let classes = Classes::of(names, found[0].as_deref().unwrap_or_default())?;
        let mut splits = [const { None }; 3];
        for (split, samples) in splits.iter_mut().zip(found) {
            let file = |(shard, sample): (u32, ShardSample)| {
                let label = classes.label(&sample)?;
                let ShardSample { path, offset, length, .. } = sample;
                Ok((label, ImageFile { path, member: Some(Member { shard, offset, length }) }))
            };
            *split = samples.map(|samples| samples.into_iter().map(file).collect::<Result<Vec<_>, DataError>>()).transpose()?;
        }
        Ok(LabelledFiles { classes: classes.names, splits, shards: self.paths(), left_out, dir: dir.to_owned() })
    }
}

/// The classes of a set.
struct Classes {
    names: Vec<String>,
    /// The label of each name.
    labels: HashMap<String, u32>,
    /// Whether the names are those that the config gives.
    are_given: bool,
    /// Whether samples have the numbers of their classes.
    are_numbers: bool,
}

impl Classes {
    /// Classes with the given names, or those of the samples.
    fn of(given: Option<&[String]>, samples: &[(u32, ShardSample)]) -> Result<Self, DataError> {
        let new = |names: Vec<String>, are_given, are_numbers| {
            let labels = names.iter().cloned().zip(0..).collect();
            Self { names, labels, are_given, are_numbers }
        };
        if let Some(names) = given {
            return Ok(new(names.to_vec(), true, true));
        }
        let number = |sample: &ShardSample| sample.class.parse::<u32>().ok();
        let numbers: Vec<Option<u32>> = samples.iter().map(|(_, sample)| number(sample)).collect();
        if numbers.iter().all(Option::is_none) {
            let mut names: Vec<String> = samples.iter().map(|(_, sample)| sample.class.clone()).collect();
            names.sort_unstable();
            names.dedup();
            return Ok(new(names, false, false));
        }
        let largest = numbers.iter().flatten().max().copied().unwrap_or(0);
        for ((_, sample), number) in samples.iter().zip(&numbers) {
            match number {
                Some(number) if *number > LARGEST_CLASS => {
                    let problem = format!("it is of the class {number}; expected a number up to {LARGEST_CLASS}, counted from 0");
                    return Err(unknown(sample, &problem));
                }
                Some(number) if *number as usize >= samples.len() => {
                    let problem = format!(
                        "it is of the class {number}, counted from 0, but there are only {} training samples, fewer than classes; name all classes in \
                         `data.classes`",
                        samples.len()
                    );
                    return Err(unknown(sample, &problem));
                }
                Some(_) => {}
                None => {
                    let class = &sample.class;
                    let problem = if class.parse::<f64>().is_ok() {
                        format!("it is of the class {class}; expected a whole number up to {LARGEST_CLASS}, counted from 0")
                    } else {
                        format!("it is of the class `{class}`, while others have numbers; name all classes in `data.classes`")
                    };
                    return Err(unknown(sample, &problem));
                }
            }
        }
        Ok(new((0..=largest).map(|label| label.to_string()).collect(), false, true))
    }

    /// The label of a sample. A name comes before a number.
    fn label(&self, sample: &ShardSample) -> Result<u32, DataError> {
        let Self { names, labels, are_given, are_numbers } = self;
        let named = labels.get(&sample.class).copied();
        let number = sample.class.parse::<u32>().ok().filter(|label| *are_numbers && (*label as usize) < names.len());
        named.or(number).ok_or_else(|| {
            let known: Vec<String> = names.iter().take(10).map(|name| format!("`{name}`")).collect();
            let more = if names.len() > known.len() { ", …" } else { "" };
            let origin = if *are_given { "which is not one of the class names" } else { "which training does not have" };
            unknown(sample, &format!("it is of the class `{}`, {origin} ({}{more})", sample.class, known.join(", ")))
        })
    }
}

fn unknown(sample: &ShardSample, problem: &str) -> DataError {
    DataError::content(&sample.path, format!("has no known class: {problem}"))
}

/// The tar files that `pattern`, the value of `key`, stands for, in its order, and by name where it has a `*`.
fn matching(dir: &Path, key: &str, pattern: &str) -> Result<Vec<FoundFile>, DataError> {
    let refused = |problem: String| DataError::Dataset(format!("`{key}` is \"{pattern}\", which {problem}"));
    let mut files = Vec::new();
    for name in braces::expanded(pattern).map_err(refused)? {
        let path = dir.join(&name);
        if name.contains(['*', '?']) {
            let folder = path.parent().unwrap_or(dir);
            let wanted = WildMatch::new(&path.file_name().unwrap_or_default().to_string_lossy());
            let entries = entries(folder).map_err(DataError::read(folder))?;
            let is_wanted = |file: &FoundFile| wanted.matches(&file.path.file_name().unwrap_or_default().to_string_lossy());
            let found: Vec<FoundFile> = entries
                .into_iter()
                .filter_map(|entry| if let Entry::File(file) = entry { Some(file) } else { None })
                .filter(is_wanted)
                .collect();
            if found.is_empty() {
                return Err(refused(format!("no file in `{}` matches", folder.display())));
            }
            files.extend(found);
        } else {
            let hint = || DataError::Missing { path: path.clone(), hint: format!("`{key}` names it") };
            files.push(FoundFile::of(&path).ok().filter(|_| path.is_file()).ok_or_else(hint)?);
        }
    }
    let mut paths = HashSet::new();
    if let Some(twice) = files.iter().find(|file| !paths.insert(&file.path)) {
        return Err(refused(format!("names `{}` twice", twice.path.display())));
    }
    Ok(files)
}

fn tar_files(entries: Vec<Entry>) -> Vec<FoundFile> {
    let file = |entry| if let Entry::File(file) = entry { Some(file) } else { None };
    entries.into_iter().filter_map(file).filter(|file| has_tar_extension(&file.path)).collect()
}

fn has_tar_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}
