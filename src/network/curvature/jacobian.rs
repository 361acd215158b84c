//! A network as a linear map of its parameters around their values: what curvature is made of.
//!
//! The forward pass saves of each node what the backward pass needs; then vectors go back from the output, node by node. All of it is in memory and on the
//! caller's thread, without dropout and normalized by the running statistics.

use regulus_kernels::gelu;
use regulus_linalg::product::{Matrix, multiply};
use regulus_model::Weights;
use regulus_model::graph::{Conv, Graph, Op, Source};

use super::tiny::{drop_tiny, without_tiny};
use super::windows::{Windows, map_shape};

/// What reaches a layer, and what is sent back to it: the gradient of its kernel for one sample and one column is Σ over positions of
/// vector · inputᵀ, that of its bias Σ of vectors.
pub(super) struct Layer<'a> {
    /// Its index in the graph.
    pub(super) index: usize,
    pub(super) samples: usize,
    pub(super) columns: usize,
    pub(super) outputs: usize,
    pub(super) positions: usize,
    /// `[sample, input, position]`; an input of a convolution is a channel and a position in the kernel, a dense layer has one position.
    pub(super) inputs: &'a [f32],
    /// `[sample, column, output, position]`.
    pub(super) vectors: &'a [f32],
}

/// What of a node the backward pass needs.
pub(super) enum Saved {
    /// `[sample, input, position]`.
    Inputs(Vec<f32>),
    /// The derivative of an activation: `[sample, number]`.
    Derivative(Vec<f32>),
    /// Where in its channel each window's largest number was, `[sample, channel, window]`.
    Largest(Vec<u32>),
    /// γ/√(variance + epsilon): `[channel]`.
    Scale(Vec<f32>),
    Nothing,
}

/// A network in memory.
pub(super) struct Linearized<'a> {
    pub(super) graph: &'a Graph,
    weights: Weights,
}

/// The outputs for some samples, and what the backward pass needs.
pub(super) struct Forward {
    samples: usize,
    saved: Vec<Saved>,
    /// `[sample, output]`.
    pub(super) outputs: Vec<f32>,
}

impl<'a> Linearized<'a> {
    pub(super) fn new(graph: &'a Graph, weights: &Weights) -> Self {
        Self { graph, weights: without_tiny(weights) }
    }

    /// The outputs for images `[sample, channel, row, column]`.
    pub(super) fn forward(&self, images: &[f32]) -> Forward {
        let graph = self.graph;
        let samples = images.len() / graph.input().size();
        let mut values: Vec<Vec<f32>> = Vec::new();
        let mut saved = Vec::new();
        for index in 0..graph.nodes().len() {
            let inputs: Vec<&[f32]> = graph
                .sources(index)
                .iter()
                .map(|source| match source {
                    Source::Image => images,
                    Source::Node(from) => values[*from].as_slice(),
                })
                .collect();
            let (mut value, left) = self.node(index, &inputs, samples);
            drop_tiny(&mut value);
            values.push(value);
            saved.push(left);
        }
        Forward { samples, saved, outputs: std::mem::take(&mut values[graph.output()]) }
    }

    /// Sends `vectors`, `[sample, column, output]`, back from the output, and shows `each` of the layers at `wanted`, from the last on, what reaches it.
    pub(super) fn backward(&self, forward: &Forward, vectors: Vec<f32>, wanted: &[usize], mut each: impl FnMut(&Layer)) {
        let graph = self.graph;
        let Some(first) = wanted.iter().min().copied() else { return };
        let samples = forward.samples;
        let columns = vectors.len() / (samples * graph.output_features().size()).max(1);
        // What is sent back to each node's output: `[sample, column, number]`.
        let mut sent: Vec<Option<Vec<f32>>> = vec![None; graph.nodes().len()];
        sent[graph.output()] = Some(vectors);
        for index in (first..graph.nodes().len()).rev() {
            let Some(vectors) = sent[index].take() else { continue };
            let features = graph.features_of(Source::Node(index));
            if let (Saved::Inputs(inputs), true) = (&forward.saved[index], wanted.contains(&index)) {
                each(&Layer {
                    index,
                    samples,
                    columns,
                    outputs: features.channels(),
                    positions: features.area(),
                    inputs,
                    vectors: &vectors,
                });
            }
            // Which input of the node it is, and where that comes from.
            let of_node = |(input, source): (usize, &Source)| if let Source::Node(from) = source { Some((input, *from)) } else { None };
            let sources: Vec<(usize, usize)> = graph.sources(index).iter().enumerate().filter_map(of_node).collect();
            if sources.iter().all(|(_, from)| *from < first) {
                continue;
            }
            let mut back = self.back(index, vectors, &forward.saved[index], samples);
            drop_tiny(&mut back);
            let mut back = Some(back);
            for (place, (input, from)) in sources.iter().enumerate() {
                let last = place + 1 == sources.len();
                let mut own = if last { back.take() } else { back.clone() }.unwrap_or_default();
                if *input == 1 && matches!(graph.nodes()[index].op, Op::Subtract(_)) {
                    own.iter_mut().for_each(|number| *number = -*number);
                }
                match &mut sent[*from] {
                    Some(other) => other.iter_mut().zip(&own).for_each(|(to, number)| *to += number),
                    empty => *empty = Some(own),
                }
            }
        }
    }

    /// A parameter of a node.
    fn parameter(&self, index: usize, leaf: &str) -> Option<&[f32]> {
        self.weights.get(&format!("{}.{leaf}", self.graph.nodes()[index].name)).map(|values| values.numbers.as_slice())
    }

    pub(super) fn kernel(&self, index: usize) -> &[f32] {
        self.parameter(index, "weight").unwrap_or_else(|| unreachable!("weights that fit a graph have those of each layer"))
    }

    /// The value of a node, and what is saved of it.
    fn node(&self, index: usize, inputs: &[&[f32]], samples: usize) -> (Vec<f32>, Saved) {
        let graph = self.graph;
        let (input, output) = (graph.input_of(index), graph.features_of(Source::Node(index)));
        let x = inputs[0];
        let of_windows = |windows: Windows| {
            let mut largest = Vec::with_capacity(samples * output.size());
            x.chunks_exact(input.size()).for_each(|image| windows.add_largest(image, &mut largest));
            let mut value = Vec::with_capacity(largest.len());
            for (channel, places) in x.chunks_exact(input.area()).zip(largest.chunks_exact(windows.count())) {
                value.extend(places.iter().map(|place| channel[*place as usize]));
            }
            (value, Saved::Largest(largest))
        };
        let sums = |sign: f32| x.iter().zip(inputs[1]).map(|(one, other)| one + sign * other).collect();
        match &graph.nodes()[index].op {
            Op::Conv(op) => self.convolved(index, op, x, samples),
            Op::Dense(_) => {
                let weights = Matrix::new(self.kernel(index), output.size());
                let mut value = vec![0.0; samples * output.size()];
                multiply(&mut value, Matrix::new(x, samples), weights.transpose());
                if let Some(bias) = self.parameter(index, "bias") {
                    value.chunks_exact_mut(bias.len()).for_each(|row| row.iter_mut().zip(bias).for_each(|(to, bias)| *to += bias));
                }
                (value, Saved::Inputs(x.to_vec()))
            }
            Op::BatchNorm(op) => {
                let [weight, bias, mean, variance] = ["weight", "bias", "running_mean", "running_var"]
                    .map(|leaf| self.parameter(index, leaf).unwrap_or_else(|| unreachable!("a normalization has `{leaf}`")));
                #[expect(clippy::cast_possible_truncation, reason = "an operand of float32")]
                let scale: Vec<f32> =
                    weight.iter().zip(variance).map(|(weight, variance)| weight / (variance + op.epsilon as f32).sqrt()).collect();
                let mut value = x.to_vec();
                for (place, channel) in value.chunks_exact_mut(input.area()).enumerate() {
                    let at = place % scale.len();
                    channel.iter_mut().for_each(|number| *number = (*number - mean[at]) * scale[at] + bias[at]);
                }
                (value, Saved::Scale(scale))
            }
            Op::Relu(_) => (
                x.iter().map(|number| number.max(0.0)).collect(),
                Saved::Derivative(x.iter().map(|number| f32::from(u8::from(*number > 0.0))).collect()),
            ),
            Op::Relu6(_) => {
                let mask = x.iter().map(|number| f32::from(u8::from(*number > 0.0 && *number < 6.0))).collect();
                (x.iter().map(|number| number.clamp(0.0, 6.0)).collect(), Saved::Derivative(mask))
            }
            Op::Gelu(_) => (x.iter().copied().map(gelu::value).collect(), Saved::Derivative(x.iter().copied().map(gelu::slope).collect())),
            Op::MaxPool(_) => of_windows(self.windows(index)),
            Op::GlobalMaxPool(_) => {
                let input = map_shape(input);
                let kernel = [input.height, input.width];
                of_windows(Windows { input, output: [1, 1], kernel, stride: [1, 1], padding: [0, 0] })
            }
            Op::AveragePool(_) => {
                let windows = self.windows(index);
                let mut value = vec![0.0; samples * output.size()];
                for (channel, to) in x.chunks_exact(input.area()).zip(value.chunks_exact_mut(windows.count())) {
                    windows.each(|_, window, place| to[window] += channel[place] / windows.area() as f32);
                }
                (value, Saved::Nothing)
            }
            Op::GlobalAveragePool(_) => {
                let mean = |channel: &[f32]| channel.iter().sum::<f32>() / channel.len() as f32;
                (x.chunks_exact(input.area()).map(mean).collect(), Saved::Nothing)
            }
            Op::Add(_) => (sums(1.0), Saved::Nothing),
            Op::Subtract(_) => (sums(-1.0), Saved::Nothing),
            Op::Flatten(_) | Op::Dropout(_) => (x.to_vec(), Saved::Nothing),
        }
    }

    /// A convolution as a matrix product, so that what each position of the kernel sees is there.
    fn convolved(&self, index: usize, op: &Conv, images: &[f32], samples: usize) -> (Vec<f32>, Saved) {
        let windows = self.windows(index);
        let (positions, width) = (windows.count(), windows.input.channels * windows.area());
        let mut patches = vec![0.0; samples * width * positions];
        let mut value = vec![0.0; samples * op.outputs * positions];
        let kernel = self.kernel(index);
        let of_images = images.chunks_exact(windows.input.size()).zip(patches.chunks_exact_mut(width * positions));
        for ((image, patches), to) in of_images.zip(value.chunks_exact_mut(op.outputs * positions)) {
            windows.patches(image, patches);
            let [of_group, to_group] = [patches.len() / op.groups, to.len() / op.groups];
            for group in 0..op.groups {
                let weights = &kernel[group * kernel.len() / op.groups..][..kernel.len() / op.groups];
                let weights = Matrix::new(weights, op.outputs / op.groups);
                let patches = Matrix::new(&patches[group * of_group..][..of_group], width / op.groups);
                multiply(&mut to[group * to_group..][..to_group], weights, patches);
            }
        }
        if let Some(bias) = self.parameter(index, "bias") {
            for (place, channel) in value.chunks_exact_mut(positions).enumerate() {
                channel.iter_mut().for_each(|number| *number += bias[place % bias.len()]);
            }
        }
        (value, Saved::Inputs(patches))
    }
}

#[cfg(test)]
mod tests {
    use burn::module::ParamId;
    use burn::optim::GradientsParams;
    use burn::prelude::Tensor;
    use burn::tensor::TensorData;
    use rand::RngExt;
    use regulus_model::Values;
    use regulus_model::graph::{self, Parameter, Shape};
    use regulus_model::networks::layers;

    use super::*;
    use crate::backend::{any_cpu, numbers};
    use crate::config::Init;
    use crate::network::{Network, ParamVisitor};
    use crate::seed::Seed;

    /// The gradients of kernels and biases, in Burn's layout.
    struct Gradients<'a>(&'a GradientsParams, Vec<(String, Vec<f32>)>);

    impl ParamVisitor for Gradients<'_> {
        fn visit<const D: usize>(&mut self, parameter: &Parameter, id: ParamId, _tensor: Tensor<D>) {
            if let Some(gradient) = self.0.get::<D>(id) {
                let gradient = if D == 2 { gradient.swap_dims(0, 1) } else { gradient };
                self.1.push((parameter.name.clone(), numbers(gradient)));
            }
        }
    }

    /// Whether what is sent back to each layer gives the gradient that autodiff has, summed over the samples, of each logit.
    fn compare(lines: &[&str]) {
        let lines: Vec<graph::Layer> = lines.iter().map(|line| graph::Layer::new(line).unwrap()).collect();
        let graph = layers(&lines, Shape { channels: 2, height: 9, width: 8 }, 3).unwrap();
        let device = any_cpu().autodiff();
        // Running statistics that are not those of the start.
        let drawn = Network::new(&graph, Init::Glorot, Seed(1), &device).weights();
        let weights: Weights = drawn.map(|name, values| {
            if !name.contains("norm") {
                return values.clone();
            }
            let numbers = (1..).zip(&values.numbers).map(|(at, _)| 0.3 + 0.1 * at as f32).collect();
            Values { numbers, ..values.clone() }
        });
        let network = Network::of_weights(&graph, &weights, &device);
        let mut chance = Seed(2).stream("images", 0);
        let pixels: Vec<f32> = (0..4 * 2 * 9 * 8).map(|_| chance.random_range(-1.0..1.0)).collect();
        let images = Tensor::<4>::from_data(TensorData::new(pixels.clone(), [4, 2, 9, 8]), &device.device);
        let wanted: Vec<usize> = (0..graph.nodes().len())
            .filter(|index| matches!(graph.nodes()[*index].op, Op::Dense(_) | Op::Conv(Conv { groups: 1, .. })))
            .collect();
        let flat = network.weights();
        let linearized = Linearized::new(&graph, &flat);
        let forward = linearized.forward(&pixels);
        let expected = numbers(network.forward(images.clone()));
        assert!(forward.outputs.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-4), "{:?}", forward.outputs);
        let each_logit: Vec<f32> = (0..4 * 9).map(|at| if at % 9 % 4 == 0 { 1.0 } else { 0.0 }).collect();
        let mut found = Vec::new();
        linearized.backward(&forward, each_logit, &wanted, |layer| found.push(Gradient::of(layer)));
        assert_eq!(found.len(), wanted.len());
        for class in 0..3 {
            let sum = network.forward(images.clone()).slice([0..4, class..class + 1]).sum();
            let gradients = GradientsParams::from_grads(sum.backward(), &network);
            let mut expected = Gradients(&gradients, Vec::new());
            network.visit_parameters(&mut expected);
            for Gradient { index, kernel, bias } in &found {
                let name = &graph.nodes()[*index].name;
                let near = |leaf: &str, found: &[f32]| {
                    let Some((_, expected)) = expected.1.iter().find(|(other, _)| *other == format!("{name}.{leaf}")) else { return };
                    let largest = expected.iter().fold(1e-6_f32, |largest, number| largest.max(number.abs()));
                    assert_eq!(found.len(), expected.len());
                    for (found, expected) in found.iter().zip(expected) {
                        assert!((found - expected).abs() <= 1e-4 * largest, "{name}.{leaf}, logit {class}: {found} against {expected}");
                    }
                };
                near("weight", &kernel[class]);
                near("bias", &bias[class]);
            }
        }
    }

    /// The gradients of a layer for each logit, summed over the samples.
    struct Gradient {
        index: usize,
        kernel: Vec<Vec<f32>>,
        bias: Vec<Vec<f32>>,
    }

    impl Gradient {
        fn of(layer: &Layer) -> Self {
            let Layer { index, samples, columns, outputs, positions, inputs, vectors } = *layer;
            let width = inputs.len() / samples / positions;
            let mut kernel = vec![vec![0.0; outputs * width]; columns];
            let mut bias = vec![vec![0.0; outputs]; columns];
            for (row, vectors) in vectors.chunks_exact(outputs * positions).enumerate() {
                let inputs = Matrix::new(&inputs[row / columns * width * positions..][..width * positions], width);
                regulus_linalg::product::multiply_add(&mut kernel[row % columns], Matrix::new(vectors, outputs), inputs.transpose());
                for (to, vector) in bias[row % columns].iter_mut().zip(vectors.chunks_exact(positions)) {
                    *to += vector.iter().sum::<f32>();
                }
            }
            Self { index, kernel, bias }
        }
    }

    #[test]
    fn what_goes_back_through_every_operation_is_autodiffs() {
        compare(&["conv 3 3x3", "relu", "max_pool 2", "flatten", "dense 5", "relu", "dropout 0.5", "dense classes"]);
        compare(&[
            "conv 4 3x2 stride 2x1 padding 1 bias false",
            "batch_norm",
            "relu6",
            "max_pool 3 stride 2 padding 1",
            "gelu",
            "flatten",
            "dense classes",
        ]);
        compare(&[
            "conv 4 3x3 padding 1 as a",
            "relu",
            "conv 4 3x3 padding 1",
            "batch_norm",
            "add a",
            "average_pool 3 stride 2 padding 1",
            "conv 4 3x3 padding 1 groups 4",
            "global_average_pool",
            "dense classes",
        ]);
        compare(&[
            "conv 4 3x3 stride 2",
            "relu as a",
            "conv 3 1x1",
            "global_max_pool as b",
            "conv 3 2x2 from a",
            "global_average_pool",
            "add b",
            "batch_norm",
            "dense classes",
        ]);
        compare(&[
            "conv 2 3x3 padding 1",
            "subtract image as a",
            "conv 2 3x3 padding 1",
            "relu",
            "subtract a",
            "flatten",
            "dense 5 as b",
            "dense 5",
            "subtract b",
            "dense classes",
        ]);
    }
}
