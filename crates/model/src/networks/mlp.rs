//! Two dense layers.

use crate::graph::{Builder, Dense, Dropout, Flatten, Graph, GraphError, Relu, Shape};

/// A hidden dense layer with ReLU, and a dense layer of logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    /// Units of the hidden layer.
    pub hidden: usize,
    /// The rate of dropout after it.
    pub dropout: f64,
}

impl Mlp {
    /// The graph.
    ///
    /// # Errors
    ///
    /// The node at fault and what does not fit.
    pub fn graph(&self, input: Shape, classes: usize) -> Result<Graph, GraphError> {
        let mut network = Builder::new(input);
        network.then(Flatten {}).then(Dense::new(self.hidden)).then(Relu {});
        if self.dropout > 0.0 {
            network.then(Dropout { rate: self.dropout });
        }
        network.then(Dense::new(classes)).finish()
    }
}
