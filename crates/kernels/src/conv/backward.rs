//! The backward pass.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::patch_gradient::{PatchGradient, PatchSums};
use super::sparse::{ImageGradient, KernelGradient, Lists};
use super::{ArgMax, NONE};
use crate::buffers;
use crate::fill::{Size, filled};
use crate::image::{Geometry, Images, Layout};
use crate::scratch::{self, Line};
use crate::simd::Path;

/// The gradients of weights and bias, and of the images if they are requested.
#[derive(Debug)]
pub struct Gradients {
    /// `[output, input, row, column]`.
    pub weights: Vec<f32>,
    /// `[output]`.
    pub bias: Vec<f32>,
    /// `[image, row, column, channel]`.
    pub images: Option<Vec<f32>>,
}

/// The largest number of images whose gradients one task adds up: fixed by the batch alone, so that sums do not depend on threads. No more than
/// 16 tasks of a batch below 256, and 32 of a larger one, because what each has added up is written and read once more.
#[inline]
fn images_per_task(batch: usize) -> usize {
    batch.div_ceil(if batch < 256 { 16 } else { 32 }).max(4)
}

/// What the backward pass reads of the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// The sizes of the convolution.
    pub geometry: Geometry,
    /// The input.
    pub images: Images<'a>,
    /// `[output, input, row, column]`.
    pub weights: &'a [f32],
    /// Those of the pools, `[image, row, column, output]`.
    pub argmax: &'a [ArgMax],
}

/// The backward pass: `gradient` is that of the pooled activations. The gradient of the images is computed where `wants_images` is true.
///
/// # Panics
///
/// When argmax, gradient and images are not of the same batch.
#[must_use]
pub fn backward(path: Path, saved: &Saved, gradient: &Images, wants_images: bool) -> Gradients {
    let Saved { geometry, images, weights, argmax } = *saved;
    let layout = Layout::new(geometry, path);
    let offsets = layout.kernel_offsets();
    let size = layout.kernel_size();
    let mut kernels = scratch::zeros(if wants_images { geometry.outputs * size } else { 0 });
    if wants_images {
        let by_run = |offset: &usize| offset / layout.padded_run * geometry.outputs * layout.padded_run + offset % layout.padded_run;
        let offsets: Vec<usize> = offsets.iter().map(by_run).collect();
        for (output, weights) in weights.chunks_exact(offsets.len()).enumerate() {
            let kernel = &mut kernels[output * layout.padded_run..];
            offsets.iter().zip(weights).for_each(|(offset, weight)| kernel[*offset] = *weight);
        }
    }
    let batch = images.batch;
    let sizes = [argmax.len(), gradient.batch];
    assert_eq!(sizes, [batch * geometry.pooled() * geometry.outputs, batch], "argmax and gradient of {batch} images");
    let per_task = images_per_task(batch);
    let image_size = geometry.height * geometry.width * geometry.inputs;
    let pass = Pass { path, layout: &layout, images: &images, kernels: &kernels, argmax, gradient };
    let tasks = batch.div_ceil(per_task);
    let task_sums = Line::count(geometry.outputs * size);
    let image_gradients = if wants_images { Size::zeros(batch * image_size, per_task * image_size) } else { Size::NONE };
    let partials = Size::zeros(tasks * task_sums, task_sums);
    let task = |number: usize, image_gradients: &mut [f32], sums: &mut [Line]| {
        let first = number * per_task;
        let sums = &mut bytemuck::cast_slice_mut(sums)[..geometry.outputs * size];
        path.run(Task { pass: &pass, numbers: first..(first + per_task).min(batch), image_gradients, sums })
    };
    let (image_gradients, partials, biases) = filled(rayon::current_num_threads(), tasks, image_gradients, partials, task);
    let mut sums = buffers::any(weights.len());
    sums.par_chunks_mut(offsets.len()).enumerate().for_each(|(output, sums)| {
        let mut sum = vec![0.0; size];
        for partial in partials.chunks_exact(task_sums) {
            let partial: &[f32] = bytemuck::cast_slice(partial);
            sum.iter_mut().zip(&partial[output * size..]).for_each(|(sum, number)| *sum += number);
        }
        sums.iter_mut().zip(&offsets).for_each(|(to, offset)| *to = sum[*offset]);
    });
    buffers::recycle(partials);
    let bias = (0..geometry.outputs).map(|output| biases.iter().map(|bias| bias[output]).sum()).collect();
    Gradients { weights: sums, bias, images: wants_images.then_some(image_gradients) }
}

/// What all tasks read.
struct Pass<'a> {
    path: Path,
    layout: &'a Layout,
    images: &'a Images<'a>,
    /// The first runs of all kernels, then the second ones, and so on.
    kernels: &'a [f32],
    argmax: &'a [ArgMax],
    gradient: &'a Images<'a>,
}

/// Adds up the gradients over some of the images.
struct Task<'a> {
    pass: &'a Pass<'a>,
    numbers: Range<usize>,
    /// Those of the images themselves; empty if they are not requested.
    image_gradients: &'a mut [f32],
    /// Those of the kernels of one output channel after the other.
    sums: &'a mut [f32],
}

impl WithSimd for Task<'_> {
    /// Those of the bias.
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { pass, numbers, image_gradients, sums } = self;
        let layout = pass.layout;
        let geometry = layout.geometry();
        let (outputs, pooled) = (geometry.outputs, geometry.pooled());
        let length = layout.size(geometry.pooled_height());
        let mut bias = vec![0.0; outputs];
        let mut image_copy = scratch::any(length);
        let mut gradient_copy = scratch::any(pooled * outputs);
        let mut lists = (!layout.patches || !image_gradients.is_empty()).then(|| Lists::new(layout));
        let mut patch_sums = layout.patches.then(|| PatchSums::new(layout, pass.path));
        let image_size = geometry.height * geometry.width * geometry.inputs;
        let mut image_gradients = image_gradients.chunks_exact_mut(image_size);
        for number in numbers {
            let image = if let Some(stored) = layout.borrow(pass.images, number, 0, geometry.pooled_height()) {
                stored
            } else {
                layout.load(pass.images, number, 0, geometry.pooled_height(), &mut image_copy);
                &image_copy
            };
            let gradient = if let Some(stored) = pass.gradient.stored_channels_last(number, geometry.pooled_width(), outputs) {
                &stored[..pooled * outputs]
            } else {
                pass.gradient.channels_last(number, geometry.pooled_width(), outputs, &mut gradient_copy);
                &gradient_copy
            };
            let argmax = &pass.argmax[number * pooled * outputs..][..pooled * outputs];
            for (argmax, gradient) in argmax.chunks_exact(outputs).zip(gradient.chunks_exact(outputs)) {
                let positive = argmax.iter().zip(gradient).map(|(index, number)| if *index == NONE { 0.0 } else { *number });
                bias.iter_mut().zip(positive).for_each(|(sum, number)| *sum += number);
            }
            if let Some(patch_sums) = &mut patch_sums {
                patch_sums.load(argmax, gradient);
                PatchGradient { layout, image, gradient, patch_sums }.with_simd(simd);
            } else if let Some(lists) = &mut lists {
                lists.by_channel(argmax, gradient);
                KernelGradient { layout, lists, image, sums: &mut *sums }.with_simd(simd);
            }
            if let (Some(to), Some(lists)) = (image_gradients.next(), &mut lists) {
                lists.by_position(argmax, gradient);
                if let Some(sums) = layout.cover(to) {
                    ImageGradient { layout, lists, kernels: pass.kernels, sums }.with_simd(simd);
                } else {
                    let mut runs = scratch::zeros(length);
                    ImageGradient { layout, lists, kernels: pass.kernels, sums: &mut runs }.with_simd(simd);
                    layout.fold(&runs, to);
                }
            }
        }
        if let Some(patch_sums) = patch_sums {
            patch_sums.store(sums);
        }
        bias
    }
}
