//! Residual networks of basic blocks.

use crate::graph::{Add, BatchNorm, Builder, Conv, Dense, GlobalAveragePool, Graph, GraphError, MaxPool, Relu, Shape};

/// A residual network of basic blocks (He et al. 2015, arXiv 1512.03385) under the names that torchvision gives tensors, such as `layer2.0.downsample.0.weight`.
///
/// A stem; stages of blocks, each stage but the first with half the rows and columns; a global average pool; a dense layer. A block is
/// relu(x + bn(conv(relu(bn(conv(x)))))) of 3×3 convolutions without bias. Where it changes the size or the channels, x goes through a 1×1 convolution with
/// batch normalization (option B of the paper).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResNet {
    /// What comes before the stages.
    pub stem: Stem,
    /// Output channels of each stage. The stem has those of the first.
    pub widths: Vec<usize>,
    /// Blocks of each stage.
    pub blocks: Vec<usize>,
}

/// What comes before the stages of a [`ResNet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// A 3×3 convolution with batch normalization and ReLU, for small images such as CIFAR-10's.
    Small,
    /// A 7×7 convolution with stride 2, batch normalization and ReLU, and a 3×3 max-pool with stride 2: a quarter of the rows and columns.
    Large,
}

impl ResNet {
    /// The graph.
    ///
    /// # Errors
    ///
    /// The node at fault and what does not fit; or when there are no `widths`, or not as many as `blocks`.
    pub fn graph(&self, input: Shape, classes: usize) -> Result<Graph, GraphError> {
        let Self { stem, widths, blocks } = self;
        if widths.is_empty() || widths.len() != blocks.len() {
            let problem =
                format!("it has {} widths and {} numbers of blocks; expected one of each for each stage", widths.len(), blocks.len());
            return Err(GraphError::Whole(problem));
        }
        let mut network = Network { builder: Builder::new(input), channels: input.channels };
        let kernel = if *stem == Stem::Small { 3 } else { 7 };
        network.convolution("conv1", "bn1", kernel, widths[0], if *stem == Stem::Small { 1 } else { 2 });
        network.then("relu", Relu {});
        if *stem == Stem::Large {
            network.then("maxpool", MaxPool { kernel: [3; 2], stride: [2; 2], padding: [1; 2] });
        }
        for (stage, (width, count)) in (1..).zip(widths.iter().zip(blocks)) {
            for block in 0..*count {
                let stride = if stage > 1 && block == 0 { 2 } else { 1 };
                network.block(&format!("layer{stage}.{block}"), *width, stride);
            }
        }
        network.then("avgpool", GlobalAveragePool {});
        network.then("fc", Dense::new(classes));
        network.builder.finish()
    }
}

/// A network while it is built.
struct Network {
    builder: Builder,
    /// The channels of its last node.
    channels: usize,
}

impl Network {
    fn then(&mut self, name: &str, op: impl Into<crate::graph::Op>) {
        let last = self.builder.last();
        self.builder.node(Some(name), op.into(), vec![last]);
    }

    /// A convolution with batch normalization, of what the last node gives.
    fn convolution(&mut self, conv: &str, norm: &str, kernel: usize, outputs: usize, stride: usize) {
        self.then(conv, Conv { stride: [stride; 2], bias: false, ..Conv::new(outputs, kernel).padding(kernel / 2) });
        self.then(norm, BatchNorm::default());
        self.channels = outputs;
    }

    fn block(&mut self, name: &str, width: usize, stride: usize) {
        let input = self.builder.last();
        let mut shortcut = input.clone();
        // The shortcut comes first, so that a convolution, its normalization, the sum and the ReLU follow each other.
        let is_projected = stride > 1 || self.channels != width;
        if is_projected {
            self.convolution(&format!("{name}.downsample.0"), &format!("{name}.downsample.1"), 1, width, stride);
            shortcut = self.builder.last();
        }
        let conv = Conv { stride: [stride; 2], bias: false, ..Conv::new(width, 3).padding(1) };
        self.builder.node(Some(&format!("{name}.conv1")), conv.into(), vec![input]);
        self.then(&format!("{name}.bn1"), BatchNorm::default());
        self.then(&format!("{name}.relu1"), Relu {});
        self.convolution(&format!("{name}.conv2"), &format!("{name}.bn2"), 3, width, 1);
        let branch = self.builder.last();
        self.builder.node(Some(&format!("{name}.add")), Add {}.into(), vec![branch, shortcut]);
        self.then(&format!("{name}.relu2"), Relu {});
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Source;

    fn colour(side: usize) -> Shape {
        Shape { channels: 3, height: side, width: side }
    }

    #[test]
    fn the_networks_of_the_paper_have_their_parameters() {
        let large = |blocks: [usize; 4]| ResNet { stem: Stem::Large, widths: vec![64, 128, 256, 512], blocks: blocks.to_vec() };
        let count = |network: &ResNet, side, classes| network.graph(colour(side), classes).unwrap().parameter_count();
        // torchvision's resnet18() and resnet34().
        assert_eq!(count(&large([2, 2, 2, 2]), 224, 1000), 11_689_512);
        assert_eq!(count(&large([3, 4, 6, 3]), 224, 1000), 21_797_672);
        assert_eq!([32, 64].map(|side| count(&large([2, 2, 2, 2]), side, 10)), [11_181_642; 2]);
        let small = |blocks: usize| ResNet { stem: Stem::Small, widths: vec![16, 32, 64], blocks: vec![blocks; 3] };
        // 0.27 and 0.85 million in the paper, without projections: they have 16·32 + 2·32 and 32·64 + 2·64.
        assert_eq!(count(&small(3), 32, 10), 269_722 + 576 + 2176);
        assert_eq!(count(&small(9), 32, 10), 853_018 + 576 + 2176);
    }

    #[test]
    fn stages_halve_the_images() {
        let network = ResNet { stem: Stem::Large, widths: vec![4, 6, 8, 10], blocks: vec![1; 4] };
        let graph = network.graph(colour(64), 3).unwrap();
        let features = |name: &str| {
            let index = graph.nodes().iter().position(|node| node.name == name).unwrap();
            graph.features_of(Source::Node(index)).dims()
        };
        let names = ["conv1", "maxpool", "layer1.0.relu2", "layer2.0.relu2", "layer3.0.relu2", "layer4.0.relu2", "avgpool", "fc"];
        let expected: [&[usize]; 8] = [&[4, 32, 32], &[4, 16, 16], &[4, 16, 16], &[6, 8, 8], &[8, 4, 4], &[10, 2, 2], &[10], &[3]];
        assert_eq!(names.map(features), expected);
        let uneven = ResNet { blocks: vec![1; 3], ..network.clone() };
        assert!(uneven.graph(colour(64), 3).unwrap_err().to_string().contains("4 widths and 3 numbers of blocks"));
        for side in [32, 33, 224] {
            assert!(network.graph(colour(side), 3).is_ok());
        }
    }
}
