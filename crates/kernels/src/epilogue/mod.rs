//! What follows a convolution: batch normalization or a bias, addition, an activation and a 2×2 max-pool, in one pass over the images.
//!
//! Images are channels-last, `[image, row, column, channel]`. For each number x of channel c
//!
//! ```text
//! z = x·scale[c] + shift[c] (+ other),   out = pool(activation(z)) (+ other)
//! ```
//!
//! The backward pass computes z again instead of reading masks. Vectors are images of one pixel.

mod backward;
mod forward;

pub use backward::{Gradients, Normalization, Saved, backward};
pub use forward::forward;
pub(crate) use forward::of_rows;

use pulp::Simd;

use crate::gelu;

/// The function of an activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// The number itself.
    #[default]
    None,
    /// max(z, 0).
    Relu,
    /// min(max(z, 0), 6).
    Relu6,
    /// z·Φ(z), with Φ the distribution function of the standard normal distribution. There is no pool after it.
    Gelu,
}

/// When another list of numbers of the same sizes is added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addition {
    /// Never.
    #[default]
    None,
    /// Before the activation, as in He et al. 2015 (arXiv 1512.03385).
    Before,
    /// After it.
    After,
}

/// What is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// The activation.
    pub activation: Activation,
    /// The addition. There is none where there is a pool.
    pub addition: Addition,
    /// Whether a 2×2 max-pool with stride 2 follows. It leaves out an odd last row or column.
    pub has_pool: bool,
}

/// The sizes of the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Images.
    pub batch: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl Sizes {
    /// Numbers of the images.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.batch * self.height * self.width * self.channels
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows and columns after these steps.
    #[must_use]
    pub const fn sides(&self, steps: Steps) -> [usize; 2] {
        if steps.has_pool { [self.height / 2, self.width / 2] } else { [self.height, self.width] }
    }
}

/// The factor and the summand of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// `[channel]`.
    pub scale: Vec<f32>,
    /// `[channel]`.
    pub shift: Vec<f32>,
}

impl Affine {
    /// A bias.
    #[must_use]
    pub fn bias(bias: &[f32]) -> Self {
        Self { scale: vec![1.0; bias.len()], shift: bias.to_vec() }
    }

    /// Batch normalization: γ·(x − mean)/√(variance + epsilon) + β.
    ///
    /// # Panics
    ///
    /// When the lists are not of the same length.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "factors of float32 numbers")]
    pub fn normalization([mean, variance]: [&[f32]; 2], [gamma, beta]: [&[f32]; 2], epsilon: f64) -> Self {
        assert!([mean, variance, beta].iter().all(|list| list.len() == gamma.len()), "parameters of {} channels", gamma.len());
        let channel = |c: usize| {
            let [mean, variance, gamma, beta] = [mean[c], variance[c], gamma[c], beta[c]].map(f64::from);
            let scale = gamma / (variance + epsilon).sqrt();
            (scale as f32, (beta - mean * scale) as f32)
        };
        let (scale, shift) = (0..gamma.len()).map(channel).unzip();
        Self { scale, shift }
    }
}

impl Activation {
    /// The function. NaN stays NaN.
    #[inline(always)]
    pub(crate) fn of<S: Simd>(self, simd: S, z: S::f32s) -> S::f32s {
        let (zero, six) = (simd.splat_f32s(0.0), simd.splat_f32s(6.0));
        let positive = |simd: S| simd.select_f32s(simd.less_than_or_equal_f32s(z, zero), zero, z);
        match self {
            Self::None => z,
            Self::Relu => positive(simd),
            Self::Relu6 => {
                let positive = positive(simd);
                simd.select_f32s(simd.less_than_or_equal_f32s(six, positive), six, positive)
            }
            Self::Gelu => gelu::of(simd, z),
        }
    }

    /// The gradient of z for the gradient of the function: 0 at the ends of ReLU and `ReLU6`, as PyTorch's.
    #[inline(always)]
    fn gradient<S: Simd>(self, simd: S, z: S::f32s, gradient: S::f32s) -> S::f32s {
        let (zero, six) = (simd.splat_f32s(0.0), simd.splat_f32s(6.0));
        let positive = |simd: S| simd.select_f32s(simd.less_than_or_equal_f32s(z, zero), zero, gradient);
        match self {
            Self::None => gradient,
            Self::Relu => positive(simd),
            Self::Relu6 => simd.select_f32s(simd.less_than_or_equal_f32s(six, z), zero, positive(simd)),
            Self::Gelu => simd.mul_f32s(gelu::derivative(simd, z), gradient),
        }
    }
}

/// Whether `z` comes before `largest` in a max-pool: it is larger, or NaN.
#[inline(always)]
pub(crate) fn is_larger<S: Simd>(simd: S, z: S::f32s, largest: S::f32s) -> S::m32s {
    let is_at_most = simd.less_than_or_equal_f32s(z, largest);
    let is_number = simd.equal_f32s(largest, largest);
    // Where the largest is NaN already, it stays.
    simd.and_m32s(simd.not_m32s(is_at_most), is_number)
}
