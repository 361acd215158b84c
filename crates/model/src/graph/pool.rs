//! Max-pools and average-pools.

use serde::{Deserialize, Serialize};

use super::op::Operation;
use super::words::Words;
use super::{Features, map, windows};
use crate::Shape;

/// The largest number of each window, as PyTorch's `MaxPool2d`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPool {
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// Rows and columns around, which never are the largest.
    pub padding: [usize; 2],
}

/// The mean of each window, as PyTorch's `AvgPool2d`: the zeros around count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AveragePool {
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// Rows and columns of zeros around.
    pub padding: [usize; 2],
}

impl MaxPool {
    /// Square windows side by side.
    #[must_use]
    pub const fn new(side: usize) -> Self {
        Self { kernel: [side; 2], stride: [side; 2], padding: [0; 2] }
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, String> {
        let [kernel, stride, padding] = parse(words, "max_pool 2")?;
        Ok(Self { kernel, stride, padding })
    }
}

impl AveragePool {
    /// Square windows side by side.
    #[must_use]
    pub const fn new(side: usize) -> Self {
        Self { kernel: [side; 2], stride: [side; 2], padding: [0; 2] }
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, String> {
        let [kernel, stride, padding] = parse(words, "average_pool 2")?;
        Ok(Self { kernel, stride, padding })
    }
}

/// Kernel, stride and padding. Windows lie side by side unless a stride says otherwise.
fn parse(words: &mut Words, example: &str) -> Result<[[usize; 2]; 3], String> {
    let kernel = words.sides("a window", example)?;
    let [mut stride, mut padding] = [kernel, [0; 2]];
    words.options("`stride 2` or `padding 1`", |key, words| {
        match key {
            "stride" => stride = words.sides("a stride", "stride 2")?,
            "padding" => padding = words.sides("padding", "padding 1")?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok([kernel, stride, padding])
}

fn pooled(inputs: &[Features], kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Result<Features, String> {
    let Shape { channels, height, width } = map(inputs)?;
    if kernel.contains(&0) || stride.contains(&0) {
        return Err("has a size of 0; expected a window and a stride of at least 1".to_owned());
    }
    if padding.iter().zip(kernel).any(|(padding, side)| *padding > side / 2) {
        return Err(format!("has a padding of {}×{}; expected at most half of its window", padding[0], padding[1]));
    }
    let [height, width] = windows("window", [height, width], kernel, stride, [padding, [0; 2]])?;
    Ok(Features::Map(Shape { channels, height, width }))
}

impl Operation for MaxPool {
    fn output(&self, inputs: &[Features]) -> Result<Features, String> {
        pooled(inputs, self.kernel, self.stride, self.padding)
    }
}

impl Operation for AveragePool {
    fn output(&self, inputs: &[Features]) -> Result<Features, String> {
        pooled(inputs, self.kernel, self.stride, self.padding)
    }
}
