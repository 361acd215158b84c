//! How convolutions are computed.

use crate::bf16::Bf16;
use crate::winograd::Tile;

/// The algorithm of convolutions, forward and for both gradients. The first two are for 3×3 kernels with stride 1 and enough channels; all others are direct then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Winograd's F(4×4, 3×3). With ReLU and pool in one kernel, for maps of two rows or columns, and for gradients of few images, F(2×2, 3×3).
    #[default]
    Winograd4,
    /// Winograd's F(2×2, 3×3).
    Winograd2,
    /// Every output is the sum of its products.
    Direct,
    /// As `Direct`, of numbers that are rounded to bfloat16, where there is one group. The gradient of the images is one of float32 with a stride or extra padding. With ReLU and pool in one kernel,
    /// and with several groups, as `Winograd4`.
    Bf16(Bf16),
}

impl Algorithm {
    /// The tiles of maps that are not small. `None` for a direct convolution.
    pub(crate) const fn tile(self) -> Option<Tile> {
        match self {
            Self::Winograd4 | Self::Bf16(_) => Some(Tile::Four),
            Self::Winograd2 => Some(Tile::Two),
            Self::Direct => None,
        }
    }
}
