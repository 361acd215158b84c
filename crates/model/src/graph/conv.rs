//! Convolution.

use serde::{Deserialize, Serialize};

use super::op::Operation;
use super::words::Words;
use super::{Features, Parameter, Role};
use crate::Shape;

/// A convolution (cross-correlation) as PyTorch's `Conv2d`, with zeros around. Where `groups` is the number of channels it is depthwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv {
    /// Output channels.
    pub outputs: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// Rows of zeros above and below, columns of zeros left and right.
    pub padding: [usize; 2],
    /// Further rows of zeros below, further columns of zeros right.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub extra_padding: [usize; 2],
    /// Groups of channels that are convolved apart.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Conv {
    /// A convolution with a square kernel, stride 1, no padding, and a bias.
    #[must_use]
    pub const fn new(outputs: usize, kernel: usize) -> Self {
        Self { outputs, kernel: [kernel; 2], stride: [1; 2], padding: [0; 2], extra_padding: [0; 2], groups: 1, bias: true }
    }

    /// The same with so many zeros on each side.
    #[must_use]
    pub const fn padding(self, padding: usize) -> Self {
        Self { padding: [padding; 2], ..self }
    }

    /// The same with the zeros of TensorFlow's `SAME` for images of these sides: the output has `side / stride` rows and columns, rounded up. Where the number of
    /// zeros is odd, there is one more below and right.
    #[must_use]
    pub fn same_padding(self, sides: [usize; 2]) -> Self {
        let zeros = |axis: usize| {
            let (side, stride, kernel) = (sides[axis], self.stride[axis], self.kernel[axis]);
            (side.div_ceil(stride).saturating_sub(1) * stride + kernel).saturating_sub(side)
        };
        let zeros = [zeros(0), zeros(1)];
        Self { padding: zeros.map(|zeros| zeros / 2), extra_padding: zeros.map(|zeros| zeros % 2), ..self }
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, String> {
        let example = "conv 32 3x3";
        let outputs = words.value("output channels", example)?;
        let kernel = words.sides("a kernel", example)?;
        let mut conv = Self { kernel, ..Self::new(outputs, 1) };
        let keys = "`stride 2`, `padding 1`, `padding same`, `groups 4` or `bias false`";
        words.options(keys, |key, words| {
            match key {
                "stride" => conv.stride = words.sides("a stride", "stride 2")?,
                "padding" => conv.padding = conv.parse_padding(words)?,
                "groups" => conv.groups = words.value("groups", "groups 4")?,
                "bias" => conv.bias = words.value("a bias", "bias false")?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(conv)
    }

    fn parse_padding(&self, words: &mut Words) -> Result<[usize; 2], String> {
        let word: String = words.value("padding", "padding 1")?;
        if word != "same" {
            return Words::new(&word).sides("padding", "padding 1");
        }
        if self.kernel.iter().any(|side| side % 2 == 0) {
            return Err("has `padding same` and a kernel of even size; use an odd one, or a number".to_owned());
        }
        Ok(self.kernel.map(|side| side / 2))
    }
}

fn is_zero(padding: &[usize; 2]) -> bool {
    *padding == [0, 0]
}

impl Operation for Conv {
    fn output(&self, inputs: &[Features]) -> Result<Features, String> {
        let Shape { channels, height, width } = super::map(inputs)?;
        let Self { outputs, kernel, stride, padding, extra_padding, groups, .. } = self;
        if *outputs == 0 || *groups == 0 || kernel.contains(&0) || stride.contains(&0) {
            return Err("has a size of 0; expected channels, kernel, stride and groups of at least 1".to_owned());
        }
        if channels % groups != 0 || outputs % groups != 0 {
            return Err(format!("has {groups} groups, which do not divide its {channels} input and {outputs} output channels"));
        }
        let sides = super::windows("kernel", [height, width], *kernel, *stride, [*padding, *extra_padding])?;
        Ok(Features::Map(Shape { channels: *outputs, height: sides[0], width: sides[1] }))
    }

    fn parameters(&self, input: Features) -> Vec<Parameter> {
        let [rows, columns] = self.kernel;
        let shape = [self.outputs, input.channels() / self.groups, rows, columns];
        let weight = Parameter { groups: self.groups, ..Parameter::new("weight", &shape, Role::Kernel) };
        let bias = self.bias.then(|| Parameter::new("bias", &[self.outputs], Role::Bias));
        std::iter::once(weight).chain(bias).collect()
    }

    fn multiplications(&self, input: Features, output: Features) -> u64 {
        let per_output = [input.channels() / self.groups, self.kernel[0], self.kernel[1]];
        per_output.iter().fold(output.size() as u64, |product, factor| product * *factor as u64)
    }
}
