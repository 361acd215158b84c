//! What reports show of the kept network: its measures on one split, and some of its samples.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::config::CheckpointKind;
use crate::data::{Picture, Subset};
use crate::metrics::{Classification, Measures, Metrics, ProbabilityCounts, Scored};
use crate::network::Predictor;
use crate::task::{ExamplePictures, PictureScore, Score, Task};

/// The number of listed samples of each kind.
const LISTED: usize = 12;
/// The number of pictures that are shown with input, output and target.
const PICTURES: usize = 4;
/// The largest side of an image in pixels.
const LARGEST_SIDE: usize = 64;

/// `evaluation.json`: the kept network on the test split; without one on the validation split, or else on the training split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The split.
    pub split: MeasuredSplit,
    /// The checkpoint that `train.keep` selects.
    pub checkpoint: CheckpointKind,
    /// Its epoch, from 1.
    pub epoch: u64,
    /// The mean of each metric of the task, for a denoising network also of the noisy pictures.
    pub metrics: Metrics,
    /// The measures of a classifier.
    pub classification: Option<Classification>,
    /// Of a classifier of up to 100 classes: the probabilities of each class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probability_counts: Vec<ProbabilityCounts>,
    /// The wrong predictions of the highest probability.
    pub confident_mistakes: Vec<EvaluatedSample>,
    /// The samples of the highest loss.
    pub highest_losses: Vec<EvaluatedSample>,
    /// Of a denoising network: pictures from the lowest to the highest PSNR.
    pub pictures: Vec<EvaluatedPicture>,
}

/// A split that is measured after training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MeasuredSplit {
    /// The training split.
    Train,
    /// The validation split.
    Validation,
    /// The test split.
    Test,
}

/// A classified sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluatedSample {
    /// Its index in the split, from 0.
    pub index: usize,
    /// Its file. `None` if images are not files of their own.
    pub file: Option<String>,
    /// The actual class.
    pub label: String,
    /// The most probable class.
    pub prediction: String,
    /// The probability of that class.
    pub probability: f64,
    /// The cross-entropy in nats.
    pub loss: f64,
    /// The image as a PNG file in base64, no larger than 64×64. `None` if it is neither grey nor colour.
    pub image: Option<String>,
}

/// A denoised picture. The images are PNG files in base64, of the middle of a large picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluatedPicture {
    /// Its index in the split, from 0.
    pub index: usize,
    /// Its file. `None` if images are not files of their own.
    pub file: Option<String>,
    /// The mean squared error of the whole picture.
    pub loss: f64,
    /// The PSNR of the whole picture in dB.
    pub psnr: f64,
    /// The PSNR of the whole noisy picture in dB.
    pub noisy_psnr: Option<f64>,
    /// What the network gets.
    pub input: Option<String>,
    /// What it gives.
    pub output: Option<String>,
    /// What it should give.
    pub target: Option<String>,
}

/// Collects the samples to list while a split is measured.
#[derive(Default)]
pub(super) struct Collected {
    counts: Vec<ProbabilityCounts>,
    mistakes: Vec<(usize, Scored)>,
    losses: Vec<(usize, Scored)>,
    pictures: Vec<(usize, PictureScore)>,
}

impl Collected {
    /// Nothing yet, for a network with these classes.
    pub(super) fn new(classes: usize) -> Self {
        Self { counts: ProbabilityCounts::of_classes(classes), ..Self::default() }
    }

    pub(super) fn add(&mut self, index: usize, score: Score) {
        match score {
            Score::Class(scored, logits) => {
                ProbabilityCounts::add(&mut self.counts, logits, scored.label);
                insert(&mut self.losses, (index, scored), |scored| scored.loss);
                if scored.predicted != scored.label {
                    insert(&mut self.mistakes, (index, scored), |scored| scored.probability);
                }
            }
            Score::Picture(score) => self.pictures.push((index, score)),
        }
    }
}

/// Keeps the list sorted by decreasing `key`, and short.
fn insert(list: &mut Vec<(usize, Scored)>, new: (usize, Scored), key: fn(&Scored) -> f64) {
    let at = list.partition_point(|(_, listed)| key(listed) >= key(&new.1));
    if at < LISTED {
        list.insert(at, new);
        list.truncate(LISTED);
    }
}

/// The measured network.
pub(super) struct Evaluated<'a> {
    pub(super) split: MeasuredSplit,
    pub(super) subset: &'a Subset,
    pub(super) checkpoint: CheckpointKind,
    pub(super) epoch: u64,
    pub(super) task: &'a dyn Task,
    pub(super) predictor: &'a Predictor,
    pub(super) classes: &'a [String],
}

impl Evaluated<'_> {
    /// The evaluation, with the images of what was collected. Returns `None` if `goes_on` returns `false`, which is asked before each picture.
    pub(super) fn evaluation(&self, measures: &Measures, collected: Collected, goes_on: &dyn Fn() -> bool) -> Option<Evaluation> {
        let metrics = match measures {
            Measures::Classification(_) => measures.metrics(),
            Measures::Means(means) => means.metrics.clone().into_iter().chain(means.input_metrics.clone()).collect(),
        };
        let samples = |list: Vec<(usize, Scored)>| list.into_iter().map(|(index, scored)| self.sample(index, scored)).collect();
        let mut pictures = Vec::new();
        for (index, score) in spread(collected.pictures) {
            if !goes_on() {
                return None;
            }
            pictures.push(self.picture(index, &score));
        }
        Some(Evaluation {
            split: self.split,
            checkpoint: self.checkpoint,
            epoch: self.epoch,
            metrics,
            classification: measures.classification().cloned(),
            probability_counts: collected.counts,
            confident_mistakes: samples(collected.mistakes),
            highest_losses: samples(collected.losses),
            pictures,
        })
    }

    fn sample(&self, index: usize, scored: Scored) -> EvaluatedSample {
        let Scored { label, predicted, probability, loss } = scored;
        let picture = Picture { shape: self.subset.shape_of(index), pixels: self.subset.pixels(index).into_owned() };
        EvaluatedSample {
            index,
            file: self.file(index),
            label: self.classes[label].clone(),
            prediction: self.classes[predicted].clone(),
            probability,
            loss,
            image: encoded(&picture.shrunk(LARGEST_SIDE)),
        }
    }

    fn picture(&self, index: usize, score: &PictureScore) -> EvaluatedPicture {
        let images = self.task.example(self.predictor, self.subset, index);
        let image = |of: fn(&ExamplePictures) -> &Picture| images.as_ref().and_then(|images| encoded(of(images)));
        EvaluatedPicture {
            index,
            file: self.file(index),
            loss: score.loss,
            psnr: score.psnr,
            noisy_psnr: score.noisy.map(|noisy| noisy.psnr),
            input: image(|images| &images.input),
            output: image(|images| &images.output),
            target: image(|images| &images.target),
        }
    }

    fn file(&self, index: usize) -> Option<String> {
        self.subset.file(index).map(|file| file.display().to_string())
    }
}

/// Some pictures, from the lowest PSNR to the highest in equal steps of rank.
fn spread(mut pictures: Vec<(usize, PictureScore)>) -> Vec<(usize, PictureScore)> {
    pictures.sort_by(|(_, one), (_, other)| one.psnr.total_cmp(&other.psnr));
    let (count, shown) = (pictures.len(), pictures.len().min(PICTURES));
    (0..shown).map(|at| pictures[if shown > 1 { at * (count - 1) / (shown - 1) } else { 0 }]).collect()
}

fn encoded(picture: &Picture) -> Option<String> {
    Some(STANDARD.encode(picture.to_png()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(label: usize, predicted: usize, probability: f64, loss: f64) -> Score<'static> {
        Score::Class(Scored { label, predicted, probability, loss }, &[])
    }

    #[test]
    fn the_worst_samples_are_collected_in_order() {
        let mut collected = Collected::default();
        for index in 0_u32..40 {
            let rank = f64::from(index * 7 % 40) / 40.0;
            collected.add(index as usize, scored(0, (index % 2) as usize, rank, 1.0 - rank));
        }
        let indices = |list: &[(usize, Scored)]| list.iter().map(|(index, _)| *index).collect::<Vec<_>>();
        // 7·index mod 40 is 39, 37, 35, … for the wrong ones, which are the odd ones, and 0, 1, 2, … for the loss.
        assert_eq!(indices(&collected.mistakes)[..4], [17, 11, 5, 39]);
        assert_eq!(indices(&collected.losses)[..4], [0, 23, 6, 29]);
        assert_eq!((collected.mistakes.len(), collected.losses.len()), (12, 12));
    }

    #[test]
    fn pictures_are_spread_over_the_ranks() {
        let score = |psnr| PictureScore { loss: 0.0, psnr, ssim: None, noisy: None };
        let pictures = |count: u32| (0..count).map(|index| (index as usize, score(f64::from(count - index)))).collect();
        let indices = |count| spread(pictures(count)).iter().map(|(index, _)| *index).collect::<Vec<_>>();
        assert_eq!([indices(10), indices(4), indices(1), indices(0)], [vec![9, 6, 3, 0], vec![3, 2, 1, 0], vec![0], vec![]]);
    }
}
