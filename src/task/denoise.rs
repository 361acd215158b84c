//! To remove Gaussian noise from pictures.

use std::sync::Arc;

use burn::nn::loss::{MseLoss, Reduction};
use burn::tensor::TensorData;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use regulus_model::graph::{Features, Graph, Shape};
use regulus_model::preprocess::Normalizer;

use super::turn::Turn;
use super::{ACTIVATION, BatchLoss, EachScore, GoesOn, Score, Task};
use crate::backend::keep_awake;
use crate::config::Implementation;
use crate::data::{Assemble, Batcher, DataError, HostBatch, HostTargets, Subset, Targets};
use crate::metrics::{Means, Measures, psnr, ssim};
use crate::network::{Output, Predictor};
use crate::seed::Seed;

/// The seed of the noise of measurements. It is the same for all networks, so that their measures can be compared.
const NOISE_SEED: Seed = Seed(0);
/// The PSNR that a picture without any error counts as, in dB.
const LARGEST_PSNR: f64 = 100.0;
/// The largest batch of patches in a measurement.
const BATCH: usize = 64;

/// Denoising: the network gets a picture with Gaussian noise and is to give the clean one. Values are pixel / 255, noise is not clipped, and the data loss
/// is the mean squared error over all pixels and channels. Training patches come in one of their eight flips and quarter turns.
#[derive(Clone, Copy, Debug)]
pub struct Denoise {
    /// The standard deviation of the noise, on pixels from 0 to 255.
    pub sigma: f64,
    /// The seed of turns and noise in training.
    pub seed: Seed,
}

/// The score of one picture. PSNR and SSIM are of values clipped to 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PictureScore {
    /// The mean squared error of the output, not clipped.
    pub loss: f64,
    /// The PSNR of the output in dB, at most 100.
    pub psnr: f64,
    /// The SSIM of the output; `None` for a picture with fewer than 11 rows or columns.
    pub ssim: Option<f64>,
    /// The PSNR of the noisy picture in dB.
    pub noisy_psnr: f64,
    /// The SSIM of the noisy picture.
    pub noisy_ssim: Option<f64>,
}

impl Denoise {
    /// Adds noise to values.
    fn add_noise(self, values: &mut [f32], rng: &mut ChaCha8Rng) {
        #[expect(clippy::cast_possible_truncation, reason = "a deviation as the network's float")]
        let deviation = (self.sigma / 255.0) as f32;
        for value in values {
            let drawn: f32 = StandardNormal.sample(rng);
            *value += deviation * drawn;
        }
    }

    /// The picture `index` with the noise of measurements.
    fn noisy(self, clean: &[f32], index: usize) -> Vec<f32> {
        let mut noisy = clean.to_vec();
        self.add_noise(&mut noisy, &mut NOISE_SEED.stream("noise of measurements", index as u64));
        noisy
    }

    /// The scores of the pictures `indices`, all of the input shape of `predictor`.
    fn scores(self, predictor: &Predictor, subset: &Subset, indices: &[usize], table: &[f32; 256]) -> Vec<PictureScore> {
        let shape = predictor.graph().input();
        let values = |index: &usize| -> Vec<f32> { subset.pixels(*index).iter().map(|pixel| table[usize::from(*pixel)]).collect() };
        let pictures: Vec<[Vec<f32>; 2]> = indices
            .par_iter()
            .map(|index| {
                let clean = values(index);
                let noisy = self.noisy(&clean, *index);
                [clean, noisy]
            })
            .collect();
        let input: Vec<f32> = pictures.iter().flat_map(|[_, noisy]| noisy.iter().copied()).collect();
        let output = predictor.forward(&input, indices.len());
        pictures
            .par_iter()
            .zip(output.par_chunks_exact(shape.size()))
            .map(|([clean, noisy], output)| score(clean, noisy, output, shape))
            .collect()
    }
}

fn score(clean: &[f32], noisy: &[f32], output: &[f32], shape: Shape) -> PictureScore {
    let clipped = |values: &[f32]| -> Vec<f32> { values.iter().map(|value| value.clamp(0.0, 1.0)).collect() };
    let (denoised, noisy) = (clipped(output), clipped(noisy));
    let square = |(found, clean): (&f32, &f32)| (f64::from(*found) - f64::from(*clean)).powi(2);
    PictureScore {
        loss: output.iter().zip(clean).map(square).sum::<f64>() / shape.size() as f64,
        psnr: psnr(&denoised, clean).min(LARGEST_PSNR),
        ssim: ssim(&denoised, clean, shape),
        noisy_psnr: psnr(&noisy, clean).min(LARGEST_PSNR),
        noisy_ssim: ssim(&noisy, clean, shape),
    }
}

/// The value of every byte: byte / 255.
fn values_of_bytes() -> [f32; 256] {
    Normalizer { mean: vec![0.0], deviation: vec![1.0] }.table()[0]
}

impl Task for Denoise {
    fn step_metrics(&self) -> &'static [&'static str] {
        &[]
    }

    fn output(&self, input: Shape, _: usize) -> Features {
        Features::Map(input)
    }

    fn check(&self, graph: &Graph, subset: &Subset) -> Result<(), DataError> {
        let mut last = None;
        for index in 0..subset.count() {
            let shape = subset.shape_of(index);
            if last.replace(shape) == Some(shape) {
                continue;
            }
            let problem = match graph.with_input(shape) {
                Ok(graph) if graph.output_features() == Features::Map(shape) => continue,
                Ok(graph) => format!("it gives {}", graph.output_features()),
                Err(error) => error.to_string(),
            };
            let named = subset.file(index).map_or_else(|| format!("picture {index}"), |file| format!("`{}`", file.display()));
            let problem = format!(
                "the network can't denoise {named} of {shape} (height×width×channels): {problem}; use layers that keep the size of any picture"
            );
            return Err(DataError::Dataset(problem));
        }
        Ok(())
    }

    fn assembler(&self, subset: &Subset, batcher: &Batcher, epoch: u64) -> Arc<Assemble> {
        let (denoise, subset, tables) = (*self, subset.clone(), batcher.tables().to_vec());
        Arc::new(move |indices| {
            let shape = subset.shape();
            let (area, size) = (shape.height * shape.width, indices.len() * shape.size());
            let (mut clean, mut noisy) = (Vec::with_capacity(size), Vec::with_capacity(size));
            for index in indices {
                let mut rng = denoise.seed.stream(&format!("patch {epoch}"), u64::from(*index));
                let turn = Turn::random(&mut rng);
                let first = clean.len();
                for (plane, table) in subset.pixels(*index as usize).chunks_exact(area).zip(&tables) {
                    turn.apply(plane, shape.width, table, &mut clean);
                }
                noisy.extend_from_slice(&clean[first..]);
                denoise.add_noise(&mut noisy[first..], &mut rng);
            }
            let dims = [indices.len(), shape.channels, shape.height, shape.width];
            HostBatch { images: TensorData::new(noisy, dims), targets: HostTargets::Images(TensorData::new(clean, dims)) }
        })
    }

    fn loss(&self, _: Implementation, output: Output, targets: Targets) -> BatchLoss {
        BatchLoss { loss: MseLoss::new().forward(output.map(), targets.images(), Reduction::Mean), metrics: Vec::new() }
    }

    fn measure_each(&self, predictor: &Predictor, subset: &Subset, each: &mut EachScore, goes_on: &mut GoesOn) -> Option<Measures> {
        predictor.threads().run(|| {
            let table = values_of_bytes();
            let mut scores = Vec::with_capacity(subset.count());
            let mut sized = predictor.clone();
            while scores.len() < subset.count() {
                keep_awake();
                let first = scores.len();
                let shape = subset.shape_of(first);
                if sized.graph().input() != shape {
                    sized = predictor.with_input(shape).unwrap_or_else(|error| unreachable!("`Task::check` checks it: {error}"));
                }
                let most = (ACTIVATION / sized.graph().largest_features()).clamp(1, BATCH);
                let indices: Vec<usize> = (first..subset.count()).take(most).take_while(|index| subset.shape_of(*index) == shape).collect();
                for (index, score) in indices.iter().zip(self.scores(&sized, subset, &indices, &table)) {
                    each(*index, Score::Picture(score));
                    scores.push(score);
                }
                if !goes_on(scores.len() as u64) {
                    return None;
                }
            }
            Some(Measures::Means(means(&scores)))
        })
    }
}

/// The means over all pictures; of the SSIM over those that have one.
fn means(scores: &[PictureScore]) -> Means {
    let mean = |of: &dyn Fn(&PictureScore) -> Option<f64>| {
        let values: Vec<f64> = scores.iter().filter_map(of).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let named = |pairs: [(&str, Option<f64>); 2]| pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Means {
        count: scores.len() as u64,
        data_loss: mean(&|score| Some(score.loss)).unwrap_or(f64::NAN),
        metrics: named([("psnr", mean(&|score| Some(score.psnr))), ("ssim", mean(&|score| score.ssim))]),
        input_metrics: named([("noisy_psnr", mean(&|score| Some(score.noisy_psnr))), ("noisy_ssim", mean(&|score| score.noisy_ssim))]),
    }
}
