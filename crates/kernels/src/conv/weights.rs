//! The weights of a convolution as the forward pass reads them.

use std::borrow::Cow;
use std::sync::OnceLock;

use super::winograd::Transformed;
use crate::algorithm::Algorithm;
use crate::image::{Geometry, Layout};
use crate::panels::packed;
use crate::simd::Path;

/// Pools of a batch from which on transforming the weights for one pass pays.
const ENOUGH: usize = 100;

/// The weights of one convolution, packed and, where that means fewer multiplications, transformed.
pub struct ConvWeights<'a> {
    pub(super) path: Path,
    algorithm: Algorithm,
    pub(super) layout: Layout,
    /// `[output, input, row, column]`.
    weights: Cow<'a, [f32]>,
    /// `[output]`.
    bias: Cow<'a, [f32]>,
    pub(super) transformed: Option<Transformed>,
    packed: OnceLock<Packed>,
}

impl<'a> ConvWeights<'a> {
    /// Weights for one pass over `batch` images: transformed where there are enough pools to pay for it, if the algorithm is not the direct one.
    ///
    /// # Shapes
    ///
    /// - weights: `[output, input, row, column]`
    /// - bias: `[output]`
    #[must_use]
    pub fn for_batch(path: Path, algorithm: Algorithm, geometry: Geometry, batch: usize, weights: &'a [f32], bias: &'a [f32]) -> Self {
        let is_enough = batch * geometry.pooled() >= ENOUGH;
        Self::new((path, algorithm), geometry, is_enough, Cow::Borrowed(weights), Cow::Borrowed(bias))
    }

    /// Weights for many passes: transformed whenever they can be, if the algorithm is not the direct one.
    ///
    /// # Shapes
    ///
    /// As in [`ConvWeights::for_batch`].
    #[must_use]
    pub fn for_inference(path: Path, algorithm: Algorithm, geometry: Geometry, weights: Vec<f32>, bias: Vec<f32>) -> Self {
        Self::new((path, algorithm), geometry, true, Cow::Owned(weights), Cow::Owned(bias))
    }

    fn new(
        (path, algorithm): (Path, Algorithm),
        geometry: Geometry,
        is_enough: bool,
        weights: Cow<'a, [f32]>,
        bias: Cow<'a, [f32]>,
    ) -> Self {
        let layout = Layout::new(geometry, path);
        let is_direct = algorithm == Algorithm::Direct;
        let transformed = if is_enough && !is_direct { Transformed::new(path, &layout, &weights, &bias) } else { None };
        // Beside transformed weights only images that are not finite need the packed ones.
        let packed =
            if transformed.is_none() { OnceLock::from(Packed::new(path, &layout, &weights, &bias, true)) } else { OnceLock::new() };
        Self { path, algorithm, layout, weights, bias, transformed, packed }
    }

    /// The same weights for images of another size.
    #[must_use]
    pub fn resized(&self, geometry: Geometry) -> Self {
        Self::new((self.path, self.algorithm), geometry, true, self.weights.clone(), self.bias.clone())
    }

    /// The sizes of the convolution.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.layout.geometry()
    }

    /// The packed weights. They are made by one thread: one that waits for others takes up another task meanwhile, which would wait here for this very
    /// packing.
    pub(super) fn packed(&self) -> &Packed {
        self.packed.get_or_init(|| Packed::new(self.path, &self.layout, &self.weights, &self.bias, false))
    }
}

/// Weights in the order the forward pass reads them: blocks of output channels, in each the runs, in each a number for every channel.
pub(super) struct Packed {
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl Packed {
    fn new(path: Path, layout: &Layout, weights: &[f32], bias: &[f32], parallel: bool) -> Self {
        let outputs = bias.len();
        let registers = outputs.div_ceil(path.lanes);
        // Without the numbers that pad a run.
        let offsets: Vec<usize> =
            layout.kernel_offsets().iter().map(|offset| offset / layout.padded_run * layout.run + offset % layout.padded_run).collect();
        let packed = packed(path, registers, layout.runs * layout.run, parallel, |first, channels, block| {
            // Channels beyond the last one are zeros.
            block.fill(0.0);
            for (tap, offset) in offsets.iter().enumerate() {
                let to = &mut block[offset * channels..][..channels.min(outputs - first)];
                to.iter_mut().zip(weights[first * offsets.len() + tap..].iter().step_by(offsets.len())).for_each(|(to, from)| *to = *from);
            }
        });
        let mut padded = bias.to_vec();
        padded.resize(registers * path.lanes, 0.0);
        Self { weights: packed, bias: padded }
    }
}
