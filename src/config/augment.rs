//! The `[augment]` section.

use regulus_model::graph::Shape;
use regulus_model::infer::Views;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::number::{Degrees, HueTurn, NonNegative, Ratio, Share};
use super::{ConfigError, Experiment, Normalization};

/// Data augmentation: random transforms of training images, drawn for each image and epoch, in the order of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::doc_markdown, reason = "the name DeVries, in a text for configs")]
pub struct Augment {
    /// Random resized crops: the smallest area of a crop, as a fraction of the image, to which it is enlarged; 1: no crops. torchvision's default is 0.08.
    pub crop_scale: Share,
    /// The largest ratio of the longer side of a crop to the shorter one. torchvision's default is the same.
    #[schemars(extend("x-default" = "4/3"))]
    pub crop_ratio: Ratio,
    /// The largest rotation to either side, in degrees.
    pub rotation: Degrees,
    /// The largest shift in each direction, in pixels. It is less than either side of the images.
    pub shift: u32,
    /// What a shift or a rotation brings in from outside of the image.
    pub border: Border,
    /// Mirror images, left and right exchanged.
    pub flip: Flip,
    /// Brightness, by a random factor from 1 − n (at least 0) to 1 + n.
    pub brightness: NonNegative,
    /// Contrast, by such a factor.
    pub contrast: NonNegative,
    /// Saturation, by such a factor. For colour images.
    pub saturation: NonNegative,
    /// Hue, by a random part of the colour circle from −n to n. For colour images.
    pub hue: HueTurn,
    /// Cutout (DeVries and Taylor 2017, arXiv 1708.04552): the side of a square around a random pixel, in pixels; 0: no cutout. It is at most the shorter side of
    /// the images. Its pixels become 0 after normalization: the mean with `data.normalization` = `standard`, black with `unit`, grey with `lite`.
    pub cutout: u32,
    /// Mixup (Zhang et al. 2018, arXiv 1710.09412): α of the Beta distribution of the mixing weight; 0: no mixup.
    pub mixup: NonNegative,
    /// Test-time flips: validation, test and prediction use the mean of the logits of an image and of its mirror image.
    pub test_flip: bool,
    /// Test-time shifts, in pixels; 0: none. The logits are ½ of those of the image, and ¼ each of those of the image moved by so many pixels up and left, and
    /// down and right. What comes in is the image, reflected. It is less than either side of the images.
    pub test_shift: u32,
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
    /// The mean of the training images, for `data.normalization` = `standard`.
    Mean,
    /// The image, reflected at its outermost pixels, which are not repeated.
    Reflect,
}

impl Augment {
    /// Checks the options against the shape of images.
    ///
    /// # Errors
    ///
    /// When a shift is not less than both sides, the cutout larger than the shorter one, or images without colours are to change them.
    pub fn check(&self, Shape { channels, height, width }: Shape) -> Result<(), ConfigError> {
        let sized = |key: &str, value: u32, expected: &str| {
            Err(ConfigError::value(key, format!("is {value}, but images are {height}×{width}; expected {expected}")))
        };
        let shorter = height.min(width);
        for (key, shift) in [("augment.shift", self.shift), ("augment.test_shift", self.test_shift)] {
            if shift as usize >= shorter {
                return sized(key, shift, "less than either side");
            }
        }
        if self.cutout as usize > shorter {
            return sized("augment.cutout", self.cutout, "at most the shorter side");
        }
        let colours = [("augment.saturation", self.saturation.get()), ("augment.hue", self.hue.get())];
        match colours.into_iter().find(|(_, value)| *value > 0.0 && channels != 3) {
            Some((key, value)) => {
                let have = if channels == 1 { "are grey".to_owned() } else { format!("have {channels} channels") };
                Err(ConfigError::value(key, format!("is {value}, which is for colour images, but these {have}; leave it out")))
            }
            None => Ok(()),
        }
    }

    /// The views that logits are the mean over outside of training.
    pub(crate) const fn views(&self) -> Views {
        Views { test_flip: self.test_flip, test_shift: self.test_shift }
    }

    /// Whether colours change.
    pub(crate) fn changes_colours(&self) -> bool {
        [self.brightness, self.contrast, self.saturation].iter().any(|key| key.get() > 0.0) || self.hue.get() > 0.0
    }

    /// The keys of transforms of single images, and whether they are set.
    pub(super) fn transforms(&self) -> impl Iterator<Item = (&'static str, bool)> {
        let default = Self::default();
        let numbers = [
            ("augment.rotation", self.rotation.get()),
            ("augment.shift", self.shift.into()),
            ("augment.brightness", self.brightness.get()),
            ("augment.contrast", self.contrast.get()),
            ("augment.saturation", self.saturation.get()),
            ("augment.hue", self.hue.get()),
            ("augment.cutout", self.cutout.into()),
        ];
        let others = [
            ("augment.crop_scale", self.crop_scale != default.crop_scale),
            ("augment.crop_ratio", self.crop_ratio != default.crop_ratio),
            ("augment.border", self.border != default.border),
            ("augment.flip", self.flip != default.flip),
        ];
        numbers.into_iter().map(|(key, number)| (key, number > 0.0)).chain(others)
    }
}

impl Experiment {
    /// Checks the augmentation against the other sections.
    pub(super) fn check_augment(&self) -> Result<(), ConfigError> {
        if self.augment.border == Border::Mean && self.data.normalization != Some(Normalization::Standard) {
            let problem = "is \"mean\", which needs the mean of the training images; set `data.normalization` = \"standard\", or use \"black\" or \"reflect\"";
            return Err(ConfigError::value("augment.border", problem));
        }
        Ok(())
    }

    /// Warnings about options that have no effect without others.
    pub(super) fn unused_augment(&self) -> impl Iterator<Item = String> {
        let (augment, default) = (&self.augment, Augment::default());
        let is_moved = augment.shift > 0 || augment.rotation.get() > 0.0;
        let border = (augment.border != default.border && !is_moved)
            .then(|| "`augment.border` has no effect without `augment.shift` and `augment.rotation`".to_owned());
        let ratio = (augment.crop_ratio != default.crop_ratio && augment.crop_scale == default.crop_scale)
            .then(|| "`augment.crop_ratio` has no effect without `augment.crop_scale` < 1".to_owned());
        border.into_iter().chain(ratio)
    }
}

impl Default for Augment {
    fn default() -> Self {
        let none = NonNegative::literal(0.0);
        Self {
            crop_scale: Share::literal(1.0),
            crop_ratio: Ratio::literal(4.0 / 3.0),
            rotation: Degrees::literal(0.0),
            shift: 0,
            border: Border::Black,
            flip: Flip::None,
            brightness: none,
            contrast: none,
            saturation: none,
            hue: HueTurn::literal(0.0),
            cutout: 0,
            mixup: none,
            test_flip: false,
            test_shift: 0,
        }
    }
}
