//! The residual network of nine layers.

use crate::graph::{Add, BatchNorm, Builder, Conv, Dense, GlobalMaxPool, Graph, GraphError, MaxPool, Relu, Shape};

/// ResNet-9, the network that Page trained on CIFAR-10 for `DAWNBench` (2018, <https://github.com/davidcpage/cifar10-fast>): 3×3 convolutions without bias, each
/// with batch normalization and ReLU. After the first the others come as `widths[1]` with a pool, a residual block, `widths[2]` with a pool, `widths[3]` with
/// a pool, and a residual block; then a global max-pool and a dense layer. A residual block is x + f(f(x)), with the sum after the last ReLU.
///
/// With widths of 64, 128, 256 and 512 it has 6,573,130 parameters for colour images in 10 classes, and needs 379 million multiplications for one of 32×32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResNet9 {
    /// Output channels of the first convolution, and of the three with a pool.
    pub widths: [usize; 4],
}

impl ResNet9 {
    /// The graph.
    ///
    /// # Errors
    ///
    /// The node at fault and what does not fit.
    pub fn graph(&self, input: Shape, classes: usize) -> Result<Graph, GraphError> {
        let [first, second, third, fourth] = self.widths;
        let mut network = Builder::new(input);
        convolution(&mut network, first);
        convolution(&mut network, second).then(MaxPool::new(2));
        residual(&mut network, second);
        convolution(&mut network, third).then(MaxPool::new(2));
        convolution(&mut network, fourth).then(MaxPool::new(2));
        residual(&mut network, fourth);
        network.then(GlobalMaxPool {}).then(Dense::new(classes)).finish()
    }
}

/// A convolution with batch normalization and ReLU.
fn convolution(network: &mut Builder, outputs: usize) -> &mut Builder {
    network.then(Conv { bias: false, ..Conv::new(outputs, 3).padding(1) }).then(BatchNorm::default()).then(Relu {})
}

/// Two convolutions, and the sum with what they get.
fn residual(network: &mut Builder, width: usize) {
    let input = network.last();
    convolution(network, width);
    let branch = convolution(network, width).last();
    network.node(None, Add {}.into(), vec![branch, input]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Layer;
    use crate::networks::layers;

    const IMAGE: Shape = Shape { channels: 3, height: 32, width: 32 };

    #[test]
    fn it_is_the_network_of_these_layers_with_6573130_parameters() {
        let block = |width: usize| [format!("conv {width} 3x3 padding 1 bias false"), "batch_norm".to_owned(), "relu".to_owned()];
        let pool = |name: &str| [format!("max_pool 2{name}")];
        let add = |name: &str| [format!("add {name}")];
        let lines = [
            block(64).as_slice(),
            &block(128),
            &pool(" as max_pool1"),
            &block(128),
            &block(128),
            &add("max_pool1"),
            &block(256),
            &pool(""),
            &block(512),
            &pool(""),
            &block(512),
            &block(512),
            &add("max_pool3"),
            &["global_max_pool".to_owned(), "dense classes".to_owned()],
        ]
        .concat();
        let lines: Vec<Layer> = lines.iter().map(|line| Layer::new(line).unwrap()).collect();
        let graph = ResNet9 { widths: [64, 128, 256, 512] }.graph(IMAGE, 10).unwrap();
        assert_eq!(graph, layers(&lines, IMAGE, 10).unwrap());
        assert_eq!(graph.parameter_count(), 6_573_130);
        let multiplications: u64 = (0..graph.nodes().len()).map(|index| graph.multiplications(index)).sum();
        assert_eq!(multiplications / 1_000_000, 379);
    }

    #[test]
    fn images_have_three_pools_at_least() {
        let small = Shape { height: 7, ..IMAGE };
        let error = ResNet9 { widths: [2; 4] }.graph(small, 10).unwrap_err().to_string();
        assert!(error.contains("`max_pool3`"), "{error}");
    }
}
