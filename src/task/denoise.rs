//! To remove Gaussian noise from pictures.

use std::sync::Arc;

use burn::nn::loss::{MseLoss, Reduction};
use burn::tensor::TensorData;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use regulus_model::graph::{Features, Graph, Shape};
use regulus_model::preprocess::Normalizer;

use super::symmetry::Symmetry;
use super::{ACTIVATION, BatchLoss, ExamplePictures, OnProgress, OnScore, Score, Task};
use crate::backend::keep_awake;
use crate::config::Implementation;
use crate::data::{Assemble, Batcher, HostBatch, HostTargets, Picture, Subset, Targets};
use crate::metrics::{Means, Measures, psnr, ssim};
use crate::network::{Output, PicturePredictor, Predictor};
use crate::seed::Seed;

/// The seed of the noise of measurements. It is the same for all networks, so that their measures can be compared.
const NOISE_SEED: Seed = Seed(0);
/// The PSNR that a picture without any error counts as, in dB.
const LARGEST_PSNR: f64 = 100.0;
/// The largest side of a picture that is an example.
const EXAMPLE: usize = 128;
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
    /// The measures of the noisy picture, where they are asked for.
    pub noisy: Option<NoisyScore>,
}

/// The score of a noisy picture. PSNR and SSIM are of values clipped to 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoisyScore {
    /// The PSNR in dB, at most 100.
    pub psnr: f64,
    /// The SSIM; `None` for a picture with fewer than 11 rows or columns.
    pub ssim: Option<f64>,
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

    /// The scores of the pictures `indices`, all of one shape.
    fn scores(self, predictor: &mut PicturePredictor, subset: &Subset, indices: &[usize], with_noisy: bool) -> Vec<PictureScore> {
        let table = values_of_bytes();
        let shape = subset.shape_of(indices[0]);
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
        let output = match predictor.whole(shape) {
            Ok(Some(whole)) => Ok(whole.forward(&input, indices.len())),
            Ok(None) => predictor.forward(&input, shape),
            Err(error) => Err(error),
        };
        let output = output.unwrap_or_else(|error| unreachable!("`Task::check` checks it: {error}"));
        let scored = pictures.par_iter().zip(output.par_chunks_exact(shape.size()));
        scored.map(|([clean, noisy], output)| score(clean, with_noisy.then_some(noisy.as_slice()), output, shape)).collect()
    }
}

/// The score of the output for a picture, and, if it is given, of the noisy picture.
fn score(clean: &[f32], noisy: Option<&[f32]>, output: &[f32], shape: Shape) -> PictureScore {
    let clipped = |values: &[f32]| -> Vec<f32> { values.iter().map(|value| value.clamp(0.0, 1.0)).collect() };
    let denoised = clipped(output);
    let square = |(found, clean): (&f32, &f32)| (f64::from(*found) - f64::from(*clean)).powi(2);
    PictureScore {
        loss: output.iter().zip(clean).map(square).sum::<f64>() / shape.size() as f64,
        psnr: capped_psnr(&denoised, clean),
        ssim: ssim(&denoised, clean, shape),
        noisy: noisy.map(|noisy| {
            let noisy = clipped(noisy);
            NoisyScore { psnr: capped_psnr(&noisy, clean), ssim: ssim(&noisy, clean, shape) }
        }),
    }
}

/// The PSNR, at most 100 dB. NaN stays NaN.
fn capped_psnr(picture: &[f32], clean: &[f32]) -> f64 {
    let psnr = psnr(picture, clean);
    if psnr > LARGEST_PSNR { LARGEST_PSNR } else { psnr }
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

    fn check(&self, graph: &Graph, shape: Shape) -> Result<(), String> {
        PicturePredictor::check(graph, shape)
    }

    fn assembler(&self, subset: &Subset, batcher: &Batcher, epoch: u64) -> Arc<Assemble> {
        let (denoise, subset, tables) = (*self, subset.clone(), batcher.tables().to_vec());
        Arc::new(move |indices| {
            let shape = subset.shape();
            let (area, size) = (shape.height * shape.width, indices.len() * shape.size());
            let (mut clean, mut noisy) = (Vec::with_capacity(size), Vec::with_capacity(size));
            for index in indices {
                let mut rng = denoise.seed.stream(&format!("patch {epoch}"), u64::from(*index));
                let symmetry = Symmetry::random(&mut rng);
                let first = clean.len();
                for (plane, table) in subset.pixels(*index as usize).chunks_exact(area).zip(&tables) {
                    symmetry.apply(plane, shape.width, table, &mut clean);
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

    fn measure(
        &self,
        predictor: &Predictor,
        subset: &Subset,
        mut each: Option<&mut OnScore>,
        on_progress: &mut OnProgress,
    ) -> Option<Measures> {
        predictor.threads().run(|| {
            let mut scores = Vec::with_capacity(subset.count());
            let mut pictures = PicturePredictor::new(predictor);
            while scores.len() < subset.count() {
                keep_awake();
                let first = scores.len();
                let shape = subset.shape_of(first);
                let whole = pictures.whole(shape).unwrap_or_else(|error| unreachable!("`Task::check` checks it: {error}"));
                let most = whole.map_or(1, |whole| (ACTIVATION / whole.graph().largest_features()).clamp(1, BATCH));
                let indices: Vec<usize> = (first..subset.count()).take(most).take_while(|index| subset.shape_of(*index) == shape).collect();
                for (index, score) in indices.iter().zip(self.scores(&mut pictures, subset, &indices, each.is_some())) {
                    if let Some(each) = &mut each {
                        each(*index, Score::Picture(score));
                    }
                    scores.push(score);
                }
                if !on_progress(scores.len() as u64) {
                    return None;
                }
            }
            Some(Measures::Means(means(&scores)))
        })
    }

    fn example(&self, predictor: &Predictor, subset: &Subset, index: usize) -> Option<ExamplePictures> {
        let table = values_of_bytes();
        let whole: Vec<f32> = subset.pixels(index).iter().map(|pixel| table[usize::from(*pixel)]).collect();
        let noisy = self.noisy(&whole, index);
        let shape = subset.shape_of(index);
        // Only what the middle depends on is computed.
        let side = predictor.graph().receptive_radius().map_or(usize::MAX, |radius| EXAMPLE + 2 * radius);
        let (input_shape, input) = middle(&noisy, shape, side);
        let output = predictor.threads().run(|| PicturePredictor::new(predictor).forward(&input, input_shape)).ok()?;
        Some(ExamplePictures { input: example(&noisy, shape), output: example(&output, input_shape), target: example(&whole, shape) })
    }
}

/// The middle of a picture of `shape`, no larger than `side`×`side`.
fn middle(values: &[f32], shape: Shape, side: usize) -> (Shape, Vec<f32>) {
    let (height, width) = (shape.height.min(side), shape.width.min(side));
    let (top, left) = ((shape.height - height) / 2, (shape.width - width) / 2);
    let row = |plane: usize, row: usize| &values[(plane * shape.height + top + row) * shape.width + left..][..width];
    let values = (0..shape.channels).flat_map(|plane| (0..height).flat_map(move |at| row(plane, at).iter().copied())).collect();
    (Shape { height, width, ..shape }, values)
}

/// The middle of a picture in bytes, values clipped to 0 to 1.
fn example(values: &[f32], shape: Shape) -> Picture {
    let (shape, values) = middle(values, shape, EXAMPLE);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clipped to the range of a byte")]
    let pixels = values.iter().map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
    Picture { shape, pixels }
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
        input_metrics: named([("noisy_psnr", mean(&|score| Some(score.noisy?.psnr))), ("noisy_ssim", mean(&|score| score.noisy?.ssim))]),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::*;
    use crate::backend::any_cpu;
    use crate::data::Images;

    const SHAPE: Shape = Shape { channels: 2, height: 40, width: 40 };

    /// 200 patches whose first channel is 51 and whose second is 204.
    fn patches() -> Subset {
        let patch = [vec![51; 1600], vec![204; 1600]].concat();
        Subset::all(Arc::new(Images::new(SHAPE, patch.repeat(200), Vec::new())))
    }

    #[test]
    fn training_noise_has_the_stated_deviation_and_depends_on_epoch_and_index_alone() {
        let batcher = Batcher::new(&Normalizer { mean: vec![0.0; 2], deviation: vec![1.0; 2] }, &any_cpu().device);
        let denoise = Denoise { sigma: 25.0, seed: Seed(7) };
        let (subset, values) = (patches(), |data: &TensorData| data.iter::<f64>().collect::<Vec<f64>>());
        let assembled = denoise.assembler(&subset, &batcher, 3)(&(0..200).collect::<Vec<u32>>());
        let HostTargets::Images(clean) = assembled.targets else { panic!("clean patches") };
        let (clean, noisy) = (values(&clean), values(&assembled.images));
        assert!(clean.iter().enumerate().all(|(at, value)| (value - if at / 1600 % 2 == 0 { 0.2 } else { 0.8 }).abs() < 1e-7));
        let noise: Vec<f64> = noisy.iter().zip(&clean).map(|(noisy, clean)| noisy - clean).collect();
        let mean = noise.iter().sum::<f64>() / noise.len() as f64;
        let deviation = (noise.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / noise.len() as f64).sqrt();
        // 640,000 values: the standard errors are 1.2e-4 and 0.9e-4.
        assert!(mean.abs() < 6e-4 && (deviation - 25.0 / 255.0).abs() < 5e-4, "{mean}, {deviation}");
        assert!(noisy.iter().any(|value| *value > 1.0), "noise is not clipped");
        let of = |epoch, indices: &[u32]| values(&denoise.assembler(&subset, &batcher, epoch)(indices).images);
        assert_eq!(of(3, &[17]), noisy[17 * 3200..18 * 3200]);
        assert_ne!(of(4, &[17]), of(3, &[17]));
    }

    #[test]
    fn the_loss_is_the_mean_over_all_pixels_and_channels() {
        let device = any_cpu().device;
        let output = Tensor::<4>::from_data([[[[0.5_f32, 0.0]], [[1.0, 1.0]]], [[[0.0, 0.0]], [[0.25, 0.0]]]], &device);
        let denoise = Denoise { sigma: 25.0, seed: Seed(7) };
        let loss = denoise.loss(Implementation::Fused, Output::Map(output.clone()), Targets::Images(output.zeros_like()));
        let loss: f32 = loss.loss.into_scalar();
        // (0.25 + 1 + 1 + 0.0625) / 8
        assert!((loss - 0.289_062_5).abs() < 1e-7, "{loss}");
    }

    #[test]
    fn the_middle_of_a_picture_by_hand() {
        let shape = Shape { channels: 2, height: 3, width: 4 };
        let values: Vec<f32> = (0_u8..24).map(f32::from).collect();
        assert_eq!(
            middle(&values, shape, 2),
            (Shape { channels: 2, height: 2, width: 2 }, vec![1.0, 2.0, 5.0, 6.0, 13.0, 14.0, 17.0, 18.0])
        );
        assert_eq!(middle(&values, shape, 128), (shape, values));
    }

    #[test]
    fn a_score_by_hand() {
        let shape = Shape { channels: 1, height: 1, width: 4 };
        let found = score(&[0.0, 0.5, 0.5, 1.0], Some(&[-0.5, 0.5, 0.6, 1.5]), &[-0.1, 0.5, 0.6, 1.2], shape);
        // Not clipped: (0.01 + 0.01 + 0.04) / 4. Clipped, only 0.1² is left: 10·log10(4 / 0.01).
        assert!((found.loss - 0.015).abs() < 1e-7);
        assert!((found.psnr - 26.020_6).abs() < 1e-4 && (found.noisy.unwrap().psnr - found.psnr).abs() < 1e-9);
        assert_eq!((found.ssim, found.noisy.unwrap().ssim), (None, None));
        let other = |output: f32| score(&[0.0; 4], None, &[output; 4], shape);
        assert!((other(-1.0).psnr - 100.0).abs() < 1e-12 && other(-1.0).noisy.is_none(), "at most 100");
        assert!(other(f32::NAN).psnr.is_nan() && other(f32::NAN).loss.is_nan());
    }
}
