//! How 3×3 convolutions are computed.

use crate::winograd::Tile;

/// The algorithm of 3×3 convolutions with stride 1 and enough channels, forward and for both gradients. All others are direct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Winograd's F(4×4, 3×3). With ReLU and pool in one kernel, and for gradients of few images, F(2×2, 3×3).
    #[default]
    Winograd4,
    /// Winograd's F(2×2, 3×3).
    Winograd2,
    /// Every output is the sum of its products.
    Direct,
}

impl Algorithm {
    /// The tiles of the forward pass. `None` for a direct convolution.
    pub(crate) const fn tile(self) -> Option<Tile> {
        match self {
            Self::Winograd4 => Some(Tile::Four),
            Self::Winograd2 => Some(Tile::Two),
            Self::Direct => None,
        }
    }
}
