//! Batch normalization in training: by the statistics of the batch.
//!
//! A channel is computed by one thread, so that sums do not depend on how many there are.

use pulp::{Simd, WithSimd};

use crate::simd::Path;
use crate::split::each;

/// The sizes of a batch `[image, channel, position]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Images.
    pub batch: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Numbers of a channel.
    pub positions: usize,
}

impl Sizes {
    /// The numbers of a channel of every image.
    fn planes(self, numbers: &[f32], channel: usize) -> impl Iterator<Item = &[f32]> + Clone + use<'_> {
        let Self { channels, positions, .. } = self;
        numbers[channel * positions..].chunks(channels * positions).map(move |planes| &planes[..positions])
    }

    /// The numbers of each channel of every image, to be written.
    fn planes_mut(self, numbers: &mut [f32]) -> Vec<Vec<&mut [f32]>> {
        let mut planes: Vec<Vec<&mut [f32]>> = (0..self.channels).map(|_| Vec::with_capacity(self.batch)).collect();
        numbers.chunks_exact_mut(self.positions).enumerate().for_each(|(number, plane)| planes[number % self.channels].push(plane));
        planes
    }

    /// The numbers that share mean and variance.
    fn count(self) -> f64 {
        (self.batch * self.positions) as f64
    }

    fn check(self, slices: &[&[f32]], parameters: &[&[f32]]) {
        let Self { batch, channels, positions } = self;
        assert!(channels > 0 && positions > 0, "sizes of a batch with nothing in it: {self:?}");
        assert!(slices.iter().all(|slice| slice.len() == batch * channels * positions), "slices of {self:?}");
        assert!(parameters.iter().all(|parameter| parameter.len() == channels), "parameters of {channels} channels");
    }
}

/// The parameters of a batch normalization.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// γ of each channel.
    pub gamma: &'a [f32],
    /// β of each channel.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

/// What the forward pass gives.
#[derive(Debug)]
pub struct Normalized {
    /// `[image, channel, position]`.
    pub out: Vec<f32>,
    /// The mean of each channel.
    pub mean: Vec<f32>,
    /// The biased variance of each channel.
    pub variance: Vec<f32>,
}

/// (x − mean)/√(variance + epsilon)·γ + β for each channel, with mean and biased variance over images and positions.
///
/// # Panics
///
/// When the slices are not of these sizes.
#[must_use]
pub fn forward(path: Path, images: &[f32], sizes: Sizes, layer: Layer, threads: usize) -> Normalized {
    let Layer { gamma, beta, epsilon } = layer;
    sizes.check(&[images], &[gamma, beta]);
    let (mut mean, mut variance, mut out) = (vec![0.0; sizes.channels], vec![0.0; sizes.channels], vec![0.0; images.len()]);
    let statistics = mean.iter_mut().zip(&mut variance);
    let tasks = sizes.planes_mut(&mut out).into_iter().zip(statistics).enumerate().collect();
    each(threads, tasks, &|(channel, (out, (mean, variance)))| {
        let factors = [gamma[channel], beta[channel], epsilon];
        let forward = Forward { images: sizes.planes(images, channel), count: sizes.count(), factors, out };
        [*mean, *variance] = path.run(forward);
    });
    Normalized { out, mean, variance }
}

/// What the backward pass needs of the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// Its input.
    pub images: &'a [f32],
    /// The sizes of the input.
    pub sizes: Sizes,
    /// γ of each channel.
    pub gamma: &'a [f32],
    /// The mean of each channel.
    pub mean: &'a [f32],
    /// The biased variance of each channel.
    pub variance: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

/// What the backward pass gives.
#[derive(Debug)]
pub struct Gradients {
    /// `[image, channel, position]`.
    pub images: Vec<f32>,
    /// Of γ.
    pub gamma: Vec<f32>,
    /// Of β.
    pub beta: Vec<f32>,
}

/// The backward pass, through the statistics, too (Ioffe and Szegedy 2015, section 3). `gradient` is that of the output.
///
/// # Panics
///
/// When the slices are not of these sizes.
#[must_use]
pub fn backward(path: Path, saved: &Saved, gradient: &[f32], threads: usize) -> Gradients {
    let Saved { images, sizes, gamma, mean, variance, epsilon } = *saved;
    sizes.check(&[images, gradient], &[gamma, mean, variance]);
    let (mut of_gamma, mut of_beta, mut out) = (vec![0.0; sizes.channels], vec![0.0; sizes.channels], vec![0.0; images.len()]);
    let parameters = of_gamma.iter_mut().zip(&mut of_beta);
    let tasks = sizes.planes_mut(&mut out).into_iter().zip(parameters).enumerate().collect();
    each(threads, tasks, &|(channel, (out, (of_gamma, of_beta)))| {
        let planes = sizes.planes(images, channel).zip(sizes.planes(gradient, channel));
        let factors = [gamma[channel], mean[channel], variance[channel] + epsilon];
        [*of_gamma, *of_beta] = path.run(Backward { planes, count: sizes.count(), factors, out });
    });
    Gradients { images: out, gamma: of_gamma, beta: of_beta }
}

/// One channel forward.
struct Forward<'a, I> {
    images: I,
    count: f64,
    /// γ, β and epsilon.
    factors: [f32; 3],
    out: Vec<&'a mut [f32]>,
}

impl<'a, I: Iterator<Item = &'a [f32]> + Clone> WithSimd for Forward<'a, I> {
    /// Mean and variance.
    type Output = [f32; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f32; 2] {
        let Self { images, count, factors: [gamma, beta, epsilon], out } = self;
        let sum: f64 = images.clone().map(|plane| sum(simd, plane)).sum();
        #[expect(clippy::cast_possible_truncation, reason = "a statistic of float32")]
        let mean = (sum / count) as f32;
        let squares: f64 = images.clone().map(|plane| sum_of_squares(simd, plane, mean)).sum();
        #[expect(clippy::cast_possible_truncation, reason = "a statistic of float32")]
        let variance = (squares / count) as f32;
        let scale = gamma / (variance + epsilon).sqrt();
        for (to, from) in out.into_iter().zip(images) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = (from - mean) * scale + beta);
        }
        [mean, variance]
    }
}

/// One channel backward.
struct Backward<'a, I> {
    /// Of the images and of the gradient.
    planes: I,
    count: f64,
    /// γ, the mean, and the variance plus epsilon.
    factors: [f32; 3],
    out: Vec<&'a mut [f32]>,
}

impl<'a, I: Iterator<Item = (&'a [f32], &'a [f32])> + Clone> WithSimd for Backward<'a, I> {
    /// The gradients of γ and β.
    type Output = [f32; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f32; 2] {
        let Self { planes, count, factors: [gamma, mean, variance], out } = self;
        // Σ gradient and Σ gradient·(x − mean).
        let mut sums = [0.0_f64; 2];
        for (images, gradient) in planes.clone() {
            sums[0] += sum(simd, gradient);
            sums[1] += sum_of_products(simd, images, gradient, mean);
        }
        let inverse = 1.0 / f64::from(variance).sqrt();
        let scale = f64::from(gamma) * inverse;
        #[expect(clippy::cast_possible_truncation, reason = "factors of float32")]
        let [scale, of_distance, constant] =
            [scale, -scale * inverse * inverse * sums[1] / count, -scale * sums[0] / count].map(|factor| factor as f32);
        for (to, (images, gradient)) in out.into_iter().zip(planes) {
            for (to, (x, gradient)) in to.iter_mut().zip(images.iter().zip(gradient)) {
                *to = gradient * scale + ((x - mean) * of_distance + constant);
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "gradients are float32")]
        [(sums[1] * inverse) as f32, sums[0] as f32]
    }
}

/// Σ x of a plane: in float32 in each lane of four registers.
#[inline(always)]
fn sum<S: Simd>(simd: S, numbers: &[f32]) -> f64 {
    reduced(simd, numbers, numbers, |sum, x, _| simd.add_f32s(sum, x), |x, _| x)
}

/// Σ (x − mean)² of a plane.
#[inline(always)]
fn sum_of_squares<S: Simd>(simd: S, numbers: &[f32], mean: f32) -> f64 {
    let means = simd.splat_f32s(mean);
    let add = |sum, x, _| {
        let distance = simd.sub_f32s(x, means);
        simd.mul_add_e_f32s(distance, distance, sum)
    };
    reduced(simd, numbers, numbers, add, |x, _| (x - mean) * (x - mean))
}

/// Σ gradient·(x − mean) of a plane.
#[inline(always)]
fn sum_of_products<S: Simd>(simd: S, numbers: &[f32], gradient: &[f32], mean: f32) -> f64 {
    let means = simd.splat_f32s(mean);
    let add = |sum, x, gradient| simd.mul_add_e_f32s(simd.sub_f32s(x, means), gradient, sum);
    reduced(simd, numbers, gradient, add, |x, gradient| (x - mean) * gradient)
}

/// The sum over the numbers of two planes; `add` adds registers of both to one, `one` is what a single number adds.
#[inline(always)]
fn reduced<S: Simd>(
    simd: S,
    a: &[f32],
    b: &[f32],
    add: impl Fn(S::f32s, S::f32s, S::f32s) -> S::f32s,
    one: impl Fn(f32, f32) -> f32,
) -> f64 {
    let ((a, rest_a), (b, rest_b)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let mut sums = [simd.splat_f32s(0.0); 4];
    let ((fours_a, others_a), (fours_b, others_b)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    for (a, b) in fours_a.iter().zip(fours_b) {
        for i in 0..4 {
            sums[i] = add(sums[i], a[i], b[i]);
        }
    }
    for (a, b) in others_a.iter().zip(others_b) {
        sums[0] = add(sums[0], *a, *b);
    }
    let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| one(*a, *b)).sum();
    sums.into_iter().map(|sum| f64::from(simd.reduce_sum_f32s(sum))).sum::<f64>() + f64::from(rest)
}
