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

/// The names of the nodes of these layers, in their order.
#[must_use]
pub fn names_of_layers(layers: &[Layer]) -> Vec<String> {
    let mut network = Builder::new(Shape { channels: 1, height: 1, width: 1 });
    let added = layers.iter().map_while(|layer| layer.add_to(&mut network, 2).ok().map(|()| network.last()));
    added.collect()
}
