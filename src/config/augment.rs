//! The `[augment]` section.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::number::NonNegative;

/// Data augmentation: random changes of training images, drawn anew for each epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Whole pixels an image is shifted by at most, in each direction; 0: none.
    pub shift: u32,
    /// Degrees an image is turned by at most, to either side; 0: none.
    pub rotation: NonNegative,
    /// α of the Beta distribution two images are mixed by (Zhang et al. 2018, arXiv 1710.09412); 0: none.
    pub mixup: NonNegative,
}

impl Augment {
    /// Refuses a shift that leaves nothing of an image of `height` rows of `width` pixels.
    ///
    /// # Errors
    ///
    /// When it does.
    pub fn check(&self, height: usize, width: usize) -> Result<(), ConfigError> {
        if self.shift as usize >= height.min(width) {
            let problem = format!("is {}, but images are {height}×{width}; expected less than either side", self.shift);
            return Err(ConfigError::value("augment.shift", problem));
        }
        Ok(())
    }
}

impl Default for Augment {
    fn default() -> Self {
        Self { shift: 0, rotation: NonNegative::literal(0.0), mixup: NonNegative::literal(0.0) }
    }
}
