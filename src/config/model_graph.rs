//! From the `[model]` section to the network.

use regulus_model::graph::{Features, Graph, GraphError, Op, Shape, Source};
use regulus_model::networks::{self, Cnn, DnCnn, EfficientNetLite, Mlp, ResNet, ResNet9, Stem};
use regulus_model::spelling;

use super::model::stages;
use super::number::Count;
use super::{ConfigError, Model, ModelKind, Padding};

/// Names that a message lists, at most.
const LISTED: usize = 10;

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
        let given = |list: &Vec<Count>| (!list.is_empty()).then(|| list.clone());
        let (widths, blocks) = stages(self.kind, given(&self.widths), given(&self.blocks))?;
        let graph = match self.kind {
            ModelKind::Cnn => {
                let padding = if self.padding == Padding::Same { kernel_size / 2 } else { 0 };
                let cnn = Cnn { channels: numbers(&self.channels), kernel_size, padding, hidden, dropout };
                if self.batch_norm { cnn.normalized_graph(input, classes) } else { cnn.graph(input, classes) }
            }
            ModelKind::Mlp => Mlp { hidden, dropout }.graph(input, classes),
            ModelKind::Linear => networks::linear(input, classes),
            ModelKind::Dncnn => DnCnn { depth: self.depth.get(), width: self.width.get() }.graph(input),
            ModelKind::Resnet9 => ResNet9 { widths: std::array::from_fn(|stage| widths[stage].get()) }.graph(input, classes),
            ModelKind::Resnet18 | ModelKind::Resnet20 => {
                let stem = if self.kind == ModelKind::Resnet18 { Stem::Large } else { Stem::Small };
                ResNet { stem, widths: numbers(&widths), blocks: numbers(&blocks) }.graph(input, classes)
            }
            ModelKind::EfficientnetLite0 => EfficientNetLite {
                widths: std::array::from_fn(|at| widths[at].get()),
                blocks: std::array::from_fn(|at| blocks[at].get()),
                dropout,
            }
            .graph(input, classes),
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
        self.whitened(&graph)?;
        self.frozen(graph)
    }

    /// The index of the convolution that starts with whitening filters.
    ///
    /// # Errors
    ///
    /// When there is no such node, or it is no convolution of the image.
    pub(crate) fn whitened(&self, graph: &Graph) -> Result<Option<usize>, ConfigError> {
        let Some(name) = &self.whiten else { return Ok(None) };
        let of_image =
            |index: &usize| matches!(&graph.nodes()[*index].op, Op::Conv(op) if op.groups == 1) && graph.sources(*index) == [Source::Image];
        let fit: Vec<usize> = (0..graph.nodes().len()).filter(of_image).collect();
        let found = fit.iter().copied().find(|index| graph.nodes()[*index].name == *name);
        if found.is_some() {
            return Ok(found);
        }
        let names: Vec<&str> = fit.iter().map(|index| graph.nodes()[*index].name.as_str()).collect();
        let expected = if names.is_empty() {
            "this network has none; leave it out".to_owned()
        } else {
            format!("expected {}", spelling::listed(&names, LISTED))
        };
        Err(ConfigError::value("model.whiten", format!("is {name:?}, which is no convolution of the image without groups; {expected}")))
    }

    /// The network with the parameters of `freeze` frozen.
    fn frozen(&self, graph: Graph) -> Result<Graph, ConfigError> {
        for (index, scope) in self.freeze.iter().enumerate() {
            let graph = graph.clone().frozen(|parameter| scope.has(parameter));
            if graph.frozen_parameters().next().is_none() {
                let all = graph.clone().frozen(|_| true);
                let names = all.frozen_parameters().map(|parameter| parameter.name.as_str());
                let scope = String::from(scope.clone());
                let names: Vec<&str> = names.collect();
                let hint = match spelling::nearest(&scope, &names) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => {
                        format!(
                            "expected `kernels`, `biases`, `all`, or one of {}, with `*` for any characters",
                            spelling::listed(&names, LISTED)
                        )
                    }
                };
                let problem =
                    format!("is {scope:?}, which matches no parameter outside of the last dense layer, which is always trained; {hint}");
                return Err(ConfigError::value(format!("model.freeze.{index}"), problem));
            }
        }
        let graph = graph.frozen(|parameter| self.freeze.iter().any(|scope| scope.has(parameter)));
        if graph.trained_count() == 0 {
            return Err(ConfigError::value("model.freeze", "leaves nothing to train; leave some parameters out"));
        }
        Ok(graph)
    }

    /// Whether the kind of network can give such an output.
    fn check_kind(&self, output: Features) -> Result<(), ConfigError> {
        let kind = self.kind.name();
        let problem = match (self.kind, output) {
            (ModelKind::Dncnn, Features::Vector(classes)) => {
                format!(
                    "is \"{kind}\", which gives images, but {classes} classes are to be told apart; use \"cnn\", \"layers\" or another kind"
                )
            }
            (kind_of, Features::Map(_)) if kind_of.is_classifier() => {
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
            (
                ModelKind::Resnet9 | ModelKind::Resnet18 | ModelKind::Resnet20 | ModelKind::EfficientnetLite0,
                GraphError::TooLarge { .. },
            ) => "model.widths",
            (ModelKind::Resnet9 | ModelKind::Resnet18 | ModelKind::Resnet20 | ModelKind::EfficientnetLite0, _) => "model.kind",
            (_, GraphError::TooLarge { word: "dense", .. }) => "model.hidden",
            (_, GraphError::Node { word: "conv", .. }) => "model.kernel_size",
            _ => "model.channels",
        };
        let problem = match (self.kind, key) {
            (ModelKind::Layers, "model.layers") => format!("make no network for images of {input}: {error}"),
            (ModelKind::Layers, _) => format!("is wrong for images of {input}: {error}"),
            (kind, "model.kind") => format!("is \"{}\", which does not fit images of {input}: {error}; use larger images", kind.name()),
            _ if !matches!(error, GraphError::TooLarge { .. }) => {
                format!("doesn't fit images of {input}: {error}; use fewer convolutions, a smaller kernel or larger images")
            }
            _ => format!("doesn't fit: {error}"),
        };
        ConfigError::value(key, problem)
    }
}

/// The numbers of a list.
fn numbers(counts: &[Count]) -> Vec<usize> {
    counts.iter().map(|count| count.get()).collect()
}
