//! The `[model]` section.

use std::path::PathBuf;

use regulus_model::graph::{Features, Graph, GraphError, Layer, Shape};
use regulus_model::networks::{self, Cnn, DnCnn, Mlp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::keys::keys;
use super::number::{Count, Fraction};

/// The network and its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct Model {
    /// The kind of network.
    pub kind: ModelKind,
    /// Output channels of each convolution of a `cnn`; each is followed by ReLU and a 2×2 max-pool.
    pub channels: Vec<Count>,
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
    /// A run folder or a safetensors file with weights to start from instead.
    pub init: Option<PathBuf>,
}

impl Default for Model {
    fn default() -> Self {
        let keys = Keys::of(ModelKind::Cnn);
        Self {
            kind: ModelKind::Cnn,
            channels: keys.channels(),
            kernel_size: keys.kernel_size(),
            padding: keys.padding(),
            hidden: keys.hidden(),
            dropout: keys.dropout(),
            depth: keys.depth(),
            width: keys.width(),
            layers: Vec::new(),
            initializer: keys.initializer(),
            init: None,
        }
    }
}

keys! {
    struct Keys in "model" {
        /// The kind of network.
        kind: ModelKind = ModelKind::Cnn;
        /// The output channels of each convolution.
        channels: Vec<Count> = vec![Count::literal(32), Count::literal(64)], for Cnn;
        /// The side of the square convolution kernels.
        kernel_size: Count = Count::literal(3), for Cnn;
        /// The padding of convolutions.
        padding: Padding = Padding::Valid, for Cnn;
        /// The units of the hidden dense layer.
        hidden: Count = Count::literal(128), for Cnn | Mlp;
        /// The probability that a hidden unit is dropped in a training step.
        dropout: Fraction = Fraction::literal(0.0), for Cnn | Mlp;
        /// The number of convolutions. Zhang et al. 2017 have 17.
        depth: Count = Count::literal(7), schema { "minimum": 2, "maximum": 1000 }, for Dncnn;
        /// The output channels of each convolution but the last. Zhang et al. 2017 have 64.
        width: Count = Count::literal(32), for Dncnn;
        /// A list such as `["conv 16 3x3", "batch_norm", "relu", "global_average_pool", "dense classes"]`.
        layers: Vec<Layer>, default "required for `layers`", schema { "minItems": 1, "x-values": "list of layers" }, for Layers;
        /// The distribution of the initial weights of convolutions and dense layers. Biases start at 0.
        initializer: Init = Init::Glorot;
        /// Initial weights instead: a run folder, or a safetensors file that `regulus export` wrote.
        init: PathBuf, default "none", schema { "x-values": "path" };
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
        let depth = keys.depth();
        if !DEPTHS.contains(&depth.get()) {
            let problem = format!("is {}; expected a whole number from {} to {}", depth.get(), DEPTHS.start(), DEPTHS.end());
            return Err(ConfigError::value("model.depth", problem));
        }
        Ok(Self {
            kind,
            channels: if kind == ModelKind::Cnn { keys.channels() } else { Vec::new() },
            kernel_size: keys.kernel_size(),
            padding: keys.padding(),
            hidden: keys.hidden(),
            dropout: keys.dropout(),
            depth,
            width: keys.width(),
            initializer: keys.initializer(),
            layers: keys.layers.unwrap_or_default(),
            init: keys.init,
        })
    }
}

impl From<Model> for Keys {
    fn from(model: Model) -> Self {
        let hides = Self { hidden: Some(model.hidden), dropout: Some(model.dropout), ..Self::of(model.kind) };
        let keys = match model.kind {
            ModelKind::Cnn => {
                Self { channels: Some(model.channels), kernel_size: Some(model.kernel_size), padding: Some(model.padding), ..hides }
            }
            ModelKind::Mlp => hides,
            ModelKind::Linear => Self::of(model.kind),
            ModelKind::Dncnn => Self { depth: Some(model.depth), width: Some(model.width), ..Self::of(model.kind) },
            ModelKind::Layers => Self { layers: Some(model.layers), ..Self::of(model.kind) },
        };
        Self { initializer: Some(model.initializer), init: model.init, ..keys }
    }
}

impl Model {
    /// The network, for images of shape `input` in `classes` classes.
    ///
    /// # Errors
    ///
    /// When a layer does not fit what reaches it, or the network does not give one number for each class.
    pub fn graph(&self, input: Shape, classes: usize) -> Result<Graph, ConfigError> {
        self.graph_to(input, Features::Vector(classes))
    }

    /// The network that gives `output` for images of shape `input`: a number for each class, or images of the same shape.
    ///
    /// # Errors
    ///
    /// When a layer does not fit what reaches it, or the network gives something else.
    pub fn graph_to(&self, input: Shape, output: Features) -> Result<Graph, ConfigError> {
        let classes = match output {
            Features::Vector(classes) => classes,
            Features::Map(_) => 0,
        };
        self.check_kind(output)?;
        let (kernel_size, hidden, dropout) = (self.kernel_size.get(), self.hidden.get(), self.dropout.get());
        if self.kind == ModelKind::Cnn && self.padding == Padding::Same && kernel_size.is_multiple_of(2) {
            let problem = format!("is \"same\", but `model.kernel_size` is {kernel_size}; use an odd one, or \"valid\"");
            return Err(ConfigError::value("model.padding", problem));
        }
        let graph = match self.kind {
            ModelKind::Cnn => {
                let padding = if self.padding == Padding::Same { kernel_size / 2 } else { 0 };
                let channels = self.channels.iter().map(|count| count.get()).collect();
                Cnn { channels, kernel_size, padding, hidden, dropout }.graph(input, classes)
            }
            ModelKind::Mlp => Mlp { hidden, dropout }.graph(input, classes),
            ModelKind::Linear => networks::linear(input, classes),
            ModelKind::Dncnn => DnCnn { depth: self.depth.get(), width: self.width.get() }.graph(input),
            ModelKind::Layers => networks::layers(&self.layers, input, classes),
        };
        let graph = graph.map_err(|error| self.misfit(&error, input))?;
        let found = graph.output_features();
        if found != output {
            let problem = match output {
                Features::Vector(_) => format!("end in {found}, but there are {classes} classes; end with \"dense classes\""),
                Features::Map(_) => format!(
                    "end in {found}, but images of {output} are to come out; end with a convolution that gives them, such as \"conv {} 3x3 padding 1\"",
                    input.channels
                ),
            };
            return Err(ConfigError::value("model.layers", problem));
        }
        if graph.parameter_count() == 0 {
            return Err(ConfigError::value("model.layers", "have nothing that can be trained; add a `conv` or `dense` layer"));
        }
        Ok(graph)
    }

    /// Whether the kind of network can give such an output.
    fn check_kind(&self, output: Features) -> Result<(), ConfigError> {
        let kind = self.kind.name();
        let problem = match (self.kind, output) {
            (ModelKind::Dncnn, Features::Vector(classes)) => {
                format!(
                    "is \"{kind}\", which gives images, but {classes} classes are to be told apart; use \"cnn\", \"mlp\", \"linear\" or \"layers\""
                )
            }
            (ModelKind::Cnn | ModelKind::Mlp | ModelKind::Linear, Features::Map(_)) => {
                format!("is \"{kind}\", which tells classes apart, but images are to come out; use \"dncnn\" or \"layers\"")
            }
            _ => return Ok(()),
        };
        Err(ConfigError::value("model.kind", problem))
    }

    /// The index of the layer that an error names, if it is one of `layers`.
    fn line_of(&self, error: &GraphError) -> Option<usize> {
        let (GraphError::Node { name, .. } | GraphError::TooLarge { name, .. }) = error else { return None };
        let names = networks::names_of_layers(&self.layers);
        let mut named = (0..names.len()).filter(|line| names[*line] == *name);
        // A name that two layers have does not say which.
        named.next().filter(|_| named.next().is_none())
    }

    /// The key at fault where a network does not fit.
    fn misfit(&self, error: &GraphError, input: Shape) -> ConfigError {
        let line = self.line_of(error).map(|line| format!("model.layers.{line}"));
        let key = match (self.kind, error) {
            (ModelKind::Layers, _) => line.as_deref().unwrap_or("model.layers"),
            (ModelKind::Linear, _) => "data.image_size",
            (ModelKind::Dncnn, _) => "model.width",
            (_, GraphError::TooLarge { word: "dense", .. }) => "model.hidden",
            (_, GraphError::Node { word: "conv", .. }) => "model.kernel_size",
            _ => "model.channels",
        };
        let problem = match (self.kind, key) {
            (ModelKind::Layers, "model.layers") => format!("make no network for images of {input}: {error}"),
            (ModelKind::Layers, _) => format!("is wrong for images of {input}: {error}"),
            _ if !matches!(error, GraphError::TooLarge { .. }) => {
                format!("doesn't fit images of {input}: {error}; use fewer convolutions, a smaller kernel or larger images")
            }
            _ => format!("doesn't fit: {error}"),
        };
        ConfigError::value(key, problem)
    }
}

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
    /// A list of layers.
    Layers,
}

/// The convolutions that a `dncnn` may have.
const DEPTHS: std::ops::RangeInclusive<usize> = 2..=1000;

impl ModelKind {
    /// The word for it in configs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cnn => "cnn",
            Self::Mlp => "mlp",
            Self::Linear => "linear",
            Self::Dncnn => "dncnn",
            Self::Layers => "layers",
        }
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
}

#[cfg(test)]
mod tests {
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
                r#""gelu""#,
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
    fn padding_same_keeps_the_size() {
        let graph = graph("model.padding=same", 28).unwrap();
        assert_eq!(graph.parameters().find(|parameter| parameter.name == "dense1.weight").unwrap().shape, [128, 7 * 7 * 64]);
    }
}
