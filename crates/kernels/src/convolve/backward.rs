//! The backward pass.

use std::ops::Range;

use gemm::Parallelism;
use pulp::{Simd, WithSimd};

use super::Convolution;
use super::blocks::{Blocks, Memory, Patches, row_range};
use super::convolution::{Pass, Weights, forward};
use crate::fill::{Size, filled};
use crate::simd::Path;

/// The largest number of images whose gradients one task adds up: fixed by the batch alone, so that sums do not depend on threads.
fn images_per_task(batch: usize) -> usize {
    batch.div_ceil(16).max(2)
}

impl Convolution {
    /// Whether [`image_gradient`] has a kernel for it: one with stride 1.
    #[must_use]
    pub fn has_image_gradient(&self) -> bool {
        self.stride == [1, 1] && (0..2).all(|axis| self.padding[axis] < self.kernel[axis])
    }

    /// Whether [`weight_gradient`] has a kernel for it: one without groups.
    #[must_use]
    pub fn has_weight_gradient(&self) -> bool {
        self.groups == 1
    }
}

/// The gradient of the images: with stride 1 a convolution of the output's gradient with the kernels turned by 180°, inputs and outputs exchanged.
///
/// # Shapes
///
/// - gradient: `[image, output, row, column]`
/// - weights: `[output, input of the group, row, column]`
/// - output: `[image, input, row, column]`
///
/// # Panics
///
/// When [`Convolution::has_image_gradient`] is false, or the slices are not of these sizes.
#[must_use]
pub fn image_gradient(path: Path, convolution: Convolution, gradient: &[f32], weights: &[f32], threads: usize) -> Vec<f32> {
    assert!(convolution.has_image_gradient(), "no kernel for {convolution:?}");
    let Convolution { inputs, outputs, kernel, padding, groups, .. } = convolution;
    let ([height, width], area, taps) = (convolution.sides(), kernel[0] * kernel[1], convolution.taps());
    assert_eq!(weights.len(), outputs * taps, "weights for {convolution:?}");
    let (of_group, from_group) = (inputs / groups, outputs / groups);
    let mut turned = vec![0.0; weights.len()];
    for (input, to) in turned.chunks_exact_mut(from_group * area).enumerate() {
        let group = input / of_group;
        for (output, to) in to.chunks_exact_mut(area).enumerate() {
            let from = &weights[(group * from_group + output) * taps + input % of_group * area..][..area];
            to.iter_mut().zip(from.iter().rev()).for_each(|(to, from)| *to = *from);
        }
    }
    let back = Convolution {
        inputs: outputs,
        outputs: inputs,
        height,
        width,
        padding: [0, 1].map(|axis| kernel[axis] - 1 - padding[axis]),
        ..convolution
    };
    forward(path, back, gradient, Weights { kernel: &turned, bias: None }, threads)
}

/// The gradient of the weights: the sum over images and positions of patches times the output's gradient.
///
/// # Shapes
///
/// - images: `[image, input, row, column]`
/// - gradient: `[image, output, row, column]`
/// - output: `[output, input, row, column]`
///
/// # Panics
///
/// When [`Convolution::has_weight_gradient`] is false, or the slices are not of these sizes.
#[must_use]
pub fn weight_gradient(path: Path, convolution: Convolution, images: &[f32], gradient: &[f32], threads: usize) -> Vec<f32> {
    assert!(convolution.has_weight_gradient(), "no kernel for {convolution:?}");
    let Convolution { inputs, outputs, .. } = convolution;
    let batch = images.len() / (inputs * convolution.area());
    let sizes = [images.len(), gradient.len()];
    assert_eq!(sizes, [batch * inputs * convolution.area(), batch * outputs * convolution.positions()], "slices for {convolution:?}");
    let pass = Pass { path, convolution, images, weights: Weights { kernel: &[], bias: None } };
    let (per_task, size) = (images_per_task(batch), outputs * convolution.taps());
    let tasks = batch.div_ceil(per_task);
    let task = |number: usize, sums: &mut [f32], _: &mut [u8]| {
        let first = number * per_task;
        path.run(Task { pass: &pass, gradient, images: first..(first + per_task).min(batch), sums });
    };
    let partials = filled(threads, tasks, Size { length: tasks * size, per_task: size }, Size::NONE, task).0;
    let mut partials = partials.chunks_exact(size);
    let mut sums = partials.next().map_or_else(|| vec![0.0; size], <[f32]>::to_vec);
    partials.for_each(|partial| sums.iter_mut().zip(partial).for_each(|(sum, number)| *sum += number));
    sums
}

/// Adds up the gradients over some of the images.
struct Task<'a> {
    pass: &'a Pass<'a>,
    gradient: &'a [f32],
    images: Range<usize>,
    sums: &'a mut [f32],
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pass, gradient, images, sums } = self;
        let convolution = &pass.convolution;
        let (blocks, positions, width) = (Blocks::of(convolution), convolution.positions(), convolution.sides()[1]);
        let mut memory = Memory::of(pass, blocks);
        for image in images {
            let gradient = &gradient[image * convolution.outputs * positions..][..convolution.outputs * positions];
            for band in 0..blocks.bands {
                let rows = row_range(convolution, blocks, band);
                let patches = Patches::of(simd, pass, image, 0, rows.clone(), memory.as_mut());
                add_products(convolution, &patches, &gradient[rows.start * width..], sums);
            }
        }
    }
}

/// Adds the products of the patches with the output's gradient at the same positions; a channel of it begins every `positions` numbers.
///
/// # Panics
///
/// When a matrix reaches beyond its slice.
fn add_products(convolution: &Convolution, patches: &Patches, gradient: &[f32], sums: &mut [f32]) {
    let (taps, outputs, positions) = (convolution.taps(), convolution.outputs, convolution.positions());
    assert!(patches.count > 0 && outputs > 0 && taps > 0, "a product of nothing");
    assert!((taps - 1) * patches.stride + patches.count <= patches.numbers.len(), "patches beyond their numbers");
    assert!((outputs - 1) * positions + patches.count <= gradient.len() && sums.len() == outputs * taps, "a block beyond its numbers");
    #[expect(unsafe_code, reason = "gemm takes pointers")]
    // SAFETY: by the assertions above every element of all three matrices is within its slice, and `sums` is borrowed by nobody else.
    unsafe {
        gemm::gemm(
            taps,
            outputs,
            patches.count,
            sums.as_mut_ptr(),
            taps.cast_signed(),
            1,
            true,
            patches.numbers.as_ptr(),
            1,
            patches.stride.cast_signed(),
            gradient.as_ptr(),
            positions.cast_signed(),
            1,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
