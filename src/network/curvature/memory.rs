//! An estimate of the memory that a curvature needs.

use regulus_model::graph::{Graph, Role, Source};

use super::corrected::{FULL, ROWS};
use super::pass::STRIPS;
use super::posterior::SELECTED;
use super::{SAMPLES, Scope, VECTORS};
use crate::config::Structure;

/// The sizes of one layer's kernel, and its positions.
struct Sizes {
    outputs: u64,
    inputs: u64,
    positions: u64,
}

impl Scope {
    /// The bytes that the curvature of so many samples needs, at least: the sums that are made side by side, bases and eigenvectors.
    #[must_use]
    pub fn memory(&self, graph: &Graph, structure: Structure, samples: usize) -> u64 {
        let samples = samples as u64;
        let of_layer = |Sizes { outputs, inputs, positions }: Sizes| match structure {
            Structure::Diagonal => 8 * STRIPS as u64 * outputs * inputs,
            Structure::Kronecker if samples * positions < inputs => {
                let rows = samples * positions;
                8 * STRIPS as u64 * outputs * outputs + (4 + 8) * rows * inputs + 8 * rows * rows
            }
            Structure::Kronecker => 8 * STRIPS as u64 * (outputs * outputs + inputs * inputs),
            Structure::Ekfac => {
                let rank = |width: u64| if width <= FULL as u64 { width } else { width.min(ROWS as u64) };
                4 * (rank(outputs) * outputs + rank(inputs) * inputs) + 8 * STRIPS as u64 * rank(outputs) * rank(inputs)
            }
        };
        self.sizes(graph).map(of_layer).sum()
    }

    /// The bytes that a posterior of so many samples needs, at least: its corrected eigenvalues, the matrix among the selected directions, and the features of
    /// the samples.
    #[must_use]
    pub fn posterior_memory(&self, graph: &Graph, samples: usize) -> u64 {
        let parameters: u64 = self.sizes(graph).map(|Sizes { outputs, inputs, .. }| outputs * (inputs + 1)).sum();
        let selected = parameters.min(SELECTED as u64);
        let contrasts = graph.output_features().size().saturating_sub(1).max(1);
        let rows = (samples.min(SAMPLES).min(VECTORS / contrasts) * contrasts) as u64;
        // The block of each strip, the sum of all, and its factor.
        let blocks = 8 * (STRIPS as u64 + 2) * selected * selected;
        self.memory(graph, Structure::Ekfac, samples) + blocks + 4 * rows * selected
    }

    fn sizes<'a>(&'a self, graph: &'a Graph) -> impl Iterator<Item = Sizes> + 'a {
        self.layers().iter().flat_map(|index| {
            let positions = graph.features_of(Source::Node(*index)).area() as u64;
            let kernels = graph.parameters_of(*index).iter().filter(|parameter| parameter.role == Role::Kernel);
            kernels.map(move |kernel| {
                let outputs = kernel.shape[0] as u64;
                Sizes { outputs, inputs: kernel.size() as u64 / outputs.max(1), positions }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use regulus_model::graph::{Layer, Shape};
    use regulus_model::networks::layers;

    use super::*;

    #[test]
    fn memory_by_hand() {
        let lines = ["conv 2 3x3", "relu", "flatten", "dense classes"].map(|line| Layer::new(line).unwrap());
        let graph = layers(&lines, Shape { channels: 1, height: 12, width: 12 }, 3).unwrap();
        let scope = Scope::all(&graph).unwrap();
        // Kernels 2×9 with 100 positions and 3×200.
        assert_eq!(scope.memory(&graph, Structure::Diagonal, 50), 8 * 4 * (18 + 600));
        let wide = 12 * 50 * 200 + 8 * 50 * 50;
        assert_eq!(scope.memory(&graph, Structure::Kronecker, 50), 8 * 4 * (4 + 81) + 8 * 4 * 9 + wide);
        assert_eq!(scope.memory(&graph, Structure::Kronecker, 500), 8 * 4 * (4 + 81 + 9 + 40_000));
        let ekfac = 4 * (4 + 81 + 9 + 40_000) + 8 * 4 * (18 + 600);
        assert_eq!(scope.memory(&graph, Structure::Ekfac, 50), ekfac);
        let selected = 18 + 2 + 600 + 3;
        assert_eq!(scope.posterior_memory(&graph, 50), ekfac + 8 * 6 * selected * selected + 4 * 100 * selected);
    }
}
