//! The receptive field of an output pixel.

use super::conv::Conv;
use super::{Graph, Op, Source};

impl Graph {
    /// How many rows and columns away the farthest pixel of the image is that a pixel of the output depends on: half of the receptive field. Returns `None`
    /// unless every operation keeps rows and columns and looks at a neighbourhood only, as convolutions with a stride of 1 and padding `same` do.
    ///
    /// A pixel of the output is the same for a part of the image that has so many rows and columns around it.
    #[must_use]
    pub fn receptive_radius(&self) -> Option<usize> {
        let mut radii: Vec<usize> = Vec::with_capacity(self.nodes().len());
        for (index, node) in self.nodes().iter().enumerate() {
            let own = match &node.op {
                Op::Conv(Conv { kernel, stride: [1, 1], padding, extra_padding: [0, 0], .. })
                    if [0, 1].map(|side| 2 * padding[side] + 1) == *kernel =>
                {
                    padding[0].max(padding[1])
                }
                Op::BatchNorm(_) | Op::Relu(_) | Op::Relu6(_) | Op::Gelu(_) | Op::Add(_) | Op::Subtract(_) | Op::Dropout(_) => 0,
                _ => return None,
            };
            let of_source = |source: &Source| match source {
                Source::Image => 0,
                Source::Node(node) => radii[*node],
            };
            let farthest = self.sources(index).iter().map(of_source).max().unwrap_or(0);
            radii.push(farthest + own);
        }
        Some(radii[self.output()])
    }
}

#[cfg(test)]
mod tests {
    use crate::Shape;
    use crate::graph::Layer;
    use crate::networks::{DnCnn, layers};

    #[test]
    fn the_radius_is_that_of_all_convolutions_on_the_longest_way() {
        let shape = Shape { channels: 1, height: 16, width: 16 };
        assert_eq!(DnCnn { depth: 7, width: 2 }.graph(shape).unwrap().receptive_radius(), Some(7));
        let radius = |lines: &[&str]| {
            let lines: Vec<Layer> = lines.iter().map(|line| Layer::new(line).unwrap()).collect();
            layers(&lines, shape, 2).unwrap().receptive_radius()
        };
        assert_eq!(radius(&["conv 2 3x5 padding same", "relu as a", "conv 2 7x7 padding 3", "conv 2 1x1", "add a"]), Some(5));
        assert_eq!(radius(&["conv 1 3x3"]), None, "fewer rows");
        assert_eq!(radius(&["conv 1 3x3 padding 1 stride 2"]), None);
        assert_eq!(radius(&["conv 1 3x3 padding 1", "max_pool 2x2"]), None);
    }
}
