//! The `[augment]` section.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::number::NonNegative;

/// Data augmentation: random transforms of training images, drawn for each image and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// The largest shift in each direction in whole pixels; 0: no shift.
    pub shift: u32,
    /// The largest rotation to either side in degrees; 0: no rotation.
    pub rotation: NonNegative,
    /// Mixup (Zhang et al. 2018, arXiv 1710.09412): α of the Beta distribution of the mixing weight; 0: no mixup.
    pub mixup: NonNegative,
}

impl Augment {
    /// Checks the shift against the size of images.
    ///
    /// # Errors
    ///
    /// When the shift is not less than both sides.
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
