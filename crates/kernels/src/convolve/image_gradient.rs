//! The gradient of the images: the output's gradient times the weights gives that of each patch, whose numbers are added up where they came from.

use pulp::{Simd, WithSimd};

use super::forward::{PackedWeights, forward, joined, multiply_panels};
use super::patches::{fold, rows_per_block};
use super::{Convolution, depthwise};
use crate::fill::{Size, filled};
use crate::panels::{Rows, packed};
use crate::scratch;
use crate::simd::Path;

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
pub fn image_gradient(path: Path, convolution: Convolution, gradient: &[f32], weights: &[f32], threads: usize) -> Vec<f32> {
    let batch = gradient.len() / convolution.output_size();
    let sizes = [gradient.len(), weights.len()];
    assert_eq!(sizes, [batch * convolution.output_size(), convolution.weights()], "slices for {convolution:?}");
    let size = convolution.image_size();
    let of_image = |image: usize| &gradient[image * convolution.output_size()..][..convolution.output_size()];
    if convolution.is_depthwise() {
        let weights = depthwise::packed(&convolution, weights);
        let task = |image: usize, out: &mut [f32], _: &mut [u8]| {
            path.run(depthwise::ImageGradient { convolution: &convolution, weights: &weights, gradient: of_image(image), out });
        };
        return filled(threads, batch, Size::any(batch * size, size), Size::NONE, task).0;
    }
    if convolution.is_pointwise()
        && let Some(turned) = convolution.turned()
    {
        return forward(&PackedWeights::transposed(path, turned, weights, threads), gradient, false, threads).0;
    }
    let outputs = convolution.outputs / convolution.groups;
    let (taps, order) = (convolution.taps(), convolution.kernel_order());
    // Panels of taps, in each the outputs of the group.
    let of_group = |kernel: &[f32]| {
        packed(path, taps.div_ceil(path.lanes), outputs, threads > 1, |first, columns, panel| {
            // Columns beyond the last one are zeros.
            panel.fill(0.0);
            for (output, kernel) in kernel.chunks_exact(taps).enumerate() {
                order.iter().skip(first).take(columns).enumerate().for_each(|(tap, place)| panel[output * columns + tap] = kernel[*place]);
            }
        })
    };
    let panels = joined(weights.chunks_exact(outputs * taps).map(of_group));
    let task = |image: usize, out: &mut [f32], _: &mut [u8]| {
        path.run(Image { convolution: &convolution, transposed: &panels, gradient: of_image(image), out });
    };
    filled(threads, batch, Size::zeros(batch * size, size), Size::NONE, task).0
}

/// One image.
struct Image<'a> {
    convolution: &'a Convolution,
    /// Group by group.
    transposed: &'a [f32],
    gradient: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Image<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { convolution, transposed, gradient, out } = self;
        let Convolution { outputs, groups, .. } = *convolution;
        let ([height, columns], of_group) = (convolution.sides(), outputs / groups);
        let registers = convolution.taps().div_ceil(S::F32_LANES);
        let lines = rows_per_block(convolution);
        let mut block = scratch::any(lines * columns * registers * S::F32_LANES);
        for (group, transposed) in transposed.chunks_exact(of_group * registers * S::F32_LANES).enumerate() {
            let (transposed, _) = S::as_simd_f32s(transposed);
            for first in (0..height).step_by(lines) {
                let rows = first..(first + lines).min(height);
                let numbers = &gradient[first * columns * outputs + group * of_group..];
                let count = rows.len() * columns;
                let (to, _) = S::as_mut_simd_f32s(&mut block);
                multiply_panels(simd, Rows { numbers, stride: outputs, count }, transposed, of_group, to, registers);
                fold(convolution, &block, registers * S::F32_LANES, group, rows, out);
            }
        }
    }
}
