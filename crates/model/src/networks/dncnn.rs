//! The denoising network DnCNN.

use crate::graph::{BatchNorm, Builder, Conv, Graph, GraphError, IMAGE, Relu, Shape, Subtract};

/// DnCNN (Zhang et al. 2017, arXiv 1608.03981, section III): a convolution with ReLU, `depth` − 2 convolutions with batch normalization and ReLU, and a
/// convolution to the channels of the image, all 3×3 with one pixel of zeros around. They find the noise R(y) in an image y; the output is y − R(y).
///
/// The paper has `depth` 17 and `width` 64. Nothing in it depends on the height and width of the images.
#[derive(Clone, Debug, PartialEq)]
pub struct DnCnn {
    /// Convolutions; at least 2.
    pub depth: usize,
    /// Output channels of each convolution but the last.
    pub width: usize,
}

impl DnCnn {
    /// The graph.
    ///
    /// # Errors
    ///
    /// The node at fault and what does not fit.
    pub fn graph(&self, image: Shape) -> Result<Graph, GraphError> {
        let conv = |outputs: usize| Conv::new(outputs, 3).padding(1);
        let mut network = Builder::new(image);
        network.then(conv(self.width)).then(Relu {});
        for _ in 2..self.depth {
            network.then(Conv { bias: false, ..conv(self.width) }).then(BatchNorm::default()).then(Relu {});
        }
        let noise = network.then(conv(image.channels)).last();
        network.node(None, Subtract {}.into(), vec![IMAGE.to_owned(), noise]).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Features;

    #[test]
    fn the_network_of_the_paper_has_its_layers_and_555137_parameters() {
        let image = Shape { channels: 1, height: 40, width: 40 };
        let graph = DnCnn { depth: 17, width: 64 }.graph(image).unwrap();
        // 9·64 + 64, 15 times 9·64·64 and γ and β of 64 channels, 9·64 + 1.
        assert_eq!(graph.parameter_count(), 640 + 15 * (36_864 + 128) + 577);
        assert_eq!(graph.output_features(), Features::Map(image));
        let names: Vec<&str> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names[..5], ["conv1", "relu1", "conv2", "batch_norm1", "relu2"]);
        assert_eq!(names[names.len() - 3..], ["relu16", "conv17", "subtract1"]);
        assert_eq!(graph.nodes()[names.len() - 1].inputs, ["image", "conv17"]);
    }
}
