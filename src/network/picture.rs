//! Prediction for images of any size, by networks that give images.

use regulus_model::graph::{Features, Graph, GraphError, Shape};

use super::Predictor;

/// The largest number of values of one layer for a picture that is computed as a whole: 128 MiB of float32.
const WHOLE: usize = 1 << 25;
/// The largest side of the tiles of a larger picture, in pixels.
const TILE: usize = 512;
/// The largest number of predictors for other sizes that are stored.
const SIZES: usize = 16;

/// Computes the outputs of a network that gives an image of the size of its input. A large image is computed in tiles of up to 512×512 pixels with as many
/// rows and columns around them as an output pixel depends on, if the network allows it ([`Graph::receptive_radius`]).
#[derive(Debug)]
pub struct PicturePredictor {
    predictor: Predictor,
    sizes: Vec<Predictor>,
}

/// How a picture is computed.
enum Way {
    /// At once.
    Whole,
    /// In tiles with this side, and this many pixels around them.
    Tiles { side: usize, radius: usize },
}

impl Way {
    /// The way for an image of this shape.
    fn of(graph: &Graph, shape: Shape) -> Self {
        let channels = graph.largest_features().div_ceil((graph.input().height * graph.input().width).max(1));
        let is_large = |height: usize, width: usize| height.saturating_mul(width).saturating_mul(channels) > WHOLE;
        match graph.receptive_radius() {
            Some(radius) if is_large(shape.height, shape.width) => {
                let mut side = TILE;
                while side > 1 && is_large(side + 2 * radius, side + 2 * radius) {
                    side /= 2;
                }
                Self::Tiles { side, radius }
            }
            _ => Self::Whole,
        }
    }
}

impl PicturePredictor {
    /// The network of `predictor`, for images of any size.
    #[must_use]
    pub fn new(predictor: &Predictor) -> Self {
        Self { predictor: predictor.clone(), sizes: vec![predictor.clone()] }
    }

    /// Checks that the network gives an image of the size of its input for one of this shape.
    ///
    /// # Errors
    ///
    /// In words, when it does not.
    pub fn check(graph: &Graph, shape: Shape) -> Result<(), String> {
        if shape.channels != graph.input().channels {
            return Err(match graph.input().channels {
                1 => "it takes grey images, with one channel".to_owned(),
                channels => format!("it takes images with {channels} channels"),
            });
        }
        if shape.size() == 0 {
            return Err("the image has no pixels".to_owned());
        }
        let computed = match Way::of(graph, shape) {
            Way::Whole => shape,
            Way::Tiles { side, radius } => {
                let tile = |whole: usize| whole.min(side + 2 * radius);
                Shape { height: tile(shape.height), width: tile(shape.width), ..shape }
            }
        };
        match graph.with_input(computed) {
            Ok(graph) if graph.output_features() == Features::Map(computed) => Ok(()),
            Ok(graph) => Err(format!("it gives {}; use layers that keep the size of any image", graph.output_features())),
            Err(error) => Err(format!("{error}; use layers that keep the size of any image, such as convolutions with padding")),
        }
    }

    /// The predictor for images of this shape. Returns `None` if they are computed in tiles.
    ///
    /// # Errors
    ///
    /// When the network can't be applied to them.
    pub fn whole(&mut self, shape: Shape) -> Result<Option<&Predictor>, GraphError> {
        match Way::of(self.predictor.graph(), shape) {
            Way::Whole => self.sized(shape).map(Some),
            Way::Tiles { .. } => Ok(None),
        }
    }

    /// The output for a picture of this shape, whose numbers are normalized.
    ///
    /// # Shapes
    ///
    /// - picture: `[channel, row, column]`
    /// - output: `[channel, row, column]`
    ///
    /// # Errors
    ///
    /// When the network can't be applied to it.
    pub fn forward(&mut self, picture: &[f32], shape: Shape) -> Result<Vec<f32>, GraphError> {
        let Way::Tiles { side, radius } = Way::of(self.predictor.graph(), shape) else {
            return Ok(self.sized(shape)?.forward(picture, 1));
        };
        let mut output = vec![0.0; picture.len()];
        for top in (0..shape.height).step_by(side) {
            for left in (0..shape.width).step_by(side) {
                let (rows, columns) = (Span::new(top, side, shape.height, radius), Span::new(left, side, shape.width, radius));
                let tile = Shape { height: rows.len(), width: columns.len(), ..shape };
                let line = |channel: usize, row: usize| (channel * shape.height + row) * shape.width;
                let lines = (0..shape.channels).flat_map(|channel| (rows.first..rows.end).map(move |row| line(channel, row)));
                let cut: Vec<f32> = lines.flat_map(|line| &picture[line + columns.first..line + columns.end]).copied().collect();
                let computed = self.sized(tile)?.forward(&cut, 1);
                for (channel, plane) in computed.chunks_exact(tile.height * tile.width).enumerate() {
                    for row in rows.core_first..rows.core_end {
                        let from = (row - rows.first) * tile.width + columns.core_first - columns.first;
                        let to = line(channel, row) + columns.core_first;
                        let count = columns.core_end - columns.core_first;
                        output[to..to + count].copy_from_slice(&plane[from..from + count]);
                    }
                }
            }
        }
        Ok(output)
    }

    /// The predictor for pictures of this shape.
    fn sized(&mut self, shape: Shape) -> Result<&Predictor, GraphError> {
        let found = self.sizes.iter().position(|sized| sized.graph().input() == shape);
        let index = if let Some(index) = found {
            index
        } else {
            if self.sizes.len() >= SIZES {
                self.sizes.clear();
            }
            self.sizes.push(self.predictor.with_input(shape)?);
            self.sizes.len() - 1
        };
        Ok(&self.sizes[index])
    }
}

/// Rows or columns of a tile.
struct Span {
    /// The first and the end of those that are computed.
    first: usize,
    end: usize,
    /// The first and the end of those that are taken.
    core_first: usize,
    core_end: usize,
}

impl Span {
    fn new(core_first: usize, tile: usize, whole: usize, radius: usize) -> Self {
        let core_end = whole.min(core_first + tile);
        Self { first: core_first.saturating_sub(radius), end: whole.min(core_end + radius), core_first, core_end }
    }

    fn len(&self) -> usize {
        self.end - self.first
    }
}

#[cfg(test)]
mod tests {
    use regulus_model::networks::DnCnn;
    use regulus_model::preprocess::Normalizer;

    use super::*;
    use crate::backend::any_cpu;
    use crate::config::Init;
    use crate::network::Network;
    use crate::seed::Seed;

    #[test]
    fn tiles_of_wide_networks_are_small_enough() {
        let graph = DnCnn { depth: 7, width: 2000 }.graph(Shape { channels: 1, height: 40, width: 40 }).unwrap();
        let Way::Tiles { side, radius } = Way::of(&graph, Shape { channels: 1, height: 1000, width: 1000 }) else { panic!("it is large") };
        assert_eq!((side, radius), (64, 7));
        PicturePredictor::check(&graph, Shape { channels: 1, height: 1000, width: 1000 }).unwrap();
        let refused = |channels, height| PicturePredictor::check(&graph, Shape { channels, height, width: 10 }).unwrap_err();
        assert_eq!(
            (refused(3, 10), refused(1, 0)),
            ("it takes grey images, with one channel".to_owned(), "the image has no pixels".to_owned())
        );
    }

    #[test]
    fn tiles_give_what_the_whole_picture_gives() {
        let graph = DnCnn { depth: 5, width: 30 }.graph(Shape { channels: 1, height: 40, width: 40 }).unwrap();
        let network = Network::new(&graph, Init::Glorot, Seed(1), &any_cpu());
        let predictor = Predictor::new(&network, &Normalizer { mean: vec![0.0], deviation: vec![1.0] });
        let shape = Shape { channels: 1, height: 1030, width: 1100 };
        let picture: Vec<f32> = (0..shape.size()).map(|at| (at * 7919 % 1009) as f32 / 1009.0).collect();
        let whole = predictor.with_input(shape).unwrap().forward(&picture, 1);
        let mut pictures = PicturePredictor::new(&predictor);
        assert!(pictures.whole(shape).unwrap().is_none(), "it is computed in tiles");
        let tiled = pictures.forward(&picture, shape).unwrap();
        let largest = whole.iter().zip(&tiled).map(|(whole, tiled)| (whole - tiled).abs()).fold(0.0, f32::max);
        assert!(largest < 1e-5, "{largest}");
    }
}
