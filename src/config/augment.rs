//! The `[augment]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::number::{Degrees, NonNegative};

/// Data augmentation: random transforms of training images, drawn for each image and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// The largest shift in each direction, in pixels. It is less than either side of the images.
    pub shift: u32,
    /// The largest rotation to either side, in degrees.
    pub rotation: Degrees,
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
        Self { shift: 0, rotation: Degrees::literal(0.0), mixup: NonNegative::literal(0.0) }
    }
}
