//! The `[model]` section.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::number::{Count, Fraction};
use super::{ConfigError, load};

/// The network and its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct Model {
    /// The kind of network.
    pub kind: ModelKind,
    /// Output channels of each convolution of a `cnn`; each is followed by ReLU and a 2×2 max-pool.
    pub channels: Vec<Count>,
    /// Side of the square convolution kernels.
    pub kernel_size: Count,
    /// What the convolutions see beyond the edge.
    pub padding: Padding,
    /// Units of the hidden dense layer of a `cnn` or `mlp`.
    pub hidden: Count,
    /// Probability of dropping a hidden unit in a training step.
    pub dropout: Fraction,
    /// How the weights start.
    pub initializer: Init,
    /// A safetensors file to start from instead.
    pub init: Option<PathBuf>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            kind: ModelKind::default(),
            channels: vec![Count::literal(32), Count::literal(64)],
            kernel_size: Count::literal(3),
            padding: Padding::Valid,
            hidden: Count::literal(128),
            dropout: Fraction::literal(0.0),
            initializer: Init::default(),
            init: None,
        }
    }
}

/// The section as it is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    kind: ModelKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channels: Option<Vec<Count>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kernel_size: Option<Count>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    padding: Option<Padding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hidden: Option<Count>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dropout: Option<Fraction>,
    #[serde(default)]
    initializer: Init,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init: Option<PathBuf>,
}

impl TryFrom<Keys> for Model {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        let (convolves, hides) = (keys.kind == ModelKind::Cnn, keys.kind != ModelKind::Linear);
        let given = [
            ("channels", keys.channels.is_some(), convolves),
            ("kernel_size", keys.kernel_size.is_some(), convolves),
            ("padding", keys.padding.is_some(), convolves),
            ("hidden", keys.hidden.is_some(), hides),
            ("dropout", keys.dropout.is_some(), hides),
        ];
        load::refuse_foreign_keys("model", &load::kind_in_words(&keys.kind), &given)?;
        let usual = Self::default();
        Ok(Self {
            kind: keys.kind,
            channels: if convolves { keys.channels.unwrap_or(usual.channels) } else { Vec::new() },
            kernel_size: keys.kernel_size.unwrap_or(usual.kernel_size),
            padding: keys.padding.unwrap_or(usual.padding),
            hidden: keys.hidden.unwrap_or(usual.hidden),
            dropout: keys.dropout.unwrap_or(usual.dropout),
            initializer: keys.initializer,
            init: keys.init,
        })
    }
}

impl From<Model> for Keys {
    fn from(model: Model) -> Self {
        let (convolves, hides) = (model.kind == ModelKind::Cnn, model.kind != ModelKind::Linear);
        Self {
            kind: model.kind,
            channels: convolves.then_some(model.channels),
            kernel_size: convolves.then_some(model.kernel_size),
            padding: convolves.then_some(model.padding),
            hidden: hides.then_some(model.hidden),
            dropout: hides.then_some(model.dropout),
            initializer: model.initializer,
            init: model.init,
        }
    }
}

/// What convolutions see beyond the edge of what they get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// Nothing: they give fewer rows and columns than they get.
    Valid,
    /// Zeros: they give as many. The kernel has an odd side.
    Same,
}

/// The kinds of network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// Convolutions with pooling, then two dense layers.
    #[default]
    Cnn,
    /// Two dense layers.
    Mlp,
    /// One dense layer: softmax regression.
    Linear,
}

impl ModelKind {
    /// The word for it in configs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cnn => "cnn",
            Self::Mlp => "mlp",
            Self::Linear => "linear",
        }
    }
}

/// How weights start; biases start at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// Uniform in ±√(6/(fan in + fan out)), Keras' default (Glorot and Bengio 2010).
    #[default]
    Glorot,
    /// Uniform in ±√(6/fan in), made for ReLU (He et al. 2015, arXiv 1502.01852).
    Kaiming,
}
