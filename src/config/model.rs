//! The `[model]` section.

use std::path::PathBuf;

use regulus_model::graph::{Features, Graph, GraphError, Layer, Shape};
use regulus_model::networks::{self, Cnn, Mlp};
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
    /// The layers of a network made of `layers`.
    pub layers: Vec<Layer>,
    /// How the weights start.
    pub initializer: Init,
    /// A run folder or a safetensors file with weights to start from instead.
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
            layers: Vec::new(),
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<Layer>>,
    #[serde(default)]
    initializer: Init,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init: Option<PathBuf>,
}

impl TryFrom<Keys> for Model {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        let Sections { convolves, hides, layered } = keys.kind.sections();
        let given = [
            ("channels", keys.channels.is_some(), convolves),
            ("kernel_size", keys.kernel_size.is_some(), convolves),
            ("padding", keys.padding.is_some(), convolves),
            ("hidden", keys.hidden.is_some(), hides),
            ("dropout", keys.dropout.is_some(), hides),
            ("layers", keys.layers.is_some(), layered),
        ];
        load::refuse_foreign_keys("model", &load::kind_in_words(&keys.kind), &given)?;
        if layered && keys.layers.as_ref().is_none_or(Vec::is_empty) {
            let problem =
                "is missing or empty; expected a list such as [\"conv 16 3x3\", \"relu\", \"global_average_pool\", \"dense classes\"]";
            return Err(ConfigError::value("model.layers", problem));
        }
        let usual = Self::default();
        Ok(Self {
            kind: keys.kind,
            channels: if convolves { keys.channels.unwrap_or(usual.channels) } else { Vec::new() },
            kernel_size: keys.kernel_size.unwrap_or(usual.kernel_size),
            padding: keys.padding.unwrap_or(usual.padding),
            hidden: keys.hidden.unwrap_or(usual.hidden),
            dropout: keys.dropout.unwrap_or(usual.dropout),
            layers: keys.layers.unwrap_or_default(),
            initializer: keys.initializer,
            init: keys.init,
        })
    }
}

impl From<Model> for Keys {
    fn from(model: Model) -> Self {
        let Sections { convolves, hides, layered } = model.kind.sections();
        Self {
            kind: model.kind,
            channels: convolves.then_some(model.channels),
            kernel_size: convolves.then_some(model.kernel_size),
            padding: convolves.then_some(model.padding),
            hidden: hides.then_some(model.hidden),
            dropout: hides.then_some(model.dropout),
            layers: layered.then_some(model.layers),
            initializer: model.initializer,
            init: model.init,
        }
    }
}

impl Model {
    /// The network, for images of shape `input` in `classes` classes.
    ///
    /// # Errors
    ///
    /// When a layer does not fit what reaches it, or the network does not give one number for each class.
    pub fn graph(&self, input: Shape, classes: usize) -> Result<Graph, ConfigError> {
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
            ModelKind::Layers => networks::layers(&self.layers, input, classes),
        };
        let graph = graph.map_err(|error| self.misfit(&error, input))?;
        if graph.output_features() != Features::Vector(classes) {
            let problem = format!("end in {}, but there are {classes} classes; end with \"dense classes\"", graph.output_features());
            return Err(ConfigError::value("model.layers", problem));
        }
        if graph.parameter_count() == 0 {
            return Err(ConfigError::value("model.layers", "have nothing that can be trained; add a `conv` or `dense` layer"));
        }
        Ok(graph)
    }

    /// The key at fault where a network does not fit.
    fn misfit(&self, error: &GraphError, input: Shape) -> ConfigError {
        let key = match (self.kind, error) {
            (ModelKind::Layers, _) => "model.layers",
            (ModelKind::Linear, _) => "data.image_size",
            (_, GraphError::TooLarge { word: "dense", .. }) => "model.hidden",
            (_, GraphError::Node { word: "conv", .. }) => "model.kernel_size",
            _ => "model.channels",
        };
        let problem = match (self.kind, key) {
            (ModelKind::Layers, _) => format!("make no network for images of {input}: {error}"),
            _ if !matches!(error, GraphError::TooLarge { .. }) => {
                format!("doesn't fit images of {input}: {error}; use fewer convolutions, a smaller kernel or larger images")
            }
            _ => format!("doesn't fit: {error}"),
        };
        ConfigError::value(key, problem)
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
    /// A list of layers.
    Layers,
}

/// Which keys a kind of network has.
struct Sections {
    convolves: bool,
    hides: bool,
    layered: bool,
}

impl ModelKind {
    /// The word for it in configs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cnn => "cnn",
            Self::Mlp => "mlp",
            Self::Linear => "linear",
            Self::Layers => "layers",
        }
    }

    fn sections(self) -> Sections {
        Sections { convolves: self == Self::Cnn, hides: matches!(self, Self::Cnn | Self::Mlp), layered: self == Self::Layers }
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
    fn padding_same_keeps_the_size() {
        let graph = graph("model.padding=same", 28).unwrap();
        assert_eq!(graph.parameters().find(|parameter| parameter.name == "dense1.weight").unwrap().shape, [128, 7 * 7 * 64]);
    }
}
