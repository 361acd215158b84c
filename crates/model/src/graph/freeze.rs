//! Parameters that stay as they start.

use super::flatten::Flatten;
use super::{Features, Graph, IMAGE, Node, Op, Parameter, Shape, Source};

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

    /// The index of the last node that gives a vector which training does not change: all nodes up to it are frozen, without dropout and without dense layers,
    /// the nodes after it take nothing else from them, and some convolution is among them. Returns `None` where there is no such node.
    ///
    /// Dense layers are left out, because the last bits of what they give depend on the number of images computed at once.
    #[must_use]
    pub fn last_frozen_vector(&self) -> Option<usize> {
        let changes = |index: &usize| {
            matches!(self.nodes[*index].op, Op::Dropout(_) | Op::Dense(_)) || self.parameters[*index].iter().any(Parameter::is_trained)
        };
        let first_changing = (0..self.nodes.len()).find(changes)?;
        let is_boundary = |node: usize| {
            let is_after = |source: &Source| matches!(source, Source::Node(other) if *other >= node);
            matches!(self.features[node], Features::Vector(_)) && self.sources[node + 1..].iter().flatten().all(is_after)
        };
        let has_convolution = |node: usize| self.nodes[..=node].iter().any(|node| matches!(node.op, Op::Conv(_)));
        (0..first_changing).rev().find(|node| is_boundary(*node) && has_convolution(*node))
    }

    /// The network up to node `index`, which gives a vector, and the rest, which takes this vector as an image of one pixel. The node has the same name in both.
    ///
    /// # Panics
    ///
    /// When the node gives a feature map, or a node after it takes something from before it.
    #[must_use]
    pub fn split_after(&self, index: usize) -> (Self, Self) {
        let Features::Vector(length) = self.features[index] else { panic!("node {index} gives a feature map") };
        let name = &self.nodes[index].name;
        let entry = Node { name: name.clone(), op: Op::Flatten(Flatten {}), inputs: vec![IMAGE.to_owned()] };
        let rest = std::iter::once(entry).chain(self.nodes[index + 1..].iter().cloned()).collect();
        let graph = |input, nodes, output: &str| Self::new(input, nodes, output).unwrap_or_else(|error| panic!("{error}"));
        let body = graph(self.input, self.nodes[..=index].to_vec(), name);
        (body, graph(Shape { channels: length, height: 1, width: 1 }, rest, &self.nodes[self.output].name))
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
        // The pool; nothing is frozen, or dropout comes first.
        assert_eq!([&all, &graph].map(Graph::last_frozen_vector), [Some(4), None]);
        let with_dropout: Vec<Layer> =
            ["dropout 0.1", "conv 2 3x3", "global_max_pool", "dense classes"].iter().map(|line| Layer::new(line).unwrap()).collect();
        let with_dropout = layers(&with_dropout, Shape { channels: 1, height: 4, width: 4 }, 3).unwrap().frozen(|_| true);
        assert_eq!(with_dropout.last_frozen_vector(), None);
        let (body, rest) = all.split_after(4);
        assert_eq!([body.output_features(), rest.output_features()], [Features::Vector(2), Features::Vector(3)]);
        assert_eq!([body.parameter_count(), rest.parameter_count()], [20 + 4 + 6 + 4, 15 + 18]);
        assert_eq!(rest.parameters().next().unwrap().name, "dense1.weight");
        let resized = all.with_input(Shape { channels: 1, height: 8, width: 6 }).unwrap();
        assert_eq!(trained(&resized), ["dense2.weight", "dense2.bias"]);
    }
}
