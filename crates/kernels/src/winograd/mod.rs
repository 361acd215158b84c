//! 3×3 convolutions with stride 1 by fewer multiplications (Winograd 1980; Lavin and Gray 2015, arXiv 1509.09308), forward and backward.
//!
//! Images are channels-last, `[image, row, column, channel]`. Outputs are computed in tiles: of 4×4 by 36 products for each pair of channels instead of 144, or of
//! 2×2 by 16 instead of 36. Sums are ordered differently than by the definition, so the rounding errors are a few times larger (`docs/performance.md`), and a number that
//! is not finite makes all of its tile NaN. An output is the same bits in every batch and on any number of threads.

mod forward;
mod kernels;
mod scheme;
mod tiles;
mod weight_gradient;

pub use forward::{Pass, forward};
pub use kernels::{Kernels, Tile};
pub use weight_gradient::weight_gradient;

/// The sizes of a 3×3 convolution with stride 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Images.
    pub batch: usize,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Zeros around the input, on each side; at most 2.
    pub padding: usize,
}

impl Sizes {
    /// Rows and columns of the output.
    #[must_use]
    pub const fn sides(&self) -> [usize; 2] {
        [self.height + 2 * self.padding - 2, self.width + 2 * self.padding - 2]
    }

    /// Numbers of the images.
    const fn input_size(&self) -> usize {
        self.batch * self.height * self.width * self.inputs
    }

    /// Numbers of the output.
    const fn output_size(&self) -> usize {
        let [rows, columns] = self.sides();
        self.batch * rows * columns * self.outputs
    }
}
