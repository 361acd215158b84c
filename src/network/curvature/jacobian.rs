//! A network as a linear map of its parameters around their values: what curvature is made of.
//!
//! The forward pass saves of each node what the backward pass needs; then vectors go back from the output, node by node. All of it is stock operations, without
//! dropout, normalized by the running statistics, on a device without autodiff.

use burn::prelude::*;
use burn::tensor::IndexingUpdateOp;
use burn::tensor::module::{conv_transpose2d, max_pool2d_with_indices};
use burn::tensor::ops::{ConvTransposeOptions, MaxPoolOptions, PadMode};
use regulus_model::graph::{Conv, Features, Graph, Op, Source};

use crate::network::Network;
use crate::network::output::Output;
use crate::network::pool;

/// What reaches a layer, and what is sent back to it: the gradient of its kernel for one sample and one vector is Σ over positions of
/// vector · inputᵀ, that of its bias Σ of vectors.
pub(super) struct Layer {
    /// Its index in the graph.
    pub(super) index: usize,
    /// `[sample, input, position]`; an input of a convolution is a channel and a position in the kernel, a dense layer has one position.
    pub(super) inputs: Tensor<3>,
    /// `[sample, vector, output, position]`.
    pub(super) vectors: Tensor<4>,
}

/// What of a node the backward pass needs.
enum Saved {
    /// `[sample, input, position]`.
    Inputs(Tensor<3>),
    /// 1 where something gets through, 0 elsewhere: of the shape of one sample, flat.
    Mask(Tensor<2>),
    /// For each window, where in its channel the largest number was: `[sample, channel, window]`.
    Largest(Tensor<3, Int>),
    /// γ/√(variance + epsilon): `[channel]`.
    Scale(Tensor<1>),
    Nothing,
}

impl Network {
    /// Sends vectors back from the output for `images`, and shows `each` of the layers at `wanted`, from the last on, what reaches it. `vectors` makes
    /// `[sample, vector, class]` of the logits `[sample, class]`.
    pub(super) fn linearized(
        &self,
        images: &Tensor<4>,
        wanted: &[usize],
        vectors: impl FnOnce(Tensor<2>) -> Tensor<3>,
        mut each: impl FnMut(Layer),
    ) {
        let graph = self.graph();
        let Some(first) = wanted.iter().min().copied() else { return };
        let (logits, mut saved) = self.forward_saving(images);
        let vectors = vectors(logits);
        let [batch, count, outputs] = vectors.dims();
        // What is sent back to each node's output: `[sample · vector, number]`.
        let mut sent: Vec<Option<Tensor<2>>> = vec![None; graph.nodes().len()];
        sent[graph.output()] = Some(vectors.reshape([batch * count, outputs]));
        for index in (first..graph.nodes().len()).rev() {
            let Some(vectors) = sent[index].take() else { continue };
            let saved = std::mem::replace(&mut saved[index], Saved::Nothing);
            if let (Saved::Inputs(inputs), true) = (&saved, wanted.contains(&index)) {
                let features = graph.features_of(Source::Node(index));
                let vectors = vectors.clone().reshape([batch, count, features.channels(), features.area()]);
                each(Layer { index, inputs: inputs.clone(), vectors });
            }
            // Which input of the node it is, and where that comes from.
            let of_node = |(input, source): (usize, &Source)| if let Source::Node(from) = source { Some((input, *from)) } else { None };
            let sources: Vec<(usize, usize)> = graph.sources(index).iter().enumerate().filter_map(of_node).collect();
            if sources.iter().all(|(_, from)| *from < first) {
                continue;
            }
            let back = self.back(index, vectors, saved, count);
            for (input, from) in sources {
                let is_negative = input == 1 && matches!(graph.nodes()[index].op, Op::Subtract(_));
                let back = if is_negative { back.clone().neg() } else { back.clone() };
                sent[from] = Some(match sent[from].take() {
                    None => back,
                    Some(other) => other + back,
                });
            }
        }
    }

    /// The logits, and what is saved of each node.
    fn forward_saving(&self, images: &Tensor<4>) -> (Tensor<2>, Vec<Saved>) {
        let graph = self.graph();
        let mut values: Vec<Output> = Vec::new();
        let mut saved = Vec::new();
        for index in 0..graph.nodes().len() {
            let value = |source: &Source| match source {
                Source::Image => Output::Map(images.clone()),
                Source::Node(from) => values[*from].clone(),
            };
            let mut inputs = graph.sources(index).iter().map(value);
            let (value, left) = self.node_saving(index, &mut inputs);
            values.push(value);
            saved.push(left);
        }
        (values.swap_remove(graph.output()).vector(), saved)
    }

    fn node_saving(&self, index: usize, inputs: &mut dyn Iterator<Item = Output>) -> (Output, Saved) {
        let op = &self.graph().nodes()[index].op;
        let mut next = || inputs.next().unwrap_or_else(|| unreachable!("a graph is checked when it is made: a node has its inputs"));
        match op {
            Op::Conv(conv) => self.convolved(index, conv, next().map()),
            Op::Dense(_) => {
                let x = next().vector();
                (Output::Vector(self.dense[self.slot(index)].forward(x.clone())), Saved::Inputs(x.unsqueeze_dim(2)))
            }
            Op::MaxPool(op) => {
                let (value, largest) = max_pool2d_with_indices(next().map(), pool::max_options(op));
                (Output::Map(value), Saved::Largest(flat(largest)))
            }
            Op::GlobalMaxPool(_) => {
                let x = next().map();
                let [batch, channels, height, width] = x.dims();
                let (value, largest) = max_pool2d_with_indices(x, MaxPoolOptions::new([height, width]));
                (Output::Vector(value.reshape([batch, channels])), Saved::Largest(flat(largest)))
            }
            op => {
                let value = self.evaluated(index, op, &mut next);
                let saved = match op {
                    Op::Relu(_) => Saved::Mask(vectors_of(value.clone()).greater_elem(0.0).float()),
                    Op::Relu6(_) => {
                        let x = vectors_of(value.clone());
                        Saved::Mask(x.clone().greater_elem(0.0).float() * x.lower_elem(6.0).float())
                    }
                    Op::BatchNorm(_) => Saved::Scale(self.batch_norm[self.slot(index)].scale()),
                    _ => Saved::Nothing,
                };
                (value, saved)
            }
        }
    }

    /// A convolution as a matrix product, so that what each position of the kernel sees is there.
    fn convolved(&self, index: usize, op: &Conv, images: Tensor<4>) -> (Output, Saved) {
        let conv = &self.conv[self.slot(index)];
        if op.groups > 1 {
            return (Output::Map(conv.forward(images)), Saved::Nothing);
        }
        let [batch, channels, height, width] = images.dims();
        let weights = conv.weight.val();
        let ([outputs, ..], [kernel_rows, kernel_columns]) = (weights.dims(), op.kernel);
        let [above, left] = op.padding;
        let padded = if op.padding == [0, 0] { images } else { images.pad((left, left, above, above), PadMode::Constant(0.0)) };
        let rows = (height + 2 * above - kernel_rows) / op.stride[0] + 1;
        let columns = (width + 2 * left - kernel_columns) / op.stride[1] + 1;
        let shifted = (0..kernel_rows * kernel_columns).map(|at| {
            let (down, right) = (at / kernel_columns, at % kernel_columns);
            let [down_end, right_end] = [down + (rows - 1) * op.stride[0] + 1, right + (columns - 1) * op.stride[1] + 1];
            padded.clone().slice(s![0..batch, 0..channels, down..down_end;op.stride[0], right..right_end;op.stride[1]])
        });
        let inputs = Tensor::stack::<5>(shifted.collect(), 2).reshape([batch, channels * kernel_rows * kernel_columns, rows * columns]);
        let product = weights.reshape([1, outputs, channels * kernel_rows * kernel_columns]).repeat_dim(0, batch).matmul(inputs.clone());
        let mut out = product.reshape([batch, outputs, rows, columns]);
        if let Some(bias) = &conv.bias {
            out = out + bias.val().reshape([1, outputs, 1, 1]);
        }
        (Output::Map(out), Saved::Inputs(inputs))
    }

    /// What reaches a node's input, where `vectors` reaches its output; each sample has `count` of them.
    ///
    /// # Shapes
    ///
    /// - vectors: `[sample · vector, number of the output]`
    /// - output: `[sample · vector, number of the input]`
    fn back(&self, index: usize, vectors: Tensor<2>, saved: Saved, count: usize) -> Tensor<2> {
        let graph = self.graph();
        let input = graph.input_of(index);
        let [all, _] = vectors.dims();
        match (&graph.nodes()[index].op, saved) {
            (Op::Dense(_), _) => vectors.matmul(self.dense[self.slot(index)].weight.val().transpose()),
            (Op::Conv(conv), _) => {
                let [_, height, width] = map_dims(input);
                let extra = [0, 1].map(|axis| ([height, width][axis] + 2 * conv.padding[axis] - conv.kernel[axis]) % conv.stride[axis]);
                let options = ConvTransposeOptions::new(conv.stride, conv.padding, extra, [1, 1], conv.groups);
                let [channels, rows, columns] = map_dims(graph.features_of(Source::Node(index)));
                let vectors = vectors.reshape([all, channels, rows, columns]);
                conv_transpose2d(vectors, self.conv[self.slot(index)].weight.val(), None, options).reshape([all, input.size()])
            }
            (_, Saved::Mask(mask)) => vectors * repeated(mask, count),
            (_, Saved::Largest(largest)) => {
                let [batch, channels, windows] = largest.dims();
                let largest = largest.reshape([batch, 1, channels, windows]).repeat_dim(1, count).reshape([all, channels, windows]);
                let zeros = Tensor::<3>::zeros([all, channels, input.area()], &vectors.device());
                let vectors = vectors.reshape([all, channels, windows]);
                zeros.scatter(2, largest, vectors, IndexingUpdateOp::Add).reshape([all, input.size()])
            }
            (_, Saved::Scale(scale)) => {
                let channels = input.channels();
                (vectors.reshape([all, channels, input.area()]) * scale.reshape([1, channels, 1])).reshape([all, input.size()])
            }
            (Op::GlobalAveragePool(_), _) => {
                let spread = vectors.reshape([all, input.channels(), 1]).repeat_dim(2, input.area());
                spread.div_scalar(input.area() as f64).reshape([all, input.size()])
            }
            (Op::AveragePool(op), _) => average_back(graph, index, op, vectors),
            _ => vectors,
        }
    }
}

/// The transpose of an average-pool: each channel's windows spread evenly, a transposed convolution of one channel.
fn average_back(graph: &Graph, index: usize, op: &regulus_model::graph::AveragePool, vectors: Tensor<2>) -> Tensor<2> {
    let ([all, _], input) = (vectors.dims(), graph.input_of(index));
    let [channels, height, width] = map_dims(input);
    let [_, rows, columns] = map_dims(graph.features_of(Source::Node(index)));
    let extra = [0, 1].map(|axis| ([height, width][axis] + 2 * op.padding[axis] - op.kernel[axis]) % op.stride[axis]);
    let area = (op.kernel[0] * op.kernel[1]) as f64;
    let kernel = Tensor::<4>::ones([1, 1, op.kernel[0], op.kernel[1]], &vectors.device()).div_scalar(area);
    let options = ConvTransposeOptions::new(op.stride, op.padding, extra, [1, 1], 1);
    conv_transpose2d(vectors.reshape([all * channels, 1, rows, columns]), kernel, None, options).reshape([all, input.size()])
}

fn map_dims(features: Features) -> [usize; 3] {
    match features {
        Features::Map(shape) => [shape.channels, shape.height, shape.width],
        Features::Vector(length) => [length, 1, 1],
    }
}

/// `[sample, number]` as `[sample · vector, number]`, the same for every vector.
fn repeated(of_samples: Tensor<2>, count: usize) -> Tensor<2> {
    let [batch, numbers] = of_samples.dims();
    of_samples.reshape([batch, 1, numbers]).repeat_dim(1, count).reshape([batch * count, numbers])
}

fn vectors_of(value: Output) -> Tensor<2> {
    match value {
        Output::Map(map) => map.flatten(1, 3),
        Output::Vector(vector) => vector,
    }
}

fn flat(largest: Tensor<4, Int>) -> Tensor<3, Int> {
    let [batch, channels, height, width] = largest.dims();
    largest.reshape([batch, channels, height * width])
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, ParamId};
    use burn::optim::GradientsParams;
    use burn::tensor::TensorData;
    use rand::RngExt;
    use regulus_model::graph::{Layer, Parameter, Shape};
    use regulus_model::networks::layers;
    use regulus_model::{Values, Weights};

    use super::*;
    use crate::backend::{any_cpu, numbers};
    use crate::config::Init;
    use crate::network::ParamVisitor;
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
        let lines: Vec<Layer> = lines.iter().map(|line| Layer::new(line).unwrap()).collect();
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
        let images = Tensor::<4>::from_data(TensorData::new(pixels, [4, 2, 9, 8]), &device.device);
        let wanted: Vec<usize> = (0..graph.nodes().len())
            .filter(|index| matches!(graph.nodes()[*index].op, Op::Dense(_) | Op::Conv(Conv { groups: 1, .. })))
            .collect();
        let mut found = Vec::new();
        let each_logit = |logits: Tensor<2>| Tensor::<2>::eye(3, &logits.device()).unsqueeze::<3>().repeat_dim(0, 4);
        network.valid().linearized(&images.clone().inner(), &wanted, each_logit, |layer| found.push(layer));
        assert_eq!(found.len(), wanted.len());
        for class in 0..3 {
            let sum = network.forward(images.clone()).slice([0..4, class..class + 1]).sum();
            let gradients = GradientsParams::from_grads(sum.backward(), &network);
            let mut expected = Gradients(&gradients, Vec::new());
            network.visit_parameters(&mut expected);
            for Jacobian { index, inputs, vectors } in found.iter().map(|layer| Jacobian::of(layer, class)) {
                let name = &graph.nodes()[index].name;
                let near = |leaf: &str, found: Tensor<2>| {
                    let Some((_, expected)) = expected.1.iter().find(|(other, _)| *other == format!("{name}.{leaf}")) else { return };
                    let largest = expected.iter().fold(1e-6_f32, |largest, number| largest.max(number.abs()));
                    for (found, expected) in numbers(found).iter().zip(expected) {
                        assert!((found - expected).abs() <= 1e-4 * largest, "{name}.{leaf}, logit {class}: {found} against {expected}");
                    }
                };
                near("weight", vectors.clone().matmul(inputs.swap_dims(1, 2)).sum_dim(0).squeeze_dim::<2>(0));
                near("bias", vectors.sum_dim(2).sum_dim(0).squeeze_dim::<2>(0));
            }
        }
    }

    /// What reaches a layer for one logit: `[sample, input, position]` and `[sample, output, position]`.
    struct Jacobian {
        index: usize,
        inputs: Tensor<3>,
        vectors: Tensor<3>,
    }

    impl Jacobian {
        fn of(layer: &super::Layer, class: usize) -> Self {
            let [samples, _, outputs, positions] = layer.vectors.dims();
            let vectors = layer.vectors.clone().slice([0..samples, class..class + 1, 0..outputs, 0..positions]);
            Self { index: layer.index, inputs: layer.inputs.clone(), vectors: vectors.squeeze_dim::<3>(1) }
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
