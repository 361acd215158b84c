//! Graphs for images of another size.

use super::{Graph, GraphError, Shape};

impl Graph {
    /// The same network for images of another size.
    ///
    /// # Errors
    ///
    /// The first node that does not fit such images, or whose parameters would have other shapes: those of a dense layer after `flatten` follow from the size of
    /// the images, those of convolutions and normalizations from their channels alone.
    pub fn with_input(&self, input: Shape) -> Result<Self, GraphError> {
        let mut resized = Self::new(input, self.nodes.clone(), &self.nodes[self.output].name)?;
        for (node, (old, new)) in self.nodes.iter().zip(self.parameters.iter().zip(&resized.parameters)) {
            if let Some((old, new)) = old.iter().zip(new).find(|(old, new)| old.shape != new.shape) {
                let (name, from) = (node.name.clone(), self.input);
                let problem = format!(
                    "has parameters whose shapes depend on the images: `{}` is {:?} for images of {from}, and would be {:?} for images of {input}",
                    old.name, old.shape, new.shape
                );
                return Err(GraphError::Node { name, word: node.op.word(), problem });
            }
        }
        resized.parameters.clone_from(&self.parameters);
        Ok(resized)
    }
}
