//! Parameters that stay as they start.

use super::{Graph, Op, Parameter};

impl Graph {
    /// The index of the node that gives the network's output, where it is a dense layer: the head.
    #[must_use]
    pub fn head(&self) -> Option<usize> {
        Some(self.output).filter(|index| matches!(self.nodes[*index].op, Op::Dense(_)))
    }

    /// The same network in which training leaves the parameters that `is_frozen` names as they are, except those of the head. It is not written with the graph.
    #[must_use]
    pub fn frozen(mut self, is_frozen: impl Fn(&Parameter) -> bool) -> Self {
        let head = self.head();
        for (index, parameters) in self.parameters.iter_mut().enumerate() {
            let is_head = head == Some(index);
            parameters.iter_mut().for_each(|parameter| parameter.is_frozen = !is_head && is_frozen(parameter));
        }
        self
    }

    /// Whether a normalization uses and keeps its running statistics in training, too: its γ and β are frozen.
    #[must_use]
    pub fn is_fixed(&self, index: usize) -> bool {
        matches!(self.nodes[index].op, Op::BatchNorm(_)) && !self.parameters[index].iter().any(Parameter::is_trained)
    }

    /// The numbers of all parameters that are trained.
    #[must_use]
    pub fn trained_count(&self) -> usize {
        self.parameters().filter(|parameter| parameter.is_trained()).map(Parameter::size).sum()
    }

    /// The frozen parameters, without running statistics.
    pub fn frozen_parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters().filter(|parameter| parameter.role.is_trained() && parameter.is_frozen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;
    use crate::graph::{Layer, Role};
    use crate::networks::layers;

    #[test]
    fn all_but_the_head_can_be_frozen() {
        let lines = ["conv 2 3x3", "batch_norm", "conv 2 1x1", "batch_norm", "global_average_pool", "dense 5", "dense classes"];
        let lines: Vec<Layer> = lines.iter().map(|line| Layer::new(line).unwrap()).collect();
        let graph = layers(&lines, Shape { channels: 1, height: 4, width: 4 }, 3).unwrap();
        let trained = |graph: &Graph| -> Vec<String> {
            graph.parameters().filter(|parameter| parameter.is_trained()).map(|parameter| parameter.name.clone()).collect()
        };
        let all = graph.clone().frozen(|_| true);
        assert_eq!(trained(&all), ["dense2.weight", "dense2.bias"]);
        assert_eq!([all.trained_count(), all.parameter_count()], [5 * 3 + 3, 20 + 4 + 6 + 4 + 15 + 18]);
        assert_eq!([1, 3, 6].map(|index| all.is_fixed(index)), [true, true, false]);
        // A normalization whose β is trained has the statistics of the batch.
        let scales = graph.clone().frozen(|parameter| parameter.role == Role::Scale || parameter.name.starts_with("batch_norm1"));
        assert_eq!([1, 3].map(|index| scales.is_fixed(index)), [true, false]);
        assert_eq!(scales.frozen_parameters().count(), 3);
        let resized = all.with_input(Shape { channels: 1, height: 8, width: 6 }).unwrap();
        assert_eq!(trained(&resized), ["dense2.weight", "dense2.bias"]);
    }
}
