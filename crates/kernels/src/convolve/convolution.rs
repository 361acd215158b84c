//! The sizes of a convolution, and its forward pass.

use super::{blocks, depthwise};
use crate::simd::Path;
use crate::strided::Axis;

/// The sizes of a convolution: a cross-correlation, with zeros around the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// Rows of zeros above and below, columns of zeros left and right.
    pub padding: [usize; 2],
    /// Groups of channels that are convolved apart; it divides inputs and outputs.
    pub groups: usize,
}

impl Convolution {
    /// Rows and columns of the output.
    #[must_use]
    pub fn sides(&self) -> [usize; 2] {
        [self.rows().windows(self.kernel[0]), self.columns().windows(self.kernel[1])]
    }

    /// Numbers of an output channel.
    pub(super) fn positions(&self) -> usize {
        self.sides().iter().product()
    }

    /// The numbers that an output number is the sum of: those of its kernel.
    pub(super) const fn taps(&self) -> usize {
        self.inputs / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// Numbers of an input channel.
    pub(super) const fn area(&self) -> usize {
        self.height * self.width
    }

    pub(super) const fn rows(&self) -> Axis {
        Axis { side: self.height, stride: self.stride[0], padding: self.padding[0] }
    }

    pub(super) const fn columns(&self) -> Axis {
        Axis { side: self.width, stride: self.stride[1], padding: self.padding[1] }
    }

    /// Whether its patches are the image itself.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }

    const fn is_depthwise(&self) -> bool {
        self.groups == self.inputs && self.groups == self.outputs
    }
}

/// The parameters of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// `[output, input of the group, row, column]`.
    pub kernel: &'a [f32],
    /// `[output]`.
    pub bias: Option<&'a [f32]>,
}

/// The convolution of images. With `threads` 1 the caller's thread does all.
///
/// # Shapes
///
/// - images: `[image, input, row, column]`
/// - output: `[image, output, row, column]`
///
/// # Panics
///
/// When the slices are not of these sizes.
#[must_use]
pub fn forward(path: Path, convolution: Convolution, images: &[f32], weights: Weights, threads: usize) -> Vec<f32> {
    let outputs = convolution.outputs;
    let image_size = convolution.inputs * convolution.area();
    let batch = images.len() / image_size;
    let sizes = [images.len(), weights.kernel.len(), weights.bias.map_or(outputs, <[f32]>::len)];
    assert_eq!(sizes, [batch * image_size, outputs * convolution.taps(), outputs], "slices for {convolution:?}");
    let pass = Pass { path, convolution, images, weights };
    if convolution.is_depthwise() { depthwise::forward(&pass, threads) } else { blocks::forward(&pass, batch, threads) }
}

/// What all tasks read.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) path: Path,
    pub(super) convolution: Convolution,
    pub(super) images: &'a [f32],
    pub(super) weights: Weights<'a>,
}
