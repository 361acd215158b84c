//! Graphs, node by node.

use std::collections::BTreeMap;

use super::{Graph, GraphError, IMAGE, Node, Op, Shape};

/// Builds a graph. Each node follows the one before it, unless other inputs are given; its name is the word for its operation and a number, such as
/// `conv1`.
#[derive(Clone, Debug)]
pub struct Builder {
    input: Shape,
    nodes: Vec<Node>,
    counts: BTreeMap<&'static str, usize>,
}

impl Builder {
    /// A builder of networks for images of shape `input`.
    #[must_use]
    pub const fn new(input: Shape) -> Self {
        Self { input, nodes: Vec::new(), counts: BTreeMap::new() }
    }

    /// Adds a node that takes what the last one gives.
    pub fn then(&mut self, op: impl Into<Op>) -> &mut Self {
        let last = self.last();
        self.node(None, op.into(), vec![last])
    }

    /// Adds a node with these inputs, and this name if there is one.
    pub fn node(&mut self, name: Option<&str>, op: Op, inputs: Vec<String>) -> &mut Self {
        let word = op.word();
        let count = self.counts.entry(word).or_default();
        *count += 1;
        // `relu6` and a number would read as another `relu`.
        let between = if word.ends_with(|end: char| end.is_ascii_digit()) { "_" } else { "" };
        let name = name.map_or_else(|| format!("{word}{between}{count}"), ToOwned::to_owned);
        self.nodes.push(Node { name, op, inputs });
        self
    }

    /// The name of the last node, or [`IMAGE`].
    #[must_use]
    pub fn last(&self) -> String {
        self.nodes.last().map_or_else(|| IMAGE.to_owned(), |node| node.name.clone())
    }

    /// The graph; its output is the last node's.
    ///
    /// # Errors
    ///
    /// The node at fault and what does not fit.
    pub fn finish(&self) -> Result<Graph, GraphError> {
        if self.nodes.is_empty() {
            return Err(GraphError::Whole("it has no layers".to_owned()));
        }
        Graph::new(self.input, self.nodes.clone(), &self.last())
    }
}
