//! A network as data: a list of named nodes, each an operation with its inputs.
//!
//! It is what everything reads: the Burn module that trains, inference, exports. It alone infers shapes and knows what the parameters are called, what
//! shapes they have and what role.

mod activation;
mod add;
mod batch_norm;
mod builder;
mod conv;
mod dense;
mod dropout;
mod error;
mod flatten;
mod freeze;
mod global_pool;
mod layer;
mod op;
mod parameter;
mod pool;
mod receptive_radius;
mod resize;
mod subtract;
mod windows;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use activation::{Gelu, Relu, Relu6};
pub use add::Add;
pub use batch_norm::BatchNorm;
pub use builder::Builder;
pub use conv::Conv;
pub use dense::Dense;
pub use dropout::Dropout;
pub use error::GraphError;
pub use flatten::Flatten;
pub use global_pool::{GlobalAveragePool, GlobalMaxPool};
pub use layer::Layer;
pub use op::{Op, Operation};
pub use parameter::{Parameter, Role};
pub use pool::{AveragePool, MaxPool};
pub use subtract::Subtract;

pub use crate::shape::{Features, Shape};
use crate::spelling;
use windows::windows;

/// The name of the image among the inputs of nodes.
pub const IMAGE: &str = "image";

/// No network has more parameters than this, and no node gives more numbers: the weights of one alone take 1 GiB, and Adam keeps three more of that size.
const LARGEST: usize = 1 << 28;

/// The most names in a message.
const LISTED: usize = 10;

/// A node: an operation with a name, and where its inputs come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, which its parameters' names begin with.
    pub name: String,
    /// What it does.
    #[serde(flatten)]
    pub op: Op,
    /// The names of the nodes before it, or [`IMAGE`].
    pub inputs: Vec<String>,
}

/// Where an input of a node comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The image.
    Image,
    /// The node of this index.
    Node(usize),
}

/// A network. It has been checked: every shape fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Graph {
    input: Shape,
    nodes: Vec<Node>,
    output: usize,
    sources: Vec<Vec<Source>>,
    features: Vec<Features>,
    /// Of each node.
    parameters: Vec<Vec<Parameter>>,
}

/// A graph as JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    input: Shape,
    nodes: Vec<Node>,
    outputs: Vec<String>,
}

impl TryFrom<Written> for Graph {
    type Error = GraphError;

    fn try_from(written: Written) -> Result<Self, GraphError> {
        let Written { input, nodes, outputs } = written;
        match outputs.as_slice() {
            [output] => Self::new(input, nodes, output),
            _ => Err(GraphError::Whole(format!("it has {} outputs; this version computes with one", outputs.len()))),
        }
    }
}

impl From<Graph> for Written {
    fn from(graph: Graph) -> Self {
        let output = graph.nodes[graph.output].name.clone();
        Self { input: graph.input, nodes: graph.nodes, outputs: vec![output] }
    }
}

impl Graph {
    /// A graph of these nodes for images of shape `input`. Each node's inputs are before it; `output` is the name of the node whose features are
    /// the network's.
    ///
    /// # Errors
    ///
    /// The node at fault and what does not fit.
    pub fn new(input: Shape, nodes: Vec<Node>, output: &str) -> Result<Self, GraphError> {
        if !(1..=LARGEST).contains(&checked_size(Features::Map(input))) {
            return Err(GraphError::Whole(format!("images of {input} have no size or are too large")));
        }
        let mut graph = Self { input, nodes: Vec::new(), output: 0, sources: Vec::new(), features: Vec::new(), parameters: Vec::new() };
        let mut indices: BTreeMap<String, usize> = BTreeMap::new();
        for node in nodes {
            let (name, word) = (node.name.clone(), node.op.word());
            graph.push(&indices, &node).map_err(|problem| GraphError::Node { name: name.clone(), word, problem })?;
            graph.check_size().map_err(|problem| GraphError::TooLarge { name, word, problem })?;
            indices.insert(node.name.clone(), graph.nodes.len());
            graph.nodes.push(node);
        }
        graph.output = *indices.get(output).ok_or_else(|| GraphError::Whole(format!("it has no node `{output}` to be its output")))?;
        graph.check_that_all_is_used()?;
        Ok(graph)
    }

    /// Adds what follows from a node.
    fn push(&mut self, indices: &BTreeMap<String, usize>, node: &Node) -> Result<(), String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if node.name.is_empty() || !node.name.chars().all(is_name) || node.name == IMAGE {
            return Err(format!("has a name that can't be used; expected letters, digits, `_`, `-` and `.`, but not `{IMAGE}`"));
        }
        if indices.contains_key(&node.name) {
            return Err("has the name of a node before it; give it another".to_owned());
        }
        let operation = node.op.operation();
        if node.inputs.len() != operation.input_count() {
            return Err(format!("has {} inputs; expected {}", node.inputs.len(), operation.input_count()));
        }
        let source = |name: &String| match indices.get(name) {
            Some(index) => Ok(Source::Node(*index)),
            None if name == IMAGE => Ok(Source::Image),
            None => Err(format!("takes `{name}`, which is no node before it; expected {}", self.sources_like(name))),
        };
        let sources: Vec<Source> = node.inputs.iter().map(source).collect::<Result<_, String>>()?;
        let inputs: Vec<Features> = sources.iter().map(|source| self.features_of(*source)).collect();
        let output = operation.output(&inputs)?;
        let parameters: Vec<Parameter> = operation.parameters(inputs[0]).into_iter().map(|parameter| parameter.of(&node.name)).collect();
        self.sources.push(sources);
        self.features.push(output);
        self.parameters.push(parameters);
        Ok(())
    }

    /// What the next node can take, for a message: the name that is most like `name`, then the nodes from the last on, then the image.
    fn sources_like(&self, name: &str) -> String {
        let mut names: Vec<&str> = self.nodes.iter().rev().map(|node| node.name.as_str()).chain([IMAGE]).collect();
        let nearest = spelling::nearest(name, &names);
        names.sort_by_key(|name| Some(*name) != nearest);
        let listed: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
        let rest = names.len().saturating_sub(LISTED);
        match listed.as_slice() {
            all if rest > 0 => format!("{} or one of {rest} more", all.join(", ")),
            [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
            all => all.concat(),
        }
    }

    /// Whether the last node is not too large.
    fn check_size(&self) -> Result<(), String> {
        let count = |parameter: &Parameter| parameter.shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        let all = self.parameters().try_fold(0_usize, |sum, parameter| sum.checked_add(count(parameter)?));
        if all.is_none_or(|all| all > LARGEST) {
            return Err("makes a network of more than 2²⁸ (268 million) parameters".to_owned());
        }
        match self.features.last() {
            Some(output) if checked_size(*output) > LARGEST => Err(format!("gives {output}, more than 2²⁸ (268 million) numbers")),
            _ => Ok(()),
        }
    }

    fn check_that_all_is_used(&self) -> Result<(), GraphError> {
        let used: BTreeSet<usize> =
            self.sources.iter().flatten().filter_map(|source| if let Source::Node(index) = source { Some(*index) } else { None }).collect();
        match (0..self.nodes.len()).find(|index| *index != self.output && !used.contains(index)) {
            None => Ok(()),
            Some(index) => {
                let Node { name, op, .. } = &self.nodes[index];
                let problem = "is used by no other node; leave it out, or take it with `from`, `add` or `subtract`".to_owned();
                Err(GraphError::Node { name: name.clone(), word: op.word(), problem })
            }
        }
    }

    /// The shape of the images it takes.
    #[must_use]
    pub const fn input(&self) -> Shape {
        self.input
    }

    /// Its nodes; the inputs of each are before it.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The index of the node whose features are the network's.
    #[must_use]
    pub const fn output(&self) -> usize {
        self.output
    }

    /// What the network gives for one image.
    #[must_use]
    pub fn output_features(&self) -> Features {
        self.features[self.output]
    }

    /// Where the inputs of node `index` come from.
    #[must_use]
    pub fn sources(&self, index: usize) -> &[Source] {
        &self.sources[index]
    }

    /// What an input gives for one image.
    #[must_use]
    pub fn features_of(&self, source: Source) -> Features {
        match source {
            Source::Image => Features::Map(self.input),
            Source::Node(index) => self.features[index],
        }
    }

    /// What the first input of node `index` gives for one image.
    #[must_use]
    pub fn input_of(&self, index: usize) -> Features {
        self.features_of(self.sources[index][0])
    }

    /// The multiplications of node `index`, for one image.
    #[must_use]
    pub fn multiplications(&self, index: usize) -> u64 {
        self.nodes[index].op.operation().multiplications(self.input_of(index), self.features[index])
    }

    /// The parameters of node `index`.
    #[must_use]
    pub fn parameters_of(&self, index: usize) -> &[Parameter] {
        &self.parameters[index]
    }

    /// All parameters, from the image on. Running statistics are among them.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().flatten()
    }

    /// The numbers of all parameters that training learns: without running statistics, as PyTorch counts.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        self.parameters().filter(|parameter| parameter.role.is_trained()).map(Parameter::size).sum()
    }

    /// The numbers in the largest features on the way of an image.
    #[must_use]
    pub fn largest_features(&self) -> usize {
        self.features.iter().map(|features| features.size()).fold(self.input.size(), usize::max)
    }
}

/// The size, or one too large.
fn checked_size(features: Features) -> usize {
    features.dims().into_iter().try_fold(1_usize, usize::checked_mul).unwrap_or(usize::MAX)
}

/// The feature map that is the only input.
fn map(inputs: &[Features]) -> Result<Shape, String> {
    match inputs {
        [Features::Map(shape)] => Ok(*shape),
        _ => Err(format!("gets a vector {}; expected a feature map", listed(inputs))),
    }
}

fn listed(inputs: &[Features]) -> String {
    inputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::layers;

    const INPUT: Shape = Shape { channels: 2, height: 9, width: 8 };

    fn graph(lines: &[&str]) -> Result<Graph, String> {
        let lines: Vec<Layer> = lines.iter().map(|line| Layer::new(line)).collect::<Result<_, String>>()?;
        layers(&lines, INPUT, 3).map_err(|error| error.to_string())
    }

    #[test]
    fn shapes_parameters_and_multiplications_by_hand() {
        let lines =
            ["conv 6 3x2 stride 2x1 padding 1x0 groups 2", "batch_norm", "relu6", "max_pool 2 padding 1", "flatten", "dense classes"];
        let graph = graph(&lines).unwrap();
        let features: Vec<Vec<usize>> = (0..6).map(|index| graph.features_of(Source::Node(index)).dims()).collect();
        // (9 + 2 − 3)/2 + 1 = 5 rows, 8 − 2 + 1 = 7 columns; windows: (5 + 2 − 2)/2 + 1 = 3, (7 + 2 − 2)/2 + 1 = 4.
        assert_eq!(features, [vec![6, 5, 7], vec![6, 5, 7], vec![6, 5, 7], vec![6, 3, 4], vec![72], vec![3]]);
        let parameters: Vec<String> =
            graph.parameters().map(|parameter| format!("{} {:?} {:?}", parameter.name, parameter.shape, parameter.role)).collect();
        let expected = [
            "conv1.weight [6, 1, 3, 2] Kernel",
            "conv1.bias [6] Bias",
            "batch_norm1.weight [6] Scale",
            "batch_norm1.bias [6] Bias",
            "batch_norm1.running_mean [6] RunningMean",
            "batch_norm1.running_var [6] RunningVariance",
            "dense1.weight [3, 72] Kernel",
            "dense1.bias [3] Bias",
        ];
        assert_eq!(parameters, expected);
        assert_eq!(graph.parameter_count(), 36 + 6 + 12 + 216 + 3);
        assert_eq!([0, 1, 5].map(|index| graph.multiplications(index)), [210 * 6, 210, 216]);
        assert_eq!(graph.nodes()[2].name, "relu6_1");
    }

    #[test]
    fn a_graph_is_the_same_after_it_was_written_and_read() {
        let graph =
            graph(&["conv 2 1x1 as a", "relu", "add a", "dropout 0.25", "global_average_pool", "dense classes bias false"]).unwrap();
        let written = serde_json::to_string(&graph).unwrap();
        assert_eq!(serde_json::from_str::<Graph>(&written).unwrap(), graph);
        let refused = |from: &str, to: &str| {
            assert!(written.contains(from), "{from}");
            serde_json::from_str::<Graph>(&written.replace(from, to)).unwrap_err().to_string()
        };
        assert!(refused("\"op\":\"relu\"", "\"op\":\"selu\"").contains("unknown variant `selu`"));
        assert!(refused("\"rate\":0.25", "\"rate\":0.25,\"seed\":1").contains("unknown field `seed`"));
        assert!(refused("\"op\":\"relu\"", "\"op\":\"relu\",\"slope\":0.1").contains("unknown field `slope`"));
        assert!(refused("\"outputs\":[\"dense1\"]", "\"outputs\":[\"dense1\",\"a\"]").contains("it has 2 outputs"));
        assert!(refused("\"inputs\":[\"relu1\",\"a\"]", "\"inputs\":[\"relu1\",\"b\"]").contains("node `add1` (add) takes `b`"));
        assert!(refused("\"height\":9", "\"height\":18446744073709551615").contains("are too large"));
    }

    #[test]
    fn an_unknown_input_is_answered_with_the_names_there_are() {
        let error = |lines: &[&str]| graph(lines).unwrap_err();
        let names = "node `conv1` (conv) takes `b`, which is no node before it; expected `image`";
        assert_eq!(error(&["conv 2 1x1 from b"]), names);
        let names = "node `add1` (add) takes `blok`, which is no node before it; expected `block`, `relu1` or `image`";
        assert_eq!(error(&["conv 2 1x1 as block", "relu", "add blok"]), names);
        let many: Vec<&str> = std::iter::repeat_n("relu", 12).chain(["add rel2"]).collect();
        let names = "expected `relu2`, `relu12`, `relu11`, `relu10`, `relu9`, `relu8`, `relu7`, `relu6`, `relu5`, `relu4` or one of 3 more";
        assert!(error(&many).ends_with(names), "{}", error(&many));
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        for lines in [
            ["conv 9000000000000000000 3x3", "flatten"],
            ["conv 4 9000000000000000000x1 padding 8000000000000000000x0", "flatten"],
            ["max_pool 9000000000000000000 padding 4000000000000000000", "flatten"],
            ["flatten", "dense 9000000000000000000"],
            ["conv 4 3x3 stride 9000000000000000000", "flatten"],
            ["average_pool 2 stride 100000", "flatten"],
        ] {
            let error = graph(&lines).unwrap_err();
            assert!(
                error.starts_with("node `")
                    && ["at most 16384", "268 million", "reaches it is only"].iter().any(|text| error.contains(text)),
                "{error}"
            );
        }
    }
}
