//! Networks made of a list of layers.

use crate::graph::{Builder, Graph, GraphError, Layer, Shape};

/// The network of these layers, for images of shape `input` in `classes` classes; 0 where there are none.
///
/// # Errors
///
/// The node at fault and what does not fit.
pub fn layers(layers: &[Layer], input: Shape, classes: usize) -> Result<Graph, GraphError> {
    let mut network = Builder::new(input);
    for layer in layers {
        layer.add_to(&mut network, classes).map_err(GraphError::Whole)?;
    }
    network.finish()
}
