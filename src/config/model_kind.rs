//! The choices of the `[model]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::number::{Count, Fraction};

/// The padding of convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// No padding: the output has fewer rows and columns than the input.
    Valid,
    /// Padding with zeros: the output has as many rows and columns as the input. The kernel has an odd side.
    Same,
}

/// The kinds of network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// Convolutions, each with ReLU and a 2×2 max-pool, then a hidden dense layer with ReLU and a dense layer of logits.
    #[default]
    Cnn,
    /// A hidden dense layer with ReLU, and a dense layer of logits.
    Mlp,
    /// A dense layer of logits: softmax regression.
    Linear,
    /// The denoising network DnCNN, which gives images: convolutions with batch normalization find the noise in an image, and it is subtracted.
    Dncnn,
    /// ResNet-9: eight 3×3 convolutions with batch normalization and ReLU, three 2×2 max-pools and two residual blocks; a global max-pool and a dense layer of logits.
    Resnet9,
    /// A residual network for images of about 32×32 (He et al. 2015): a 3×3 convolution, `blocks` residual blocks of two 3×3 convolutions, a global average pool and a dense layer
    /// of logits. Batch normalization follows every convolution.
    Resnet20,
    /// A residual network for images of about 64×64 or more (He et al. 2015), under the tensor names of torchvision's `resnet18`: as `resnet20`, but the first convolution is 7×7 with
    /// stride 2 and has a max-pool after it.
    Resnet18,
    /// EfficientNet-Lite0 for images of about 64×64 or more (Tan and Le 2019), under the tensor names of `efficientnet-lite-pytorch`: a 3×3 convolution with stride 2, `blocks` inverted
    /// residual blocks of a 1×1, a depthwise and a 1×1 convolution, a 1×1 convolution, a global average pool and a dense layer of logits. Batch normalization follows every
    /// convolution, `ReLU6` all but the last of each block.
    #[serde(rename = "efficientnet_lite0")]
    EfficientnetLite0,
    /// A list of layers.
    Layers,
}

impl ModelKind {
    /// The word for it in configs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cnn => "cnn",
            Self::Mlp => "mlp",
            Self::Linear => "linear",
            Self::Dncnn => "dncnn",
            Self::Resnet9 => "resnet9",
            Self::Resnet20 => "resnet20",
            Self::Resnet18 => "resnet18",
            Self::EfficientnetLite0 => "efficientnet_lite0",
            Self::Layers => "layers",
        }
    }

    /// Whether it tells classes apart and gives nothing else.
    #[must_use]
    pub const fn is_classifier(self) -> bool {
        !matches!(self, Self::Dncnn | Self::Layers)
    }

    /// The default of `model.widths`.
    pub(super) fn widths(self) -> Vec<Count> {
        let widths: &[usize] = match self {
            Self::Resnet9 | Self::Resnet18 => &[64, 128, 256, 512],
            Self::Resnet20 => &[16, 32, 64],
            Self::EfficientnetLite0 => &[32, 16, 24, 40, 80, 112, 192, 320, 1280],
            _ => &[],
        };
        widths.iter().map(|width| Count::literal(*width)).collect()
    }

    /// The default of `model.blocks`.
    pub(super) fn blocks(self) -> Vec<Count> {
        let blocks: &[usize] = match self {
            Self::Resnet18 => &[2; 4],
            Self::Resnet20 => &[3; 3],
            Self::EfficientnetLite0 => &[1, 2, 2, 3, 3, 4, 1],
            _ => &[],
        };
        blocks.iter().map(|count| Count::literal(*count)).collect()
    }

    /// The default of `model.dropout`.
    pub(super) const fn dropout(self) -> Fraction {
        Fraction::literal(if matches!(self, Self::EfficientnetLite0) { 0.2 } else { 0.0 })
    }
}

/// How weights start; biases start at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// Uniform in ±√(6/(fan in + fan out)), Keras' default (Glorot and Bengio 2010).
    #[default]
    Glorot,
    /// Uniform in ±√(6/fan in), made for ReLU (He et al. 2015, arXiv 1502.01852).
    Kaiming,
    /// Uniform in ±√(1/fan in), as PyTorch's `Conv2d` and `Linear` start.
    Pytorch,
    /// As `pytorch`, but each of the first output channels of a convolution is one of its input channels, unchanged, as far as there are such (Zagoruyko and Komodakis 2017,
    /// arXiv 1706.00388).
    Dirac,
}
