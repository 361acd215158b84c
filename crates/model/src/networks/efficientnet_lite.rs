//! EfficientNet-Lite0.

use crate::graph::{Add, BatchNorm, Builder, Conv, Dense, Dropout, GlobalAveragePool, Graph, GraphError, Op, Relu6, Shape};

/// EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946, without squeeze-and-excitation and with `ReLU6`) under the tensor names of the Python package
/// `efficientnet-lite-pytorch`, such as `_blocks.3._depthwise_conv.weight`.
///
/// A 3×3 convolution with stride 2; seven stages of inverted residual blocks; a 1×1 convolution; a global average pool, dropout and a dense layer. A block is a
/// 1×1 convolution to six times the channels, a depthwise convolution, and a 1×1 convolution back (Sandler et al. 2018, arXiv 1801.04381), each with batch
/// normalization, the first two with `ReLU6`. The blocks of the first stage lack the first of the three. A block that keeps size and channels adds its input.
///
/// Convolutions are padded as TensorFlow's `SAME` for the size of the images. The package does so for the size that it is given, 224×224 unless told otherwise: the
/// same for images whose sides are multiples of 32. Its stochastic depth in training is left out.
#[derive(Clone, Debug, PartialEq)]
pub struct EfficientNetLite {
    /// Output channels of the first convolution, of each stage and of the last convolution: 32, 16, 24, 40, 80, 112, 192, 320 and 1280.
    pub widths: [usize; 9],
    /// Blocks of each stage: 1, 2, 2, 3, 3, 4 and 1.
    pub blocks: [usize; 7],
    /// The rate of dropout before the dense layer: 0.2.
    pub dropout: f64,
}

/// The side of the depthwise kernels and the stride of the first block of each stage, and the factor by which its blocks widen.
const STAGES: [(usize, usize, usize); 7] = [(3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6)];

impl EfficientNetLite {
    /// The graph.
    ///
    /// # Errors
    ///
    /// The node at fault and what does not fit.
    pub fn graph(&self, input: Shape, classes: usize) -> Result<Graph, GraphError> {
        let [stem, stages @ .., head] = self.widths;
        let mut network = Network { builder: Builder::new(input), map: input };
        network.convolution("_conv_stem", "_bn0", &Conv { stride: [2; 2], ..Conv::new(stem, 3) });
        network.then(None, Relu6 {});
        let mut number = 0;
        for ((kernel, stride, factor), (width, count)) in STAGES.into_iter().zip(stages.into_iter().zip(self.blocks)) {
            for block in 0..count {
                network.block(&format!("_blocks.{number}"), Block { kernel, stride: if block == 0 { stride } else { 1 }, factor, width });
                number += 1;
            }
        }
        network.convolution("_conv_head", "_bn1", &Conv::new(head, 1));
        network.then(None, Relu6 {}).then(Some("_avg_pooling"), GlobalAveragePool {});
        if self.dropout > 0.0 {
            network.then(Some("_dropout"), Dropout { rate: self.dropout });
        }
        network.then(Some("_fc"), Dense::new(classes));
        network.builder.finish()
    }
}

/// An inverted residual block.
#[derive(Clone, Copy)]
struct Block {
    kernel: usize,
    stride: usize,
    factor: usize,
    width: usize,
}

/// A network while it is built.
struct Network {
    builder: Builder,
    /// What its last convolution gives.
    map: Shape,
}

impl Network {
    fn then(&mut self, name: Option<&str>, op: impl Into<Op>) -> &mut Self {
        let last = self.builder.last();
        self.builder.node(name, op.into(), vec![last]);
        self
    }

    /// A convolution without bias, with batch normalization.
    fn convolution(&mut self, conv: &str, norm: &str, op: &Conv) {
        let Shape { height, width, .. } = self.map;
        let [rows, columns] = op.stride;
        self.map = Shape { channels: op.outputs, height: height.div_ceil(rows), width: width.div_ceil(columns) };
        self.then(Some(conv), Conv { bias: false, ..op.clone() }.same_padding([height, width]));
        self.then(Some(norm), BatchNorm { momentum: 0.01, epsilon: 1e-3 });
    }

    fn block(&mut self, name: &str, block: Block) {
        let Block { kernel, stride, factor, width } = block;
        let (input, shape) = (self.builder.last(), self.map);
        let wide = shape.channels * factor;
        if factor > 1 {
            self.convolution(&format!("{name}._expand_conv"), &format!("{name}._bn0"), &Conv::new(wide, 1));
            self.then(None, Relu6 {});
        }
        let depthwise = Conv { stride: [stride; 2], groups: wide, ..Conv::new(wide, kernel) };
        self.convolution(&format!("{name}._depthwise_conv"), &format!("{name}._bn1"), &depthwise);
        self.then(None, Relu6 {});
        self.convolution(&format!("{name}._project_conv"), &format!("{name}._bn2"), &Conv::new(width, 1));
        if stride == 1 && shape.channels == width {
            let branch = self.builder.last();
            self.builder.node(None, Add {}.into(), vec![branch, input]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fusion::fused;
    use crate::graph::{Features, Source};

    fn lite0(side: usize, classes: usize) -> Graph {
        let network = EfficientNetLite { widths: [32, 16, 24, 40, 80, 112, 192, 320, 1280], blocks: [1, 2, 2, 3, 3, 4, 1], dropout: 0.2 };
        network.graph(Shape { channels: 3, height: side, width: side }, classes).unwrap()
    }

    #[test]
    fn it_has_the_parameters_of_the_package() {
        assert_eq!([224, 64, 90].map(|side| lite0(side, 1000).parameter_count()), [4_652_008; 3]);
    }

    #[test]
    fn convolutions_are_padded_as_tensorflows_same() {
        let sides = |side: usize| -> Vec<usize> {
            let graph = lite0(side, 10);
            let maps =
                (0..graph.nodes().len()).filter_map(|index| match (&graph.nodes()[index].op, graph.features_of(Source::Node(index))) {
                    (Op::Conv(conv), Features::Map(map)) if conv.stride == [2, 2] => Some(map.height),
                    _ => None,
                });
            maps.collect()
        };
        assert_eq!(sides(224), [112, 56, 28, 14, 7]);
        assert_eq!(sides(90), [45, 23, 12, 6, 3]);
        let conv = |kernel: usize, stride: usize, side: usize| {
            let Conv { padding, extra_padding, .. } = Conv { stride: [stride; 2], ..Conv::new(1, kernel) }.same_padding([side; 2]);
            [padding[0], extra_padding[0]]
        };
        // 1 zero below, 1 and 2 zeros, 2 and 2, none.
        assert_eq!([conv(3, 2, 224), conv(5, 2, 56), conv(5, 2, 23), conv(1, 1, 7)], [[0, 1], [1, 1], [2, 0], [0, 0]]);
    }

    #[test]
    fn every_convolution_is_one_stage_with_what_follows_it() {
        // 1 + 2 + 15·3 + 1 convolutions; pool, dropout and the dense layer.
        assert_eq!(fused(&lite0(64, 10)).len(), 49 + 3);
    }
}
