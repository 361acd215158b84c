//! The shapes of images and of what a network makes of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The shape every image of a set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// 1 for grey, 3 for colour; or the channels of a feature map.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
}

impl Shape {
    /// Numbers of one image.
    #[must_use]
    pub const fn size(self) -> usize {
        self.channels * self.height * self.width
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{}×{}×{}", self.height, self.width, self.channels)
    }
}

/// What a node gives for one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// A feature map: `[channel, row, column]`.
    Map(Shape),
    /// A feature vector.
    Vector(usize),
}

impl Features {
    /// How many numbers it has.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Map(shape) => shape.size(),
            Self::Vector(length) => length,
        }
    }

    /// Its channels; the length of a vector.
    #[must_use]
    pub const fn channels(self) -> usize {
        match self {
            Self::Map(shape) => shape.channels,
            Self::Vector(length) => length,
        }
    }

    /// The numbers of one channel: 1 in a vector.
    #[must_use]
    pub const fn area(self) -> usize {
        match self {
            Self::Map(shape) => shape.height * shape.width,
            Self::Vector(_) => 1,
        }
    }

    /// As a list: `[channels, height, width]` or `[length]`.
    #[must_use]
    pub fn dims(self) -> Vec<usize> {
        match self {
            Self::Map(Shape { channels, height, width }) => vec![channels, height, width],
            Self::Vector(length) => vec![length],
        }
    }
}

impl fmt::Display for Features {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{:?}", self.dims())
    }
}
