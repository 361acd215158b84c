//! From a config to the parts of a set.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{DataError, FASHION_MNIST, Images, KnownSet, MNIST, Normalizer, Part, Shape, folder, idx, mnist_mini, split};
use crate::checksum::hex;
use crate::config::number::Count;
use crate::config::{Data as Config, Source};
use crate::seed::Seed;

/// What an experiment learns from, ready to use.
#[derive(Clone, Debug)]
pub struct Data {
    /// The samples to train on.
    pub train: Part,
    /// The samples held out to steer by.
    pub validation: Option<Part>,
    /// The samples to judge by.
    pub test: Option<Part>,
    /// The names of the classes, in the order of their labels.
    pub classes: Vec<String>,
    /// How pixels become numbers.
    pub normalizer: Normalizer,
    /// SHA-256 over shapes, pixels and labels of the whole training and test sets, before any limit or split.
    pub checksum: String,
}

/// Loads what `config` names.
///
/// # Errors
///
/// When it is missing, damaged, or does not fit together.
pub fn load(config: &Config, seed: Seed) -> Result<Data, DataError> {
    let (train, test, classes) = read(config)?;
    let mut hash = Sha256::new();
    train.hash_into(&mut hash);
    if let Some(test) = &test {
        test.hash_into(&mut hash);
    }
    let classes = checked_classes(&train, test.as_ref(), classes)?;
    let all = Part::all(Arc::new(train));
    let limited = match config.train_limit {
        0 => all.clone(),
        limit if limit <= all.count() => all.select(all.indices()[..limit].to_vec()),
        limit => {
            let message = format!("`data.train_limit` is {limit}, but the set has {} training samples", all.count());
            return Err(DataError::Set(message));
        }
    };
    let before = all.class_counts(classes.len());
    let after = limited.class_counts(classes.len());
    if let Some(lost) = before.iter().zip(&after).position(|(before, after)| *before > 0 && *after == 0) {
        let message = format!(
            "the first {} training samples have none of class `{}`; use a larger `data.train_limit`, or data in a mixed order",
            limited.count(),
            classes[lost]
        );
        return Err(DataError::Set(message));
    }
    let (train, validation) = match config.validation.get() {
        0.0 => (limited, None),
        fraction => split::hold_out(&limited, classes.len(), fraction, seed).map(|(train, held)| (train, Some(held)))?,
    };
    let normalizer = Normalizer::new(config.normalization, &train)?;
    let test = test.map(|test| Part::all(Arc::new(test)));
    Ok(Data { train, validation, test, classes, normalizer, checksum: hex(hash) })
}

type Sets = (Images, Option<Images>, Option<Vec<String>>);

fn read(config: &Config) -> Result<Sets, DataError> {
    let dir = config.dir.as_deref();
    let known = |set: &KnownSet| -> Result<Sets, DataError> {
        let (train, test) = set.load(dir)?;
        Ok((train, Some(test), Some(set.classes.map(str::to_owned).to_vec())))
    };
    match config.source {
        Source::MnistMini => {
            let (train, test) = mnist_mini::load()?;
            Ok((train, Some(test), Some(MNIST.classes.map(str::to_owned).to_vec())))
        }
        Source::Mnist => known(&MNIST),
        Source::FashionMnist => known(&FASHION_MNIST),
        Source::Idx => {
            let pair = |images: Option<&Path>, labels: Option<&Path>| match (dir, images, labels) {
                (Some(dir), Some(images), Some(labels)) => Some(idx::read_pair(&dir.join(images), &dir.join(labels))),
                _ => None,
            };
            let train = pair(config.train_images.as_deref(), config.train_labels.as_deref())
                .ok_or_else(|| DataError::Set("source `idx` names no training files".to_owned()))??;
            let test = pair(config.test_images.as_deref(), config.test_labels.as_deref()).transpose()?;
            Ok((train, test, config.classes.clone()))
        }
        Source::Folder => {
            let [height, width] = config.image_size.map_or([28; 2], |size| size.map(Count::get));
            let channels = config.image_channels.map_or(1, Count::get);
            let dir = dir.ok_or_else(|| DataError::Set("source `folder` names no folder".to_owned()))?;
            let (train, test, classes) = folder::load(dir, Shape { channels, height, width }, config.resize.unwrap_or_default())?;
            Ok((train, test, Some(classes)))
        }
    }
}

/// The names of the classes, once every label is known to have one and test images are known to have the training images' shape.
fn checked_classes(train: &Images, test: Option<&Images>, names: Option<Vec<String>>) -> Result<Vec<String>, DataError> {
    if let Some(test) = test.filter(|test| test.shape != train.shape) {
        let message = format!("training images are {}, but test images are {} (height×width×channels)", train.shape, test.shape);
        return Err(DataError::Set(message));
    }
    let largest = train.labels.iter().chain(test.iter().flat_map(|test| &test.labels)).max().copied().unwrap_or(0);
    let names = names.unwrap_or_else(|| (0..=largest).map(|label| label.to_string()).collect());
    if largest as usize >= names.len() {
        let message = format!("a label is {largest}, but `data.classes` names {} classes, counted from 0", names.len());
        return Err(DataError::Set(message));
    }
    if names.len() < 2 {
        return Err(DataError::Set("every label is 0; a classifier needs at least 2 classes".to_owned()));
    }
    Ok(names)
}
