//! The `[augment]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::number::{Degrees, NonNegative};
use super::{ConfigError, Experiment, Normalization};

/// Data augmentation: random transforms of training images, drawn for each image and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Mirror images, left and right exchanged.
    pub flip: Flip,
    /// The largest shift in each direction, in pixels. It is less than either side of the images.
    pub shift: u32,
    /// The largest rotation to either side, in degrees.
    pub rotation: Degrees,
    /// What a shift or a rotation brings in from outside of the image.
    pub border: Border,
    /// Mixup (Zhang et al. 2018, arXiv 1710.09412): α of the Beta distribution of the mixing weight; 0: no mixup.
    pub mixup: NonNegative,
}

/// Horizontal flips of training images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Flip {
    /// No flips.
    #[default]
    None,
    /// Each image with probability 1/2, in every epoch anew.
    Horizontal,
    /// Each image in every second epoch; whether in the first is random (Jordan 2024, arXiv 2404.00498).
    Alternating,
}

/// What is outside of a training image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Border {
    /// Black.
    #[default]
    Black,
    /// The mean of the training images, which is 0 after `data.normalization` = `standard`.
    Mean,
    /// The image, reflected at its outermost pixels, which are not repeated.
    Reflect,
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

impl Experiment {
    /// Checks the augmentation against the other sections.
    pub(super) fn check_augment(&self) -> Result<(), ConfigError> {
        if self.augment.border == Border::Mean && self.data.normalization != Normalization::Standard {
            let problem = "is \"mean\", which needs the mean of the training images; set `data.normalization` = \"standard\", or use \"black\" or \"reflect\"";
            return Err(ConfigError::value("augment.border", problem));
        }
        Ok(())
    }

    /// A warning if `border` has no effect. Returns `None` if it has.
    pub(super) fn unused_border(&self) -> Option<String> {
        let Augment { shift, rotation, border, .. } = self.augment;
        (border != Border::Black && shift == 0 && rotation.get() == 0.0)
            .then(|| "`augment.border` has no effect without `augment.shift` and `augment.rotation`".to_owned())
    }
}

impl Default for Augment {
    fn default() -> Self {
        Self { flip: Flip::None, shift: 0, rotation: Degrees::literal(0.0), border: Border::Black, mixup: NonNegative::literal(0.0) }
    }
}
