//! Measuring a trained network, on its own data or on new images.

mod predictions;

use std::path::Path;

pub use predictions::PredictionsFile;
use serde::Serialize;

use crate::config::Damaged;
use crate::data::{DataError, FolderOptions, LabelledFolder, Progress, Subset, load_labelled};
use crate::error::Error;
use crate::metrics::{Measures, Scored, measure_each};
use crate::trained::{Trained, TrainedRun};

/// A split of the data of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// What it was trained on.
    Train,
    /// What was held out.
    Validation,
    /// The test set.
    Test,
}

impl Split {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Labelled samples to measure on.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The samples.
    pub subset: Subset,
    /// What the user should know of them, such as files that were left out.
    pub warnings: Vec<String>,
}

/// What a network says of one labelled sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SamplePrediction {
    /// Its file, or, where it has none of its own, `#` with its index in the split, counted from 0.
    pub file: String,
    /// Its class.
    pub label: String,
    /// The most probable class.
    pub prediction: String,
    /// The probability of that class.
    pub probability: f64,
    /// The cross-entropy in nats.
    pub loss: f64,
}

impl Samples {
    /// A split of a run's own data.
    ///
    /// # Errors
    ///
    /// When the data are missing or changed, or have no such split.
    pub fn of_split(run: &TrainedRun, split: Split, progress: Progress) -> Result<Self, Error> {
        let data = run.data(progress)?;
        let subset = match split {
            Split::Train => Some(data.train),
            Split::Validation => data.validation,
            Split::Test => data.test,
        };
        let subset = subset.ok_or_else(|| {
            let why = match split {
                Split::Validation => "it has no validation folder, and `data.validation` is 0",
                _ => "its data source names no test set",
            };
            let others = "measure another split with `--split`, or new images with `--data DIR`";
            Error::Usage(format!("run `{}` has no {} split: {why}; {others}", run.folder.path().display(), split.name()))
        })?;
        Ok(Self { subset, warnings: Vec::new() })
    }

    /// The images of `dir`, which has one subfolder for each class of the network, or for some of them. Images that can't be decoded are left out,
    /// with a warning.
    ///
    /// # Errors
    ///
    /// When it has a subfolder that is no class of the network, or no images.
    pub fn of_folder(trained: &Trained, dir: &Path, progress: Progress) -> Result<Self, Error> {
        let description = &trained.description;
        let cache = trained.run().is_none_or(|run| run.experiment.data.cache != Some(false));
        let preprocess = description.preprocess().map_err(DataError::Dataset)?;
        let options = FolderOptions { preprocess: &preprocess, damaged: Damaged::Skip, cache, progress };
        let LabelledFolder { subset, mut warnings, .. } = load_labelled(dir, &description.classes, options)?;
        let counts = subset.class_counts(description.classes.len());
        let empty: Vec<String> =
            description.classes.iter().zip(counts).filter(|(_, count)| *count == 0).map(|(class, _)| format!("`{class}`")).collect();
        if !empty.is_empty() {
            warnings.push(format!("`{}` has no images of {}", dir.display(), empty.join(", ")));
        }
        Ok(Self { subset, warnings })
    }

    /// The name of one sample: its file, or, where it has none of its own, `#` with its index.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        self.subset.file(index).map_or_else(|| format!("#{index}"), |file| file.display().to_string())
    }
}

/// Measures `trained` on `samples`; `each` gets what it says of every one, in order.
pub fn evaluate(trained: &Trained, samples: &Samples, each: &mut (dyn FnMut(SamplePrediction) + Send)) -> Measures {
    let class = |label: usize| trained.description.classes[label].clone();
    let mut each = |index, scored: Scored| {
        each(SamplePrediction {
            file: samples.name(index),
            label: class(scored.label),
            prediction: class(scored.predicted),
            probability: scored.probability,
            loss: scored.loss,
        });
    };
    let measures = measure_each(&trained.predictor, &samples.subset, &mut each, &mut |_| true);
    measures.unwrap_or_else(|| unreachable!("nobody stops it"))
}
