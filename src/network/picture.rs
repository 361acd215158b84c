//! Prediction for pictures of any size.

use regulus_model::graph::{GraphError, Shape};

use super::Predictor;

/// The largest number of pixels of a picture that is computed as a whole.
const WHOLE: usize = 1 << 20;
/// The side of the tiles of a larger picture, in pixels.
const TILE: usize = 512;
/// The largest number of sizes that are kept.
const SIZES: usize = 16;

/// Computes the outputs of a network that gives a picture of the size of its image. A large picture is computed in tiles of 512×512 pixels with as many
/// rows and columns around them as an output pixel depends on, if the network allows it ([`Graph::reach`](regulus_model::graph::Graph::reach)).
#[derive(Debug)]
pub struct PicturePredictor {
    predictor: Predictor,
    reach: Option<usize>,
    sizes: Vec<Predictor>,
}

impl PicturePredictor {
    /// The network of `predictor`, for pictures of any size.
    #[must_use]
    pub fn new(predictor: &Predictor) -> Self {
        Self { predictor: predictor.clone(), reach: predictor.graph().reach(), sizes: vec![predictor.clone()] }
    }

    /// The predictor for pictures of this shape. Returns `None` if they are computed in tiles.
    ///
    /// # Errors
    ///
    /// When the network can't be applied to them.
    pub fn whole(&mut self, shape: Shape) -> Result<Option<&Predictor>, GraphError> {
        if self.reach.is_some() && shape.height * shape.width > WHOLE { Ok(None) } else { self.sized(shape).map(Some) }
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
        if let Some(predictor) = self.whole(shape)? {
            return Ok(predictor.forward(picture, 1));
        }
        let reach = self.reach.unwrap_or(0);
        let mut output = vec![0.0; picture.len()];
        for top in (0..shape.height).step_by(TILE) {
            for left in (0..shape.width).step_by(TILE) {
                let (rows, columns) = (Span::new(top, shape.height, reach), Span::new(left, shape.width, reach));
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
    fn new(core_first: usize, side: usize, reach: usize) -> Self {
        let core_end = side.min(core_first + TILE);
        Self { first: core_first.saturating_sub(reach), end: side.min(core_end + reach), core_first, core_end }
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
    fn tiles_give_what_the_whole_picture_gives() {
        let graph = DnCnn { depth: 5, width: 2 }.graph(Shape { channels: 1, height: 40, width: 40 }).unwrap();
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
