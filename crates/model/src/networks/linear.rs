//! Softmax regression.

use crate::graph::{Builder, Dense, Flatten, Graph, GraphError, Shape};

/// One dense layer of logits.
///
/// # Errors
///
/// When it would be too large.
pub fn linear(input: Shape, classes: usize) -> Result<Graph, GraphError> {
    Builder::new(input).then(Flatten {}).then(Dense::new(classes)).finish()
}
