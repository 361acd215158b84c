//! The sets that a config names, before any limit or split.

use std::path::Path;

use super::decode::decode;
use super::decoded_cache::DecodedCache;
use super::folder::{self, Listing, Selection};
use super::{CIFAR10, DataError, Decoding, FASHION_MNIST, Images, KnownSet, LeftOut, MNIST, Preprocess, Progress, Shape, idx, mnist_mini};
use crate::config::number::Count;
use crate::config::{Damaged, Data as Config, Source};

/// Training, validation and test images, as they are in their files.
#[derive(Debug, Default)]
pub(super) struct Sets {
    pub(super) splits: [Option<Images>; 3],
    /// The names of the classes; none where labels are their only names.
    pub(super) classes: Option<Vec<String>>,
    /// What was found and not read.
    pub(super) left_out: LeftOut,
    /// What the user should know.
    pub(super) warnings: Vec<String>,
}

impl Sets {
    /// Reads what `config` names.
    pub(super) fn read(config: &Config, decoding: Decoding, progress: Progress) -> Result<Self, DataError> {
        let dir = config.dir.as_deref();
        let known = |set: &KnownSet| {
            let (train, test) = set.load(dir)?;
            Ok(Self::of(train, Some(test), Some(set.classes.map(str::to_owned).to_vec())))
        };
        match config.source {
            Source::MnistMini => {
                let (train, test) = mnist_mini::load()?;
                Ok(Self::of(train, Some(test), Some(MNIST.classes.map(str::to_owned).to_vec())))
            }
            Source::Mnist => known(&MNIST),
            Source::FashionMnist => known(&FASHION_MNIST),
            Source::Cifar10 => known(&CIFAR10),
            Source::Idx => Self::from_idx(config, needed(dir)?),
            Source::Folder => Self::from_folder(config, needed(dir)?, decoding, progress),
        }
    }

    fn of(train: Images, test: Option<Images>, classes: Option<Vec<String>>) -> Self {
        Self { splits: [Some(train), None, test], classes, ..Self::default() }
    }

    fn from_idx(config: &Config, dir: &Path) -> Result<Self, DataError> {
        let pair = |images: Option<&Path>, labels: Option<&Path>, words: &[&str]| {
            let (Some(images), Some(labels)) = (images, labels) else { return idx::find_pair(dir, words) };
            // A name that is not found is told as it was given.
            Ok(Some([images, labels].map(|name| idx::find(dir, name).unwrap_or_else(|| dir.join(name)))))
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

    fn from_folder(config: &Config, dir: &Path, decoding: Decoding, progress: Progress) -> Result<Self, DataError> {
        let [height, width] = config.image_size.map_or([28; 2], |size| size.map(Count::get));
        let channels = config.image_channels.map_or(1, Count::get);
        let preprocess = Preprocess { shape: Shape { channels, height, width }, resize: config.resize.unwrap_or_default(), decoding };
        let selection = if decoding == Decoding::Full { Selection::Former } else { Selection::All };
        let listing = folder::list(dir, selection)?;
        let (damaged, is_kept) = (config.damaged.unwrap_or_default(), config.cache.unwrap_or(true));
        Self::decoded(dir, listing, &preprocess, damaged, is_kept, progress)
    }

    /// The images in `dir`, one subfolder for each of some of `classes`, as the last of the splits.
    pub(super) fn labelled(
        dir: &Path,
        classes: &[String],
        preprocess: &Preprocess,
        damaged: Damaged,
        progress: Progress,
    ) -> Result<Self, DataError> {
        Self::decoded(dir, folder::list_labelled(dir, classes)?, preprocess, damaged, true, progress)
    }

    fn decoded(
        dir: &Path,
        listing: Listing,
        preprocess: &Preprocess,
        damaged: Damaged,
        is_kept: bool,
        progress: Progress,
    ) -> Result<Self, DataError> {
        let cache = if is_kept { DecodedCache::new(dir, &listing, preprocess, damaged) } else { None };
        let mut warnings = Vec::new();
        let decoded = if let Some(decoded) = cache.as_ref().and_then(|cache| cache.read(preprocess)) {
            decoded
        } else {
            let decoded = decode(&listing, preprocess, damaged, progress)?;
            if let Some(Err(error)) = cache.map(|cache| cache.write(&decoded)) {
                warnings.push(format!("the decoded images are not kept for the next start: {error} ({})", error.source));
            }
            decoded
        };
        warnings.splice(0..0, listing.warnings);
        warnings.extend(decoded.damaged.iter().map(|file| format!("`{}` is left out: {}", file.path.display(), file.problem)));
        if !decoded.left_out.is_empty() {
            warnings.push(format!("not read in `{}`: {}", dir.display(), decoded.left_out));
        }
        Ok(Self { splits: decoded.splits, classes: Some(listing.classes), left_out: decoded.left_out, warnings })
    }

    /// The names of the classes, once every label is known to have one, training is known to have samples of all that the other splits have, and all
    /// images to have one shape. Classes without training samples are added to the warnings.
    pub(super) fn checked_classes(&mut self) -> Result<Vec<String>, DataError> {
        let [train, others @ ..] = &self.splits;
        let Some(train) = train else { return Err(DataError::Set("there are no training images".to_owned())) };
        let others = ["validation", "test"].into_iter().zip(others).filter_map(|(name, set)| Some((name, set.as_ref()?)));
        let largest = train.labels.iter().chain(others.clone().flat_map(|(_, set)| &set.labels)).max().copied().unwrap_or(0);
        let names = self.classes.clone().unwrap_or_else(|| (0..=largest).map(|label| label.to_string()).collect());
        if largest as usize >= names.len() {
            let message = format!("a label is {largest}, but `data.classes` names {} classes, counted from 0", names.len());
            return Err(DataError::Set(message));
        }
        if names.len() < 2 {
            return Err(DataError::Set("every label is 0; a classifier needs at least 2 classes".to_owned()));
        }
        let trained = present(train, names.len());
        for (split, set) in others {
            if set.shape != train.shape {
                let message = format!("training images are {}, but {split} images are {} (height×width×channels)", train.shape, set.shape);
                return Err(DataError::Set(message));
            }
            let strange = present(set, names.len()).iter().zip(&trained).position(|(here, trained)| *here && !trained);
            if let Some(label) = strange {
                let message = format!("{split} samples have the label {label} (class `{}`), but no training sample has it", names[label]);
                return Err(DataError::Set(message));
            }
        }
        let empty: Vec<String> =
            trained.iter().zip(&names).filter(|(trained, _)| !**trained).map(|(_, name)| format!("`{name}`")).collect();
        if !empty.is_empty() {
            let first = trained.iter().position(|trained| *trained).unwrap_or(0);
            let from = if first > 0 { format!("; labels start at {first}, while classes are counted from 0") } else { String::new() };
            let shown = empty.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            let more = if empty.len() > 5 { format!(" and {} more", empty.len() - 5) } else { String::new() };
            self.warnings.push(format!("no training sample is of class {shown}{more}{from}"));
        }
        Ok(names)
    }
}

fn needed(dir: Option<&Path>) -> Result<&Path, DataError> {
    dir.ok_or_else(|| DataError::Set("the data source names no folder; set `data.dir`".to_owned()))
}

/// Which of so many classes have images.
fn present(images: &Images, classes: usize) -> Vec<bool> {
    let mut present = vec![false; classes];
    images.labels.iter().for_each(|label| present[*label as usize] = true);
    present
}
