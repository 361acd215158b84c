//! How an image file becomes the bytes of an image.

use serde::{Deserialize, Serialize};

use super::Shape;
use crate::config::Resize;

/// How an image file becomes the bytes of an image.
///
/// A camera's orientation is applied, and what is transparent is laid over white. Resizing is by a triangle filter that is widened when it scales
/// down (bilinear with antialiasing, as Pillow's `BILINEAR`). Grey is 0.2126 R + 0.7152 G + 0.0722 B (ITU-R BT.709) of the values as they are
/// stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preprocess {
    /// The shape it is brought to.
    pub shape: Shape,
    /// How other proportions are brought to that shape.
    pub resize: Resize,
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
