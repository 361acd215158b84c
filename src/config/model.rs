//! The `[model]` section.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use regulus_model::graph::Layer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::keys::keys;
use super::model_kind::{Init, ModelKind, Padding};
use super::number::{Count, Fraction};
use super::penalty::Scope;

/// The word of `model.init` for weights that were trained on `ImageNet` and can be fetched.
pub const IMAGENET: &str = "imagenet";

/// The network and its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct Model {
    /// The kind of network.
    pub kind: ModelKind,
    /// Output channels of each convolution of a `cnn`; each is followed by ReLU and a 2×2 max-pool.
    pub channels: Vec<Count>,
    /// Whether a `cnn` has batch normalization after each convolution.
    pub batch_norm: bool,
    /// Output channels of the stages of a residual network or `efficientnet_lite0`; empty: the default of the kind.
    pub widths: Vec<Count>,
    /// Blocks of each stage of a `resnet18`, `resnet20` or `efficientnet_lite0`; empty: the default of the kind.
    pub blocks: Vec<Count>,
    /// Side of the square convolution kernels.
    pub kernel_size: Count,
    /// The padding of convolutions.
    pub padding: Padding,
    /// Units of the hidden dense layer of a `cnn` or `mlp`.
    pub hidden: Count,
    /// Probability of dropping a hidden unit in a training step.
    pub dropout: Fraction,
    /// The number of convolutions of a `dncnn`. The default is for CPUs: an output pixel depends on 15×15 pixels. Zhang et al. 2017 have 17, for 35×35.
    pub depth: Count,
    /// Output channels of each convolution of a `dncnn` but the last. Zhang et al. 2017 have 64.
    pub width: Count,
    /// The layers of a network made of `layers`.
    pub layers: Vec<Layer>,
    /// How the weights start.
    pub initializer: Init,
    /// A run folder or a safetensors file with weights to start from instead; or [`IMAGENET`].
    pub init: Option<PathBuf>,
    /// The convolution that starts with whitening filters.
    pub whiten: Option<String>,
    /// The parameters that stay as they start, except those of the last dense layer.
    pub freeze: Vec<Scope>,
}

impl Default for Model {
    fn default() -> Self {
        let keys = Keys::of(ModelKind::Cnn);
        Self {
            kind: ModelKind::Cnn,
            channels: keys.channels(),
            batch_norm: keys.batch_norm(),
            widths: Vec::new(),
            blocks: Vec::new(),
            kernel_size: keys.kernel_size(),
            padding: keys.padding(),
            hidden: keys.hidden(),
            dropout: ModelKind::Cnn.dropout(),
            depth: keys.depth(),
            width: keys.width(),
            layers: Vec::new(),
            initializer: keys.initializer(),
            init: None,
            whiten: None,
            freeze: Vec::new(),
        }
    }
}

keys! {
    struct Keys in "model" {
        /// The kind of network.
        kind: ModelKind = ModelKind::Cnn;
        /// The output channels of each convolution.
        channels: Vec<Count> = vec![Count::literal(32), Count::literal(64)], for Cnn;
        /// Batch normalization between each convolution, which then has no bias, and its ReLU.
        batch_norm: bool = false, for Cnn;
        /// The output channels of the first convolution of a `resnet9` and of its three with a pool; of each stage of a `resnet18` or `resnet20`; of the first convolution, the seven stages and
        /// the last convolution of an `efficientnet_lite0`.
        widths: Vec<Count>, default "`[64, 128, 256, 512]`; `resnet20`: `[16, 32, 64]`; `efficientnet_lite0`: `[32, 16, 24, 40, 80, 112, 192, 320, 1280]`",
            schema { "minItems": 1 }, for Resnet9 | Resnet20 | Resnet18 | EfficientnetLite0;
        /// The residual blocks of each stage, in all at most 1000. `[3, 4, 6, 3]` is ResNet-34, `[9, 9, 9]` for `resnet20` ResNet-56.
        blocks: Vec<Count>, default "`[3, 3, 3]`; `resnet18`: `[2, 2, 2, 2]`; `efficientnet_lite0`: `[1, 2, 2, 3, 3, 4, 1]`", schema { "minItems": 1 },
            for Resnet20 | Resnet18 | EfficientnetLite0;
        /// The side of the square convolution kernels.
        kernel_size: Count = Count::literal(3), for Cnn;
        /// The padding of convolutions.
        padding: Padding = Padding::Valid, for Cnn;
        /// The units of the hidden dense layer.
        hidden: Count = Count::literal(128), for Cnn | Mlp;
        /// The probability that an input of the last dense layer is dropped in a training step.
        dropout: Fraction, default "`0`; `efficientnet_lite0`: `0.2`", for Cnn | Mlp | EfficientnetLite0;
        /// The number of convolutions. Zhang et al. 2017 have 17.
        depth: Count = Count::literal(7), schema { "minimum": 2, "maximum": 1000 }, for Dncnn;
        /// The output channels of each convolution but the last. Zhang et al. 2017 have 64.
        width: Count = Count::literal(32), for Dncnn;
        /// A list such as `["conv 16 3x3", "batch_norm", "relu", "global_average_pool", "dense classes"]`.
        layers: Vec<Layer>, default "required for `layers`", schema { "minItems": 1, "x-values": "list of layers" }, for Layers;
        /// The distribution of the initial weights of convolutions and dense layers. Biases start at 0.
        initializer: Init = Init::Glorot;
        /// Initial weights instead: a run folder; a safetensors file that `regulus export` wrote, or of PyTorch; or `imagenet`, the weights that `regulus data fetch efficientnet_lite0`
        /// fetches. A last dense layer of another number of classes starts anew.
        init: PathBuf, default "none", schema { "x-values": "path, or `imagenet`" };
        /// The name of a convolution of the image that starts with whitening filters of the training images instead: eigenvectors of the covariance of patches, divided by the roots of
        /// their eigenvalues, and the same with the other sign (Jordan 2024, arXiv 2404.00498). Further channels start as others do. `freeze` can keep them.
        whiten: String, default "none", schema { "x-values": "name of a layer" };
        /// Parameters that stay as they start, except those of the last dense layer: a list of scopes like that of a penalty. `["*"]` is everything but the last dense layer. A
        /// normalization whose scale and shift are frozen uses its running statistics and keeps them.
        freeze: Vec<Scope>, default "none", schema { "minItems": 1, "x-values": "list of scopes" };
    }
}

impl Model {
    /// Whether it starts from weights that were trained on `ImageNet` and can be fetched.
    #[must_use]
    pub fn starts_from_imagenet(&self) -> bool {
        self.init.as_deref() == Some(Path::new(IMAGENET))
    }

    /// Checks that there are such weights for the kind of network.
    pub(super) fn check_init(&self) -> Result<(), ConfigError> {
        if self.init.is_some() && self.whiten.is_some() {
            let problem = "is set, but `model.init` has the initial weights of every layer; leave one of the two out";
            return Err(ConfigError::value("model.whiten", problem));
        }
        if !self.starts_from_imagenet() || self.kind == ModelKind::EfficientnetLite0 {
            return Ok(());
        }
        let problem = format!(
            "is \"{IMAGENET}\", but this program knows no such weights for \"{}\"; expected `model.kind` = \"efficientnet_lite0\", or the path of a safetensors file",
            self.kind.name()
        );
        Err(ConfigError::value("model.init", problem))
    }
}

impl TryFrom<Keys> for Model {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        let kind = keys.checked_kind()?;
        if kind == ModelKind::Layers && keys.layers.as_ref().is_none_or(Vec::is_empty) {
            let problem =
                "is missing or empty; expected a list such as [\"conv 16 3x3\", \"relu\", \"global_average_pool\", \"dense classes\"]";
            return Err(ConfigError::value("model.layers", problem));
        }
        let (widths, blocks) = stages(kind, keys.widths.clone(), keys.blocks.clone())?;
        let depth = keys.depth();
        if !DEPTHS.contains(&depth.get()) {
            let problem = format!("is {}; expected a whole number from {} to {}", depth.get(), DEPTHS.start(), DEPTHS.end());
            return Err(ConfigError::value("model.depth", problem));
        }
        Ok(Self {
            kind,
            channels: if kind == ModelKind::Cnn { keys.channels() } else { Vec::new() },
            batch_norm: keys.batch_norm(),
            widths,
            blocks,
            kernel_size: keys.kernel_size(),
            padding: keys.padding(),
            hidden: keys.hidden(),
            dropout: keys.dropout.unwrap_or_else(|| kind.dropout()),
            depth,
            width: keys.width(),
            initializer: keys.initializer(),
            layers: keys.layers.unwrap_or_default(),
            init: keys.init,
            whiten: keys.whiten,
            freeze: keys.freeze.unwrap_or_default(),
        })
    }
}

/// The widths and blocks of a residual network: those that are given, or the defaults.
pub(super) fn stages(
    kind: ModelKind,
    widths: Option<Vec<Count>>,
    blocks: Option<Vec<Count>>,
) -> Result<(Vec<Count>, Vec<Count>), ConfigError> {
    let has_widths = widths.is_some();
    let (widths, blocks) = (widths.unwrap_or_else(|| kind.widths()), blocks.unwrap_or_else(|| kind.blocks()));
    // Of two lists that differ the one that is given is at fault.
    let (key, found, expected) = match kind {
        ModelKind::Resnet9 => ("model.widths", widths.len(), 4),
        ModelKind::EfficientnetLite0 if widths.len() != EFFICIENTNET_WIDTHS => ("model.widths", widths.len(), EFFICIENTNET_WIDTHS),
        ModelKind::EfficientnetLite0 => ("model.blocks", blocks.len(), EFFICIENTNET_WIDTHS - 2),
        ModelKind::Resnet18 | ModelKind::Resnet20 if has_widths => ("model.widths", widths.len(), blocks.len().max(1)),
        ModelKind::Resnet18 | ModelKind::Resnet20 => ("model.blocks", blocks.len(), widths.len()),
        _ => return Ok((widths, blocks)),
    };
    if found != expected {
        let reason = if matches!(kind, ModelKind::Resnet9 | ModelKind::EfficientnetLite0) {
            ""
        } else {
            "; `model.widths` and `model.blocks` have one for each stage"
        };
        return Err(ConfigError::value(key, format!("has {found} numbers; expected {expected}{reason}")));
    }
    let all = blocks.iter().fold(0_usize, |sum, count| sum.saturating_add(count.get()));
    if all > *DEPTHS.end() {
        return Err(ConfigError::value("model.blocks", format!("has {all} blocks in all; expected at most {}", DEPTHS.end())));
    }
    Ok((widths, blocks))
}

/// The convolutions that a `dncnn` may have, and the most blocks of a residual network.
const DEPTHS: RangeInclusive<usize> = 2..=1000;

/// The first convolution, seven stages and the last convolution of an `efficientnet_lite0`.
const EFFICIENTNET_WIDTHS: usize = 9;

impl From<Model> for Keys {
    fn from(model: Model) -> Self {
        let hides = Self { hidden: Some(model.hidden), dropout: Some(model.dropout), ..Self::of(model.kind) };
        let keys = match model.kind {
            ModelKind::Cnn => Self {
                channels: Some(model.channels),
                batch_norm: Some(model.batch_norm),
                kernel_size: Some(model.kernel_size),
                padding: Some(model.padding),
                ..hides
            },
            ModelKind::Mlp => hides,
            ModelKind::Linear => Self::of(model.kind),
            ModelKind::Dncnn => Self { depth: Some(model.depth), width: Some(model.width), ..Self::of(model.kind) },
            ModelKind::Resnet9 => Self { widths: Some(model.widths), ..Self::of(model.kind) },
            ModelKind::Resnet18 | ModelKind::Resnet20 => {
                Self { widths: Some(model.widths), blocks: Some(model.blocks), ..Self::of(model.kind) }
            }
            ModelKind::EfficientnetLite0 => {
                Self { widths: Some(model.widths), blocks: Some(model.blocks), dropout: Some(model.dropout), ..Self::of(model.kind) }
            }
            ModelKind::Layers => Self { layers: Some(model.layers), ..Self::of(model.kind) },
        };
        let freeze = (!model.freeze.is_empty()).then_some(model.freeze);
        Self { initializer: Some(model.initializer), init: model.init, whiten: model.whiten, freeze, ..keys }
    }
}

#[cfg(test)]
mod tests {
    use regulus_model::graph::{Features, Graph, Shape};

    use super::*;
    use crate::config::Experiment;

    fn graph(set: &str, side: usize) -> Result<Graph, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "name = \"a\"\n[data]\nsource = \"mnist_mini\"\n").unwrap();
        let experiment = Experiment::load(file.path(), &[set.to_owned()]).map_err(|error| error.to_string())?;
        experiment.model.graph(Shape { channels: 1, height: side, width: side }, 10).map_err(|error| error.to_string())
    }

    fn layers(lines: &str) -> String {
        graph(&format!("model={{kind=\"layers\", layers=[{lines}]}}"), 8).unwrap_err()
    }

    #[test]
    fn sizes_that_do_not_fit_are_reported() {
        let mut errors = vec![
            graph("model.kernel_size=29", 28).unwrap_err(),
            graph("model.channels=[8, 8]", 4).unwrap_err(),
            graph("model.channels=[8]", 3).unwrap_err(),
            graph("model={padding=\"same\", kernel_size=4}", 28).unwrap_err(),
            graph("model.hidden=9000000000000000000", 28).unwrap_err(),
            graph("model.kind=layers", 28).unwrap_err(),
        ];
        errors.extend(
            [
                r#""conv 4 3x3", "flatten""#,
                r#""conv 4 3x3", "dense classes""#,
                r#""conv 4 9x9", "flatten", "dense classes""#,
                r#""convolution 4""#,
                r#""rely""#,
                r#""""#,
                r#""conv 4 3x3 strid 2""#,
                r#""conv four 3x3""#,
                r#""conv 4 3x3 stride 2 stride 3", "flatten", "dense classes""#,
                r#""conv 4 3x3 padding 1 as a", "conv 5 3x3", "add a", "flatten", "dense classes""#,
                r#""conv 4 3x3 as a", "conv 4 3x3 from b", "flatten", "dense classes""#,
                r#""conv 4 3x3", "conv 4 3x3 from image", "flatten", "dense classes""#,
                r#""flatten", "dense classes", "dropout 1.5""#,
                r#""conv 4 3x3 groups 3", "flatten", "dense classes""#,
            ]
            .map(layers),
        );
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn a_network_gives_what_it_is_asked_for() {
        const IMAGE: Shape = Shape { channels: 3, height: 40, width: 32 };
        let model = |keys: &str| toml::from_str::<Model>(keys).map_err(|error| error.message().to_owned());
        let denoising = model("kind = \"dncnn\"").unwrap().graph_to(IMAGE, Features::Map(IMAGE)).unwrap();
        // 7 convolutions of 32 channels: 9·3·32 + 32, five times 9·32·32 and 2·32, 9·32·3 + 3.
        assert_eq!(denoising.parameter_count(), 896 + 5 * (9216 + 64) + 867);
        let mut errors: Vec<String> = ["depth = 1", "depth = 9000000000000000000", "width = 0", "channels = [3]"]
            .iter()
            .map(|key| model(&format!("kind = \"dncnn\"\n{key}")).unwrap_err())
            .collect();
        errors.push(model("depth = 7").unwrap_err());
        let refused = |keys: &str, output: Features| model(keys).unwrap().graph_to(IMAGE, output).unwrap_err().to_string();
        errors.push(refused("kind = \"dncnn\"", Features::Vector(10)));
        errors.push(refused("kind = \"dncnn\"\nwidth = 100000000", Features::Map(IMAGE)));
        errors.push(refused("kind = \"mlp\"", Features::Map(IMAGE)));
        errors.push(refused("kind = \"layers\"\nlayers = [\"conv 4 3x3 padding 1\"]", Features::Map(IMAGE)));
        errors.push(refused("kind = \"layers\"\nlayers = [\"flatten\", \"dense classes\"]", Features::Map(IMAGE)));
        errors.push(model("kind = \"layers\"\nlayers = [\"conv 4 3x3\", \"subtract\"]").unwrap_err());
        errors.push(refused("kind = \"layers\"\nlayers = [\"conv 4 3x3\", \"subtract image\"]", Features::Map(IMAGE)));
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn residual_networks_have_a_width_and_blocks_for_each_stage() {
        const IMAGE: Shape = Shape { channels: 3, height: 32, width: 32 };
        let model = |keys: &str| toml::from_str::<Model>(keys).map_err(|error| error.message().to_owned());
        let count = |keys: &str| model(keys).unwrap().graph(IMAGE, 10).unwrap().parameter_count();
        assert_eq!(count("kind = \"resnet9\""), 6_573_130);
        assert_eq!(count("kind = \"resnet20\""), 272_474);
        assert_eq!(count("kind = \"resnet20\"\nblocks = [9, 9, 9]"), 855_770);
        assert_eq!(count("kind = \"resnet18\""), 11_181_642);
        let refused = [
            "kind = \"resnet9\"\nwidths = [4, 8, 16]",
            "kind = \"resnet9\"\nblocks = [1, 1]",
            "kind = \"resnet20\"\nwidths = [4, 8]",
            "kind = \"resnet20\"\nblocks = [1, 1]",
            "kind = \"resnet20\"\nblocks = [500, 500, 1]",
            "kind = \"resnet18\"\nwidths = []\nblocks = []",
            "kind = \"resnet18\"\nchannels = [4]",
            "kind = \"mlp\"\nbatch_norm = true",
            "kind = \"efficientnet_lite0\"\nwidths = [4, 8]",
            "kind = \"efficientnet_lite0\"\nblocks = [4, 8]",
        ];
        let mut errors: Vec<String> = refused.map(|keys| model(keys).unwrap_err()).into();
        let misfit = |keys: &str, side: usize| {
            let image = Shape { channels: 3, height: side, width: side };
            model(keys).unwrap().graph(image, 10).unwrap_err().to_string()
        };
        errors.push(misfit("kind = \"resnet9\"", 7));
        errors.push(misfit("kind = \"resnet18\"\nwidths = [100000, 100000, 1, 1]", 32));
        errors.push(model("kind = \"resnet9\"").unwrap().graph_to(IMAGE, Features::Map(IMAGE)).unwrap_err().to_string());
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn a_model_made_in_rust_has_the_defaults_of_its_kind() {
        const IMAGE: Shape = Shape { channels: 3, height: 32, width: 32 };
        for (kind, parameters) in [
            (ModelKind::Resnet9, 6_573_130),
            (ModelKind::Resnet20, 272_474),
            (ModelKind::Resnet18, 11_181_642),
            (ModelKind::EfficientnetLite0, 3_383_818),
        ] {
            assert_eq!(Model { kind, ..Model::default() }.graph(IMAGE, 10).unwrap().parameter_count(), parameters);
        }
        let uneven = Model { kind: ModelKind::Resnet20, widths: vec![Count::literal(4)], ..Model::default() };
        assert!(uneven.graph(IMAGE, 10).unwrap_err().to_string().contains("`model.widths` has 1 numbers; expected 3"));
    }

    #[test]
    fn a_resolved_model_is_read_back() {
        for keys in [
            "kind = \"cnn\"\nbatch_norm = true",
            "kind = \"resnet9\"\nwidths = [4, 8, 8, 12]",
            "kind = \"resnet20\"",
            "kind = \"resnet18\"\nblocks = [1, 2, 3, 4]",
            "kind = \"efficientnet_lite0\"\ndropout = 0.1",
        ] {
            let model: Model = toml::from_str(keys).unwrap();
            assert_eq!(toml::from_str::<Model>(&toml::to_string(&model).unwrap()).unwrap(), model, "{keys}");
        }
    }

    #[test]
    fn padding_same_keeps_the_size() {
        let graph = graph("model.padding=same", 28).unwrap();
        assert_eq!(graph.parameters().find(|parameter| parameter.name == "dense1.weight").unwrap().shape, [128, 7 * 7 * 64]);
    }
}
