//! From image files to the numbers a network sees.

use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Shape;
use crate::infer::Views;

/// How an image file becomes the bytes of an image.
///
/// A camera's orientation is applied, and what is transparent is laid over white. Grey is 0.2126 R + 0.7152 G + 0.0722 B (ITU-R BT.709) of
/// the values as they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preprocess {
    /// The shape it is brought to.
    pub shape: Shape,
    /// How other proportions are brought to that shape.
    pub resize: Resize,
    /// How pixels between those of the file are computed.
    pub filter: Filter,
    /// How JPEG files are decoded.
    pub decoding: Decoding,
}

/// How JPEG files are decoded and images scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decoding {
    /// In full size, as version 0.1.0 did; for runs that began with it.
    #[default]
    Full,
    /// In the smallest of 1, 1/2, 1/4 and 1/8 of their size that has at least twice the height and width wanted.
    Reduced,
}

/// How an image of other proportions than the network's input is brought to its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Resize {
    /// Height and width are scaled independently, so objects can look stretched.
    #[default]
    Stretch,
    /// Scaled until it covers the size, then cut to its middle.
    Crop,
    /// Scaled until it fits into the size, in the middle of a black ground.
    Pad,
}

/// How an image is resized. Where it is made smaller, the filter is widened by the scale, so that every pixel counts (antialiasing).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Filter {
    /// From the nearest 2×2 pixels, as Pillow's `BILINEAR`.
    #[default]
    Bilinear,
    /// From the nearest 4×4 pixels by cubic convolution (Keys 1981) with a = −1/2, as Pillow's `BICUBIC`: sharper, above all where images are made larger.
    Bicubic,
}

/// For each channel, what is subtracted from pixel / 255 and what the difference is divided by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalizer {
    /// Subtracted, one for each channel.
    pub mean: Vec<f64>,
    /// Divided by, one for each channel; greater than 0.
    pub deviation: Vec<f64>,
}

impl Normalizer {
    /// Whether it makes pixel / 255 of every pixel.
    #[must_use]
    pub fn is_unit(&self) -> bool {
        let is = |numbers: &[f64], number: f64| numbers.iter().all(|one| one.to_bits() == number.to_bits());
        is(&self.mean, 0.0) && is(&self.deviation, 1.0)
    }

    /// The number for every byte, channel by channel.
    #[must_use]
    pub fn table(&self) -> Vec<[f32; 256]> {
        self.mean
            .iter()
            .zip(&self.deviation)
            .map(|(mean, deviation)| {
                #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a byte, as the network's float")]
                std::array::from_fn(|pixel| ((pixel as f64 / 255.0 - mean) / deviation) as f32)
            })
            .collect()
    }
}

/// From an image to the numbers a network sees: decoded, resized, and normalized channel by channel as (pixel/255 − mean) / deviation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Mean and deviation.
    #[serde(flatten)]
    pub normalizer: Normalizer,
    /// How an image of other proportions is brought to the network's size. Files of version 0.1.0 do not say: there was only `stretch`.
    #[serde(default)]
    pub resize: Resize,
    /// How pixels between those of the file are computed. Files of version 0.1.0 do not say: there was only `bilinear`, which later ones called `triangle`.
    #[serde(default, deserialize_with = "filter")]
    pub filter: Filter,
    /// How JPEG files are decoded. Files of version 0.1.0 do not say: they were decoded in full size.
    #[serde(default)]
    pub decoding: Decoding,
    /// Whether the logits are the mean over the image and its mirror image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test_flip: bool,
    /// By how many pixels an image is moved for the views that the logits are the mean over, as in [`Views`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub test_shift: u32,
    /// What else is done to an image file.
    #[serde(flatten)]
    pub steps: FileSteps,
}

impl Preprocessing {
    /// What the logits are the mean over.
    #[must_use]
    pub const fn views(&self) -> Views {
        Views { test_flip: self.test_flip, test_shift: self.test_shift }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The filter, also by its older name in exported files.
fn filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Filter, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name == "triangle" { Ok(Filter::Bilinear) } else { Filter::deserialize(name.into_deserializer()) }
}

/// What is done to an image file beside decoding and resizing. It is the same for every network of this version; a file says it for other programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileSteps {
    /// A grey pixel is this much of red, green and blue, as the file stores them (ITU-R BT.709).
    pub grey: [f64; 3],
    /// The colour behind transparent pixels: `white`.
    pub background: String,
    /// Whether a camera's orientation (EXIF) is applied.
    pub orientation: bool,
}

impl Default for FileSteps {
    fn default() -> Self {
        Self { grey: [0.2126, 0.7152, 0.0722], background: "white".to_owned(), orientation: true }
    }
}
