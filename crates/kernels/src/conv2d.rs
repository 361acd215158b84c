//! A convolution by the fastest kernel for it, with its gradients. Images are channels-last.

use std::sync::Arc;

use rayon::prelude::*;

use crate::algorithm::Algorithm;
use crate::bf16::{self, Bf16};
use crate::buffers;
use crate::convolve::{self, Convolution, PackedWeights};
use crate::epilogue::{self, Addition, Affine, Steps};
use crate::moments::Moments;
use crate::scratch::Place;
use crate::simd::Path;
use crate::winograd::{self, Kernels, Pass, Sizes, Tile};

/// Channels from which on fewer multiplications pay for the transforms.
const CHANNELS: usize = 16;
/// Tiles of 4×4 of a batch below which gradients are computed in tiles of 2×2, whose kernels are a half to transform: 2.8 ms instead of 6.0 for the weights and 4.1 instead of
/// 7.3 for the images at one tile and 512 by 512 channels.
const FEW: usize = 16;
/// Pixels whose moments are computed at once.
pub(crate) const PIXELS: usize = 512;

/// The algorithm's tiles and the sizes for [`winograd`], where it computes the convolution.
fn tiled(algorithm: Algorithm, convolution: &Convolution, batch: usize) -> Option<(Tile, Sizes)> {
    if rounded(algorithm, convolution).is_some() {
        return None;
    }
    let tile = algorithm.tile()?;
    let Convolution { inputs, outputs, height, width, kernel, stride, padding, extra_padding, groups } = *convolution;
    let is_suitable = kernel == [3, 3]
        && stride == [1, 1]
        && padding[0] == padding[1]
        && padding[0] <= 2
        && extra_padding == [0, 0]
        && groups == 1
        && inputs.min(outputs) >= CHANNELS;
    is_suitable.then_some((tile, Sizes { batch, inputs, outputs, height, width, padding: padding[0] }))
}

/// Where the numbers are rounded to bfloat16.
fn rounded(algorithm: Algorithm, convolution: &Convolution) -> Option<Bf16> {
    match algorithm {
        Algorithm::Bf16(bf16) if convolution.groups == 1 => Some(bf16),
        _ => None,
    }
}

/// The tiles of the forward pass: of 2×2 where those of 4×4 would hang over so far that they take more products, as in maps of two rows. They follow from the convolution alone,
/// so that an output is the same bits in every batch.
fn tile_of(tile: Tile, sizes: Sizes) -> Tile {
    let takes_fewer = tiles(sizes, 2) * Tile::Two.products() < tiles(sizes, 4) * Tile::Four.products();
    if takes_fewer { Tile::Two } else { tile }
}

/// The tiles of gradients, which are computed once for a batch.
fn tile_of_gradients(tile: Tile, sizes: Sizes) -> Tile {
    if sizes.batch * tiles(sizes, 4) < FEW { Tile::Two } else { tile_of(tile, sizes) }
}

/// The tiles of an image, of so many outputs on a side.
fn tiles(sizes: Sizes, side: usize) -> usize {
    sizes.sides().map(|length| length.div_ceil(side)).iter().product()
}

/// A convolution with its weights as the kernels read them.
pub struct Conv2d {
    algorithm: Algorithm,
    convolution: Convolution,
    kernel: Kernel,
}

enum Kernel {
    Winograd {
        kernels: Arc<Kernels>,
        /// Those of the convolution, for images whose size takes other tiles; empty where there will be none.
        weights: Arc<[f32]>,
    },
    Direct(PackedWeights),
    Bf16(Path, Arc<bf16::Weights>),
}

impl Conv2d {
    /// A convolution with these weights, `[output, input of the group, row, column]`.
    ///
    /// # Panics
    ///
    /// When they are not of the convolution's sizes.
    #[must_use]
    pub fn new(path: Path, algorithm: Algorithm, convolution: Convolution, weights: &[f32], threads: usize) -> Self {
        Self::at(Place::Own, path, algorithm, convolution, weights, threads)
    }

    fn at(place: Place, path: Path, algorithm: Algorithm, convolution: Convolution, weights: &[f32], threads: usize) -> Self {
        let kernel = if let Some(bf16) = rounded(algorithm, &convolution) {
            Kernel::Bf16(path, Arc::new(bf16::Weights::new(place, bf16, &convolution, weights, threads)))
        } else if let Some((tile, sizes)) = tiled(algorithm, &convolution, 0) {
            let kernels = Arc::new(Kernels::at(place, path, tile_of(tile, sizes), weights, sizes.outputs, threads));
            // Only tiles of 4×4 may be others at another size.
            let is_kept = matches!(place, Place::Own) && tile == Tile::Four;
            let weights = if is_kept { weights.into() } else { Arc::default() };
            Kernel::Winograd { kernels, weights }
        } else {
            Kernel::Direct(PackedWeights::new(path, convolution, weights, threads))
        };
        Self { algorithm, convolution, kernel }
    }

    /// The same convolution of images of another size. It shares the weights, except where that size takes other tiles.
    #[must_use]
    pub fn resized(&self, height: usize, width: usize) -> Self {
        let convolution = Convolution { height, width, ..self.convolution };
        let kernel = match &self.kernel {
            Kernel::Winograd { kernels, weights } => {
                let tile = tiled(self.algorithm, &convolution, 0).map_or(kernels.tile, |(tile, sizes)| tile_of(tile, sizes));
                let has_others = tile != kernels.tile;
                let others = || Arc::new(Kernels::new(kernels.path, tile, weights, convolution.outputs, 2));
                Kernel::Winograd { kernels: if has_others { others() } else { Arc::clone(kernels) }, weights: Arc::clone(weights) }
            }
            Kernel::Direct(weights) => Kernel::Direct(weights.resized(height, width)),
            Kernel::Bf16(path, weights) => Kernel::Bf16(*path, Arc::clone(weights)),
        };
        Self { algorithm: self.algorithm, convolution, kernel }
    }

    /// The sizes.
    #[must_use]
    pub const fn convolution(&self) -> &Convolution {
        &self.convolution
    }

    /// Whether it is computed in tiles, with fewer multiplications.
    #[must_use]
    pub const fn is_tiled(&self) -> bool {
        matches!(self.kernel, Kernel::Winograd { .. })
    }

    /// Whether its numbers are rounded to bfloat16.
    #[must_use]
    pub const fn is_rounded(&self) -> bool {
        matches!(self.kernel, Kernel::Bf16(..))
    }

    /// The convolution of images, and the moments of its channels, where they are asked for. With `threads` 1 the caller's thread does all.
    ///
    /// # Shapes
    ///
    /// - images: `[image, row, column, input]`
    /// - output: `[image, row, column, output]`
    ///
    /// # Panics
    ///
    /// When the images are not of the convolution's sizes.
    #[must_use]
    pub fn forward(&self, images: &[f32], has_moments: bool, threads: usize) -> (Vec<f32>, Option<Moments>) {
        let Convolution { inputs, height, width, .. } = self.convolution;
        match &self.kernel {
            Kernel::Winograd { kernels, .. } => {
                let batch = images.len() / (inputs * height * width);
                let tiled = tiled(self.algorithm, &self.convolution, batch);
                let (_, sizes) = tiled.unwrap_or_else(|| unreachable!("the kernel was chosen by the same sizes and algorithm"));
                winograd::forward(&Pass { kernels, images, sizes, has_moments }, threads)
            }
            Kernel::Direct(weights) => convolve::forward(weights, images, has_moments, threads),
            Kernel::Bf16(path, weights) => bf16::forward(*path, weights, &self.convolution, images, has_moments, threads),
        }
    }

    /// The convolution of images and what follows it, with the bits of the two by themselves.
    ///
    /// # Panics
    ///
    /// When the slices are not of the convolution's sizes.
    #[must_use]
    pub fn forward_followed(&self, path: Path, images: &[f32], followed: Followed, threads: usize) -> Vec<f32> {
        followed.check(&self.convolution, images);
        // Together they write only what is left of the output.
        let together = match &self.kernel {
            Kernel::Winograd { .. } => None,
            _ if !followed.has_whole_rows(&self.convolution) => None,
            Kernel::Direct(weights) => Some(weights.blocks(images).followed(followed, threads)),
            Kernel::Bf16(path, weights) => Some(bf16::followed(*path, weights, &self.convolution, images, followed, threads)),
        };
        if let Some(out) = together {
            return out;
        }
        let Followed { steps, affine, other } = followed;
        let (out, _) = self.forward(images, false, threads);
        let ([height, width], channels) = (self.convolution.sides(), self.convolution.outputs);
        let sizes = epilogue::Sizes { batch: out.len() / (height * width * channels), height, width, channels };
        let done = epilogue::forward(path, sizes, steps, &out, affine, other, threads);
        buffers::recycle(out);
        done
    }
}

/// What follows a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Followed<'a> {
    /// Activation, addition and pool.
    pub steps: Steps,
    /// The factor and the summand of each channel.
    pub affine: &'a Affine,
    /// What is added, or empty.
    pub other: &'a [f32],
}

impl Followed<'_> {
    /// Whether a pool of these rows of a convolution, two at a time, leaves none out.
    fn has_whole_rows(&self, convolution: &Convolution) -> bool {
        let ([height, width], by) = (convolution.sides(), if self.steps.has_pool { 2 } else { 1 });
        height.is_multiple_of(by) && width >= by
    }

    /// # Panics
    ///
    /// When the slices are not of the convolution's sizes.
    fn check(&self, convolution: &Convolution, images: &[f32]) {
        let channels = convolution.outputs;
        let added = if self.steps.addition == Addition::None { 0 } else { convolution.batch(images) * convolution.output_size() };
        let sizes = [self.affine.scale.len(), self.affine.shift.len(), self.other.len()];
        assert_eq!(sizes, [channels, channels, added], "what follows {convolution:?}");
    }
}

/// The moments of channels over all pixels, `[pixel, channel]`. `None` without any.
#[must_use]
pub fn moments(path: Path, pixels: &[f32], channels: usize) -> Option<Moments> {
    let blocks: Vec<Moments> = pixels.par_chunks(PIXELS * channels.max(1)).map(|block| Moments::of(path, block, channels)).collect();
    Moments::joined(blocks)
}

/// The forward pass with weights that are needed once, and the moments of the output's channels where they are asked for.
///
/// # Shapes
///
/// - images: `[image, row, column, input]`
/// - weights: `[output, input of the group, row, column]`
/// - output: `[image, row, column, output]`
///
/// # Panics
///
/// When the slices are not of these sizes.
#[must_use]
pub fn forward(
    path: Path,
    algorithm: Algorithm,
    convolution: Convolution,
    images: &[f32],
    weights: &[f32],
    has_moments: bool,
    threads: usize,
) -> (Vec<f32>, Option<Moments>) {
    Conv2d::at(Place::Shared, path, algorithm, convolution, weights, threads).forward(images, has_moments, threads)
}

/// The gradient of the images.
///
/// # Shapes
///
/// - gradient: `[image, row, column, output]`
/// - weights: `[output, input of the group, row, column]`
/// - output: `[image, row, column, input]`
///
/// # Panics
///
/// When the slices are not of these sizes.
#[must_use]
pub fn image_gradient(
    path: Path,
    algorithm: Algorithm,
    convolution: Convolution,
    gradient: &[f32],
    weights: &[f32],
    threads: usize,
) -> Vec<f32> {
    let [rows, columns] = convolution.sides();
    if let (Some(bf16), Some(turned)) = (rounded(algorithm, &convolution), convolution.turned()) {
        let weights = bf16::Weights::turned(bf16, &convolution, weights, threads);
        return bf16::forward(path, &weights, &turned, gradient, false, threads).0;
    }
    let batch = gradient.len() / (rows * columns * convolution.outputs);
    let Some((tile, sizes)) = tiled(algorithm, &convolution, batch) else {
        return convolve::image_gradient(path, convolution, gradient, weights, threads);
    };
    let Sizes { batch, inputs, outputs, padding, .. } = sizes;
    let sizes = Sizes { batch, inputs: outputs, outputs: inputs, height: rows, width: columns, padding: 2 - padding };
    let kernels = Kernels::turned(path, tile_of_gradients(tile, sizes), weights, outputs, threads);
    winograd::forward(&Pass { kernels: &kernels, images: gradient, sizes, has_moments: false }, threads).0
}

/// The gradient of the weights.
///
/// # Shapes
///
/// - images: `[image, row, column, input]`
/// - gradient: `[image, row, column, output]`
/// - output: `[output, input of the group, row, column]`
///
/// # Panics
///
/// When the slices are not of these sizes.
#[must_use]
pub fn weight_gradient(
    path: Path,
    algorithm: Algorithm,
    convolution: Convolution,
    images: &[f32],
    gradient: &[f32],
    threads: usize,
) -> Vec<f32> {
    if let Some(bf16) = rounded(algorithm, &convolution) {
        return bf16::weight_gradient(bf16, &convolution, images, gradient, threads);
    }
    let batch = images.len() / (convolution.inputs * convolution.height * convolution.width);
    match tiled(algorithm, &convolution, batch) {
        Some((tile, sizes)) => winograd::weight_gradient(path, tile_of_gradients(tile, sizes), sizes, images, gradient),
        None => convolve::weight_gradient(path, convolution, images, gradient, threads),
    }
}
