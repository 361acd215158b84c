//! How version 0.1.0 described networks: by the sizes of a `cnn`, `mlp` or `linear`. Its runs and exports are still read.

use serde::Deserialize;

use super::{Cnn, Mlp, linear};
use crate::graph::{Graph, GraphError, Shape};

/// The sizes of a network.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Architecture {
    kind: Kind,
    input: Shape,
    channels: Vec<usize>,
    kernel_size: usize,
    #[serde(default)]
    padding: usize,
    /// 0: there is no hidden layer.
    hidden: usize,
    classes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Cnn,
    Mlp,
    Linear,
}

impl Architecture {
    /// The same network as a graph.
    fn graph(&self) -> Result<Graph, GraphError> {
        let Self { kind, input, ref channels, kernel_size, padding, hidden, classes } = *self;
        match kind {
            Kind::Cnn => Cnn { channels: channels.clone(), kernel_size, padding, hidden, dropout: 0.0 }.graph(input, classes),
            Kind::Mlp => Mlp { hidden, dropout: 0.0 }.graph(input, classes),
            Kind::Linear => linear(input, classes),
        }
    }
}

/// A graph, or the graph of an older architecture.
///
/// # Errors
///
/// In words, when it is neither.
pub fn graph_of(written: serde_json::Value) -> Result<Graph, String> {
    if written.get("nodes").is_some() {
        return serde_json::from_value(written).map_err(|error| error.to_string());
    }
    let architecture: Architecture = serde_json::from_value(written).map_err(|error| error.to_string())?;
    architecture.graph().map_err(|error| error.to_string())
}
