//! The transpose of each operation: vectors from a node's output to its input.

use regulus_linalg::product::{Matrix, multiply};
use regulus_model::graph::{Conv, Op, Source};

use super::jacobian::{Linearized, Saved};

impl Linearized<'_> {
    /// What reaches a node's input, `[sample, column, number]`, where `vectors` reaches its output.
    pub(super) fn back(&self, index: usize, mut vectors: Vec<f32>, saved: &Saved, samples: usize) -> Vec<f32> {
        let graph = self.graph;
        let (input, output) = (graph.input_of(index), graph.features_of(Source::Node(index)));
        let (size, channels) = (output.size(), output.channels());
        let rows = vectors.len() / size;
        let columns = rows / samples;
        match (&graph.nodes()[index].op, saved) {
            (Op::Dense(_), _) => {
                let mut back = vec![0.0; rows * input.size()];
                multiply(&mut back, Matrix::new(&vectors, rows), Matrix::new(self.kernel(index), size));
                back
            }
            (Op::Conv(op), _) => self.convolved_back(index, op, &vectors),
            (_, Saved::Derivative(slopes)) => {
                for (row, numbers) in vectors.chunks_exact_mut(size).enumerate() {
                    let slopes = &slopes[row / columns * size..][..size];
                    numbers.iter_mut().zip(slopes).for_each(|(number, slope)| *number *= slope);
                }
                vectors
            }
            (_, Saved::Largest(largest)) => {
                let mut back = vec![0.0; rows * input.size()];
                for (row, (to, from)) in back.chunks_exact_mut(input.size()).zip(vectors.chunks_exact(size)).enumerate() {
                    let largest = &largest[row / columns * size..][..size];
                    let channels = to.chunks_exact_mut(input.area()).zip(from.chunks_exact(output.area()));
                    for ((to, from), largest) in channels.zip(largest.chunks_exact(output.area())) {
                        largest.iter().zip(from).for_each(|(place, number)| to[*place as usize] += number);
                    }
                }
                back
            }
            (_, Saved::Scale(scale)) => {
                for (place, channel) in vectors.chunks_exact_mut(output.area()).enumerate() {
                    channel.iter_mut().for_each(|number| *number *= scale[place % channels]);
                }
                vectors
            }
            (Op::GlobalAveragePool(_), _) => {
                let each = 1.0 / input.area() as f32;
                vectors.iter().flat_map(|number| std::iter::repeat_n(number * each, input.area())).collect()
            }
            (Op::AveragePool(_), _) => {
                let windows = self.windows(index);
                let mut back = vec![0.0; rows * input.size()];
                for (to, from) in back.chunks_exact_mut(input.area()).zip(vectors.chunks_exact(windows.count())) {
                    windows.each(|_, window, place| to[place] += from[window] / windows.area() as f32);
                }
                back
            }
            _ => vectors,
        }
    }

    fn convolved_back(&self, index: usize, op: &Conv, vectors: &[f32]) -> Vec<f32> {
        let windows = self.windows(index);
        let positions = windows.count();
        let width = windows.input.channels * windows.area();
        let rows = vectors.len() / (op.outputs * positions);
        let mut back = vec![0.0; rows * windows.input.size()];
        let mut patches = vec![0.0; width * positions];
        let kernel = self.kernel(index);
        for (to, from) in back.chunks_exact_mut(windows.input.size()).zip(vectors.chunks_exact(op.outputs * positions)) {
            let [of_group, to_group] = [from.len() / op.groups, patches.len() / op.groups];
            for group in 0..op.groups {
                let weights = &kernel[group * kernel.len() / op.groups..][..kernel.len() / op.groups];
                let weights = Matrix::new(weights, op.outputs / op.groups);
                let from = Matrix::new(&from[group * of_group..][..of_group], op.outputs / op.groups);
                multiply(&mut patches[group * to_group..][..to_group], weights.transpose(), from);
            }
            windows.add_patches(&patches, to);
        }
        back
    }
}
