//! Dense layers.

use serde::{Deserialize, Serialize};

use super::op::Operation;
use super::words::Words;
use super::{Features, Parameter, Role};

/// A dense layer, x·Wᵀ + b, as PyTorch's `Linear`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// Output units.
    pub outputs: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Dense {
    /// A dense layer with a bias.
    #[must_use]
    pub const fn new(outputs: usize) -> Self {
        Self { outputs, bias: true }
    }

    pub(super) fn parse(words: &mut Words, classes: usize) -> Result<Self, String> {
        let example = "dense 128, or dense classes";
        let units: String = words.value("output units", example)?;
        let outputs = match units.as_str() {
            "classes" if classes == 0 => {
                return Err(
                    "has `classes` for output units, but what is trained has no classes; expected for example `dense 128`".to_owned()
                );
            }
            "classes" => classes,
            number => Words::new(number).value("output units", example)?,
        };
        let mut dense = Self::new(outputs);
        words.options("`bias false`", |key, words| {
            if key == "bias" {
                dense.bias = words.value("a bias", "bias false")?;
            }
            Ok(key == "bias")
        })?;
        Ok(dense)
    }
}

impl Operation for Dense {
    fn output(&self, inputs: &[Features]) -> Result<Features, String> {
        if self.outputs == 0 {
            return Err("has 0 units; expected at least 1".to_owned());
        }
        match inputs {
            [Features::Vector(_)] => Ok(Features::Vector(self.outputs)),
            _ => Err(format!(
                "gets a feature map {}; put `flatten`, `global_average_pool` or `global_max_pool` before it",
                super::listed(inputs)
            )),
        }
    }

    fn parameters(&self, input: Features) -> Vec<Parameter> {
        let weight = Parameter::new("weight", &[self.outputs, input.size()], Role::Kernel);
        let bias = self.bias.then(|| Parameter::new("bias", &[self.outputs], Role::Bias));
        std::iter::once(weight).chain(bias).collect()
    }

    fn multiplications(&self, input: Features, output: Features) -> u64 {
        input.size() as u64 * output.size() as u64
    }
}
