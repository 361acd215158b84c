//! The reference network.

use crate::graph::{BatchNorm, Builder, Conv, Dense, Dropout, Flatten, Graph, GraphError, MaxPool, Relu, Shape};

/// Convolutions, each followed by ReLU and a 2×2 max-pool, then two dense layers.
///
/// With `channels` 32 and 64, kernels of 3×3 without padding and 128 hidden units it has 225,034 parameters for images of 28×28×1 in 10 classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Cnn {
    /// Output channels of each convolution.
    pub channels: Vec<usize>,
    /// Side of the square kernels.
    pub kernel_size: usize,
    /// Zeros around what a convolution gets, on each side.
    pub padding: usize,
    /// Units of the hidden dense layer.
    pub hidden: usize,
    /// The rate of dropout after the hidden layer.
    pub dropout: f64,
}

impl Cnn {
    /// The graph.
    ///
    /// # Errors
    ///
    /// The node at fault and what does not fit.
    pub fn graph(&self, input: Shape, classes: usize) -> Result<Graph, GraphError> {
        self.graph_of(false, input, classes)
    }

    /// The graph with batch normalization between each convolution, which then has no bias, and its ReLU.
    ///
    /// # Errors
    ///
    /// As [`graph`](Self::graph).
    pub fn normalized_graph(&self, input: Shape, classes: usize) -> Result<Graph, GraphError> {
        self.graph_of(true, input, classes)
    }

    fn graph_of(&self, is_normalized: bool, input: Shape, classes: usize) -> Result<Graph, GraphError> {
        let mut network = Builder::new(input);
        for channels in &self.channels {
            network.then(Conv { bias: !is_normalized, ..Conv::new(*channels, self.kernel_size).padding(self.padding) });
            if is_normalized {
                network.then(BatchNorm::default());
            }
            network.then(Relu {}).then(MaxPool::new(2));
        }
        network.then(Flatten {}).then(Dense::new(self.hidden)).then(Relu {});
        if self.dropout > 0.0 {
            network.then(Dropout { rate: self.dropout });
        }
        network.then(Dense::new(classes)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_batch_normalization_convolutions_have_no_bias() {
        let cnn = Cnn { channels: vec![32, 64], kernel_size: 3, padding: 0, hidden: 128, dropout: 0.0 };
        let image = Shape { channels: 1, height: 28, width: 28 };
        let [plain, normalized] = [cnn.graph(image, 10).unwrap(), cnn.normalized_graph(image, 10).unwrap()];
        // γ and β in place of each bias.
        assert_eq!([plain.parameter_count(), normalized.parameter_count()], [225_034, 225_034 + 32 + 64]);
        let names: Vec<&str> = normalized.nodes().iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names[..5], ["conv1", "batch_norm1", "relu1", "max_pool1", "conv2"]);
        assert!(normalized.parameters().all(|parameter| parameter.name != "conv1.bias"));
    }
}
