//! The reference network.

use crate::graph::{Builder, Conv, Dense, Dropout, Flatten, Graph, GraphError, MaxPool, Relu, Shape};

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
        let mut network = Builder::new(input);
        for channels in &self.channels {
            network.then(Conv::new(*channels, self.kernel_size).padding(self.padding)).then(Relu {}).then(MaxPool::new(2));
        }
        network.then(Flatten {}).then(Dense::new(self.hidden)).then(Relu {});
        if self.dropout > 0.0 {
            network.then(Dropout { rate: self.dropout });
        }
        network.then(Dense::new(classes)).finish()
    }
}
