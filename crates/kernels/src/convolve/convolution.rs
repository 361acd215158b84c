//! The sizes of a convolution.

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
    /// Further rows of zeros below, further columns of zeros right.
    pub extra_padding: [usize; 2],
    /// Groups of channels that are convolved apart; it divides inputs and outputs.
    pub groups: usize,
}

impl Convolution {
    /// Rows and columns of the output.
    #[must_use]
    pub fn sides(&self) -> [usize; 2] {
        [self.rows().windows(self.kernel[0]), self.columns().windows(self.kernel[1])]
    }

    /// Numbers of an image.
    pub(crate) const fn image_size(&self) -> usize {
        self.height * self.width * self.inputs
    }

    /// How many images these are.
    ///
    /// # Panics
    ///
    /// When they are not whole.
    pub(crate) fn batch(&self, images: &[f32]) -> usize {
        let (count, size) = (images.len(), self.image_size());
        assert!(count.is_multiple_of(size), "images for {self:?}");
        count / size
    }

    /// Numbers of the output for an image.
    pub(crate) fn output_size(&self) -> usize {
        self.positions() * self.outputs
    }

    /// Pixels of the output.
    pub(crate) fn positions(&self) -> usize {
        self.sides().iter().product()
    }

    /// The numbers that an output number is the sum of: those of its kernel.
    #[must_use]
    pub const fn taps(&self) -> usize {
        self.inputs / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// Numbers of all kernels.
    #[must_use]
    pub const fn weights(&self) -> usize {
        self.outputs * self.taps()
    }

    pub(crate) const fn rows(&self) -> Axis {
        Axis { side: self.height, stride: self.stride[0], padding: self.padding[0], extra: self.extra_padding[0] }
    }

    pub(crate) const fn columns(&self) -> Axis {
        Axis { side: self.width, stride: self.stride[1], padding: self.padding[1], extra: self.extra_padding[1] }
    }

    /// Whether its patches are the pixels themselves.
    pub(crate) fn is_pointwise(&self) -> bool {
        let is_plain = self.stride == [1, 1] && self.padding == [0, 0] && self.extra_padding == [0, 0];
        self.kernel == [1, 1] && is_plain && self.groups == 1
    }

    pub(super) const fn is_depthwise(&self) -> bool {
        self.groups == self.inputs && self.groups == self.outputs
    }

    /// The convolution of the output's gradient by kernels turned by 180° that gives the gradient of the images. `None` with a stride or extra padding.
    pub(crate) fn turned(&self) -> Option<Self> {
        let Self { inputs, outputs, kernel, stride, padding, extra_padding, .. } = *self;
        if stride != [1, 1] || extra_padding != [0, 0] {
            return None;
        }
        let [rows, columns] = [0, 1].map(|axis| (kernel[axis] - 1).checked_sub(padding[axis]));
        let [height, width] = self.sides();
        Some(Self { inputs: outputs, outputs: inputs, height, width, padding: [rows?, columns?], ..*self })
    }

    /// The place of each number of a kernel in PyTorch's order `[input, row, column]`, in the order of a patch, `[row, column, input]`.
    pub(super) fn kernel_order(&self) -> Vec<usize> {
        let [rows, columns] = self.kernel;
        let inputs = self.inputs / self.groups;
        let places = (0..rows * columns).flat_map(|tap| (0..inputs).map(move |input| input * rows * columns + tap));
        places.collect()
    }
}
