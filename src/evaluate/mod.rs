//! Evaluation of a trained network on its data or on new images.

mod predictions;

use std::path::Path;

pub use predictions::PredictionsFile;
use regulus_model::Task;
use serde::Serialize;

use crate::config::{DEFAULT_MEMORY, Damaged, Source};
use crate::data::{DataError, FolderOptions, LoadedFolder, Progress, Subset, load_labelled, load_pictures};
use crate::error::Error;
use crate::metrics::{Measures, Scored};
use crate::task::{self, PictureScore, Score};
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

/// Samples for evaluation.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The samples.
    pub subset: Subset,
    /// Warnings for the user, such as files that were left out.
    pub warnings: Vec<String>,
}

/// The prediction for one sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SamplePrediction {
    /// Of a classifier.
    Class(ClassPrediction),
    /// Of a network that gives pictures.
    Picture(PictureMeasures),
}

/// The prediction of a classifier for one labelled sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassPrediction {
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

/// The score of a denoised picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PictureMeasures {
    /// The file, or `#` and the index in the split (from 0) if it has no file.
    pub file: String,
    /// The mean squared error.
    pub loss: f64,
    /// The PSNR in dB.
    pub psnr: f64,
    /// The SSIM. `None` for a picture with fewer than 11 rows or columns.
    pub ssim: Option<f64>,
    /// The PSNR of the noisy picture in dB.
    pub noisy_psnr: Option<f64>,
    /// The SSIM of the noisy picture.
    pub noisy_ssim: Option<f64>,
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
            let reason = match (split, run.experiment.data.source) {
                (Split::Validation, _) => "`data.validation` holds no images out",
                (_, Source::Shards) => "there are no `data.test_shards`",
                (_, Source::Folder) => "there is no folder `test` in `data.dir`",
                (_, Source::Idx) => "there are no `data.test_images` and `data.test_labels`",
                _ => "the data were given without",
            };
            let others = "measure another split with `--split`, or new images with `--data DIR`";
            Error::Usage(format!("run `{}` has no {} split: {reason}; {others}", run.folder.path().display(), split.name()))
        })?;
        Ok(Self { subset, warnings: Vec::new() })
    }

    /// The images in `dir`, whose subfolders are named after classes of the network, those of the tar files in it, or all pictures in it if the network has no classes. Images that can't
    /// be decoded are left out with a warning.
    ///
    /// # Errors
    ///
    /// When a subfolder is not a class of the network, or there are no images.
    pub fn of_folder(trained: &Trained, dir: &Path, progress: Progress) -> Result<Self, Error> {
        let description = &trained.description;
        if description.task != Task::Classify {
            description.preprocess().map_err(DataError::Dataset)?;
            let LoadedFolder { subset, warnings, .. } = load_pictures(dir, description.graph.input().channels, progress)?;
            task::of_trained(description.task).check_subset(&description.graph, &subset)?;
            return Ok(Self { subset, warnings });
        }
        let cache = trained.run().is_none_or(|run| run.experiment.data.cache != Some(false));
        let preprocess = description.preprocess().map_err(DataError::Dataset)?;
        let memory = trained.run().map_or(DEFAULT_MEMORY, |run| run.experiment.data.memory());
        let options = FolderOptions { preprocess: &preprocess, damaged: Damaged::Skip, cache, memory, at_once: None, progress };
        let LoadedFolder { subset, mut warnings, .. } = load_labelled(dir, &description.classes, options)?;
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
    let mut each = |index, score: Score| {
        let file = samples.name(index);
        each(match score {
            Score::Class(Scored { label, predicted, probability, loss }, _) => {
                SamplePrediction::Class(ClassPrediction { file, label: class(label), prediction: class(predicted), probability, loss })
            }
            Score::Picture(PictureScore { loss, psnr, ssim, noisy }) => {
                let (noisy_psnr, noisy_ssim) = noisy.map(|noisy| (noisy.psnr, noisy.ssim)).unzip();
                SamplePrediction::Picture(PictureMeasures { file, loss, psnr, ssim, noisy_psnr, noisy_ssim: noisy_ssim.flatten() })
            }
        });
    };
    let task = task::of_trained(trained.description.task);
    let measures = task.measure(&trained.predictor, &samples.subset, Some(&mut each), &mut |_| true);
    measures.unwrap_or_else(|| unreachable!("the callback never stops it"))
}
