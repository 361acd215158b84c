//! The sparsity of a network.

use regulus_model::graph::{Graph, Role};
use regulus_model::{Values, Weights};

/// The fractions of the kernels that are exactly 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sparsity {
    /// The fraction of weights.
    pub weights: f64,
    /// The fraction of output channels and units whose incoming weights are all 0.
    pub channels: f64,
}

impl Sparsity {
    /// The sparsity of the kernels of `graph`.
    #[must_use]
    pub fn of(weights: &Weights, graph: &Graph) -> Self {
        let kernels = graph.parameters().filter(|parameter| parameter.role == Role::Kernel);
        let kernels: Vec<&Values> = kernels.filter_map(|parameter| weights.get(&parameter.name)).collect();
        let channels = || kernels.iter().flat_map(|values| values.numbers.chunks(values.numbers.len() / values.shape[0]));
        let is_zero = |number: &&f32| **number == 0.0;
        let count: usize = kernels.iter().map(|values| values.numbers.len()).sum();
        let zeros: usize = kernels.iter().map(|values| values.numbers.iter().filter(is_zero).count()).sum();
        let empty = channels().filter(|channel| channel.iter().all(|number| *number == 0.0)).count();
        // A network without kernels has no zeros.
        let fraction = |zeros: usize, of: usize| if of == 0 { 0.0 } else { zeros as f64 / of as f64 };
        Self { weights: fraction(zeros, count), channels: fraction(empty, channels().count()) }
    }
}

#[cfg(test)]
mod tests {
    use regulus_model::graph::Shape;
    use regulus_model::networks::Cnn;

    use super::*;
    use crate::backend::any_cpu;
    use crate::config::Init;
    use crate::network::Network;
    use crate::seed::Seed;

    #[test]
    fn zeros_are_counted_in_kernels_only() {
        let cnn = Cnn { channels: vec![32, 64], kernel_size: 3, padding: 0, hidden: 128, dropout: 0.0 };
        let graph = cnn.graph(Shape { channels: 1, height: 28, width: 28 }, 10).unwrap();
        let drawn = Network::new(&graph, Init::Glorot, Seed(1), &any_cpu()).weights();
        assert_eq!(Sparsity::of(&drawn, &graph), Sparsity { weights: 0.0, channels: 0.0 });
        // 32 of 234 channels, 288 of 224,800 weights.
        let without = drawn.map(|name, values| match name {
            "conv1.weight" => Values { shape: values.shape.clone(), numbers: vec![0.0; values.numbers.len()] },
            _ => values.clone(),
        });
        let found = Sparsity::of(&without, &graph);
        assert!((found.weights - 288.0 / 224_800.0).abs() < 1e-12 && (found.channels - 32.0 / 234.0).abs() < 1e-12, "{found:?}");
    }
}
