//! Evaluation of a trained network on its data or on new images.

mod predictions;

use std::path::Path;

pub use predictions::PredictionsFile;
use serde::Serialize;

use crate::config::Damaged;
use crate::data::{DataError, FolderOptions, LabelledFolder, Progress, Subset, load_labelled};
use crate::error::Error;
use crate::metrics::{Measures, Scored, measure_each};
use crate::trained::{Trained, TrainedRun};

/// The splits of the data of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The training split.
    Train,
    /// The validation split.
    Validation,
    /// The test split.
    Test,
}

impl Split {
    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Labelled samples for evaluation.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The samples.
    pub subset: Subset,
    /// Warnings for the user, such as files that were left out.
    pub warnings: Vec<String>,
}

/// The prediction for one labelled sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SamplePrediction {
    /// The file, or `#` and the index in the split (from 0) if it has no file.
    pub file: String,
    /// The actual class.
    pub label: String,
    /// The predicted class.
    pub prediction: String,
    /// The probability of that class.
    pub probability: f64,
    /// The cross-entropy in nats.
    pub loss: f64,
}

impl Samples {
    /// A split of the data of a run.
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
            let reason = match split {
                Split::Validation => "it has no validation folder, and `data.validation` is 0",
                _ => "its data source has no test split",
            };
            let others = "measure another split with `--split`, or new images with `--data DIR`";
            Error::Usage(format!("run `{}` has no {} split: {reason}; {others}", run.folder.path().display(), split.name()))
        })?;
        Ok(Self { subset, warnings: Vec::new() })
    }

    /// The images in `dir`, whose subfolders are named after classes of the network. Images that can't be decoded are left out with a warning.
    ///
    /// # Errors
    ///
    /// When a subfolder is not a class of the network, or there are no images.
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

    /// The name of one sample: its file, or `#` and its index.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        self.subset.file(index).map_or_else(|| format!("#{index}"), |file| file.display().to_string())
    }
}

/// Measures `trained` on `samples`. Calls `each` with every prediction, in order.
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
    measures.unwrap_or_else(|| unreachable!("the callback never stops it"))
}
