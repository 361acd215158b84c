//! What the header of an image file says.

use std::path::Path;

use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageReader};

/// The size of an image, turned as the camera says, and whether its pixels are stored as grey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Rows of pixels.
    pub height: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Whether it has no colours.
    pub is_grey: bool,
}

impl ImageInfo {
    /// Reads the header of the file at `path`; returns `None` when it is no image that can be decoded, or has no pixels.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        let mut decoder = ImageReader::open(path).ok()?.with_guessed_format().ok()?.into_decoder().ok()?;
        let turned = [Orientation::Rotate90, Orientation::Rotate270, Orientation::Rotate90FlipH, Orientation::Rotate270FlipH];
        let is_turned = decoder.orientation().is_ok_and(|orientation| turned.contains(&orientation));
        let (width, height) = match decoder.dimensions() {
            (width, height) if is_turned => (height, width),
            sides => sides,
        };
        let is_grey = matches!(decoder.color_type(), ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16);
        (width > 0 && height > 0).then_some(Self { height, width, is_grey })
    }
}
