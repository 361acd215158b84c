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
mod global_pool;
mod layer;
mod op;
mod parameter;
mod pool;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use activation::{Relu, Relu6};
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

pub use crate::shape::{Features, Shape};

/// The name of the image among the inputs of nodes.
pub const IMAGE: &str = "image";

/// No network has more parameters than this, and no node gives more numbers: the weights of one alone take 1 GiB, and Adam keeps three more of that size.
const LARGEST: usize = 1 << 28;

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
    /// The node at this place.
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
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for node in nodes {
            if let Err(problem) = graph.push(&places, &node) {
                return Err(GraphError::Node { name: node.name, word: node.op.operation().word(), problem });
            }
            places.insert(node.name.clone(), graph.nodes.len());
            graph.nodes.push(node);
        }
        graph.output = *places.get(output).ok_or_else(|| GraphError::Whole(format!("it has no node `{output}` to be its output")))?;
        graph.check_that_all_is_used()?;
        Ok(graph)
    }

    /// Adds what follows from a node.
    fn push(&mut self, places: &BTreeMap<String, usize>, node: &Node) -> Result<(), String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if node.name.is_empty() || !node.name.chars().all(is_name) || node.name == IMAGE {
            return Err(format!("has a name that can't be used; expected letters, digits, `_`, `-` and `.`, but not `{IMAGE}`"));
        }
        if places.contains_key(&node.name) {
            return Err("has the name of a node before it; give it another".to_owned());
        }
        let operation = node.op.operation();
        if node.inputs.len() != operation.input_count() {
            return Err(format!("has {} inputs; expected {}", node.inputs.len(), operation.input_count()));
        }
        let source = |name: &String| match places.get(name) {
            Some(place) => Ok(Source::Node(*place)),
            None if name == IMAGE => Ok(Source::Image),
            None => Err(format!("takes `{name}`, which is no node before it")),
        };
        let sources: Vec<Source> = node.inputs.iter().map(source).collect::<Result<_, String>>()?;
        let inputs: Vec<Features> = sources.iter().map(|source| self.features_of(*source)).collect();
        let output = operation.output(&inputs)?;
        let parameters: Vec<Parameter> = operation.parameters(inputs[0]).into_iter().map(|parameter| parameter.of(&node.name)).collect();
        let count = |parameter: &Parameter| parameter.shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        let own = parameters.iter().try_fold(0_usize, |sum, parameter| sum.checked_add(count(parameter)?));
        if own.and_then(|own| own.checked_add(self.parameter_count())).is_none_or(|all| all > LARGEST) {
            return Err("makes a network of more than 2²⁸ (268 million) parameters; use smaller sizes".to_owned());
        }
        if checked_size(output) > LARGEST {
            return Err(format!("gives {output}, more than 2²⁸ (268 million) numbers; use smaller sizes"));
        }
        self.sources.push(sources);
        self.features.push(output);
        self.parameters.push(parameters);
        Ok(())
    }

    fn check_that_all_is_used(&self) -> Result<(), GraphError> {
        let used: BTreeSet<usize> =
            self.sources.iter().flatten().filter_map(|source| if let Source::Node(place) = source { Some(*place) } else { None }).collect();
        match (0..self.nodes.len()).find(|place| *place != self.output && !used.contains(place)) {
            None => Ok(()),
            Some(place) => {
                let Node { name, op, .. } = &self.nodes[place];
                let problem = "is used by no other node; leave it out, or take it with `from` or `add`".to_owned();
                Err(GraphError::Node { name: name.clone(), word: op.operation().word(), problem })
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

    /// The place of the node whose features are the network's.
    #[must_use]
    pub const fn output(&self) -> usize {
        self.output
    }

    /// What the network gives for one image.
    #[must_use]
    pub fn output_features(&self) -> Features {
        self.features[self.output]
    }

    /// Where the inputs of the node at `place` come from.
    #[must_use]
    pub fn sources(&self, place: usize) -> &[Source] {
        &self.sources[place]
    }

    /// What an input gives for one image.
    #[must_use]
    pub fn features_of(&self, source: Source) -> Features {
        match source {
            Source::Image => Features::Map(self.input),
            Source::Node(place) => self.features[place],
        }
    }

    /// What the first input of the node at `place` gives for one image.
    #[must_use]
    pub fn input_of(&self, place: usize) -> Features {
        self.features_of(self.sources[place][0])
    }

    /// The multiplications of the node at `place`, for one image.
    #[must_use]
    pub fn multiplications(&self, place: usize) -> u64 {
        self.nodes[place].op.operation().multiplications(self.input_of(place), self.features[place])
    }

    /// The parameters of the node at `place`.
    #[must_use]
    pub fn parameters_of(&self, place: usize) -> &[Parameter] {
        &self.parameters[place]
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

/// Rows and columns of windows over an image.
fn windows(sides: [usize; 2], kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Result<[usize; 2], String> {
    let [height, width] = sides;
    if padding.iter().zip(kernel).any(|(padding, side)| *padding >= side) && padding != [0, 0] {
        return Err(format!(
            "has a padding of {}×{}; expected less than its window of {}×{}",
            padding[0], padding[1], kernel[0], kernel[1]
        ));
    }
    if (0..2).any(|axis| kernel[axis] > sides[axis] + 2 * padding[axis]) {
        return Err(format!("has a window of {}×{}, but what reaches it is only {height}×{width}", kernel[0], kernel[1]));
    }
    Ok([0, 1].map(|axis| (sides[axis] + 2 * padding[axis] - kernel[axis]) / stride[axis] + 1))
}
