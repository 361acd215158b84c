//! A graph as a Burn module.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::conv::Conv2d;
use burn::prelude::*;
use burn::tensor::activation::relu;
use rand_chacha::ChaCha8Rng;
use regulus_model::fusion::{self, Epilogue, Stage, StageKind};
use regulus_model::graph::{Graph, GraphError, Op, Parameter, Shape, Source};

use super::batch_norm::{BatchNorm, BatchStatistics};
use super::output::{Output, pointwise};
use super::{conv, dense, dropout, pool};
use crate::backend::{self, AffineKind, ComputeDevice, Threads, fused};
use crate::config::{Implementation, Init};
use crate::seed::Seed;

/// A network: the parameters of a graph on a device, and how they are computed with. On the CPU backends runs of nodes are computed by the fused kernels, if
/// that is asked for, and everything else by Burn's stock operations.
#[derive(Module, Debug)]
pub struct Network {
    /// Those of all convolutions, in the order of the graph.
    pub(super) conv: Vec<Conv2d>,
    /// Those of all normalizations.
    pub(super) batch_norm: Vec<BatchNorm>,
    /// Those of all dense layers.
    pub(super) dense: Vec<Linear>,
    #[module(skip)]
    plan: Arc<Plan>,
    #[module(skip)]
    implementation: Implementation,
    #[module(skip)]
    threads: Threads,
}

/// What of a network is not parameters.
#[derive(Debug)]
struct Plan {
    graph: Graph,
    stages: Vec<Stage>,
    /// For each node with parameters, which of the layers of its kind it is.
    slots: Vec<usize>,
    /// How many stages take what each node gives; the last is the image.
    uses: Vec<usize>,
    /// All parameters in the order of the module's fields.
    parameters: Vec<Parameter>,
}

impl Plan {
    fn new(graph: &Graph, implementation: Implementation) -> Self {
        let stages = match implementation {
            Implementation::Fused => fusion::fused(graph),
            Implementation::Stock => fusion::single(graph),
        };
        let nodes = graph.nodes();
        let mut uses = vec![0; nodes.len() + 1];
        uses[graph.output()] = 1;
        for source in stages.iter().flat_map(|stage| &stage.inputs) {
            uses[Self::value(graph, *source)] += 1;
        }
        let slot = |index: usize| {
            let kind = std::mem::discriminant(&nodes[index].op);
            nodes[..index].iter().filter(|node| std::mem::discriminant(&node.op) == kind).count()
        };
        let slots = (0..nodes.len()).map(slot).collect();
        let of_kind = |is_kind: fn(&Op) -> bool| (0..nodes.len()).filter(move |index| is_kind(&nodes[*index].op));
        let indices = of_kind(|op| matches!(op, Op::Conv(_)))
            .chain(of_kind(|op| matches!(op, Op::BatchNorm(_))))
            .chain(of_kind(|op| matches!(op, Op::Dense(_))));
        let parameters = indices.flat_map(|index| graph.parameters_of(index)).cloned().collect();
        Self { graph: graph.clone(), stages, slots, uses, parameters }
    }

    /// Where the value of a source is among those of all nodes, the image last.
    fn value(graph: &Graph, source: Source) -> usize {
        match source {
            Source::Node(index) => index,
            Source::Image => graph.nodes().len(),
        }
    }
}

/// How a pass computes what training and evaluation do differently.
enum Mode<'a> {
    Evaluation,
    /// The statistics are those of each normalization that has been computed, with its index among all.
    Training {
        chance: &'a mut ChaCha8Rng,
        statistics: Vec<(usize, BatchStatistics)>,
    },
}

impl Network {
    /// A network with parameters drawn by `init` from `seed`'s streams, one for each: the same numbers on every backend.
    #[must_use]
    pub fn new(graph: &Graph, init: Init, seed: Seed, device: &ComputeDevice) -> Self {
        let drawn = graph.parameters().map(|parameter| (parameter.name.clone(), super::init::draw(init, parameter, seed)));
        Self::blank(graph, device).with_checked_weights(&drawn.collect())
    }

    /// A network whose parameters are all 0.
    #[must_use]
    pub fn blank(graph: &Graph, device: &ComputeDevice) -> Self {
        let ComputeDevice { device, implementation, threads } = device;
        let mut network = Self {
            conv: Vec::new(),
            batch_norm: Vec::new(),
            dense: Vec::new(),
            plan: Arc::new(Plan::new(graph, *implementation)),
            implementation: *implementation,
            threads: threads.clone(),
        };
        for (index, node) in graph.nodes().iter().enumerate() {
            let input = graph.input_of(index);
            match &node.op {
                Op::Conv(op) => network.conv.push(conv::blank(op, input.channels(), device)),
                Op::BatchNorm(op) => network.batch_norm.push(BatchNorm::blank(op, input.channels(), device)),
                Op::Dense(op) => network.dense.push(dense::blank(op, input.size(), device)),
                _ => {}
            }
        }
        network
    }

    /// What it computes with.
    #[must_use]
    pub fn implementation(&self) -> Implementation {
        self.implementation
    }

    /// The threads that compute.
    #[must_use]
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// What it computes.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.plan.graph
    }

    /// The nodes that are computed together, and those by themselves.
    #[must_use]
    pub fn stages(&self) -> &[Stage] {
        &self.plan.stages
    }

    /// All parameters in the order of the module's fields: those of all convolutions, then of all normalizations, then of all dense layers.
    pub(super) fn parameters(&self) -> &[Parameter] {
        &self.plan.parameters
    }

    /// The index of node `index` among the layers of its kind.
    pub(super) fn slot(&self, index: usize) -> usize {
        self.plan.slots[index]
    }

    /// The same network for images of another size. It shares the parameters.
    ///
    /// # Errors
    ///
    /// As [`Graph::with_input`].
    pub fn with_input(&self, input: Shape) -> Result<Self, GraphError> {
        let plan = Plan::new(&self.plan.graph.with_input(input)?, self.implementation);
        Ok(Self { plan: Arc::new(plan), ..self.clone() })
    }

    /// The logits for a batch, as a trained network gives them: without dropout, normalized by the running statistics.
    ///
    /// Each call prepares the weights of the kernels anew; [`Predictor`](super::Predictor) prepares them once.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    ///
    /// When the network gives feature maps; [`Network::output`] gives those, too.
    #[must_use]
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.output(images).vector()
    }

    /// The output for a batch, as [`Network::forward`], of any network.
    #[must_use]
    pub fn output(&self, images: Tensor<4>) -> Output {
        self.pass(images, &mut Mode::Evaluation)
    }

    /// The output for a batch in a training step, and the batch's statistics, one for each normalization. Dropout draws from `chance`.
    #[must_use]
    pub(super) fn forward_training(&self, images: Tensor<4>, chance: &mut ChaCha8Rng) -> (Output, Vec<BatchStatistics>) {
        let mut mode = Mode::Training { chance, statistics: Vec::new() };
        let output = self.pass(images, &mut mode);
        let Mode::Training { mut statistics, .. } = mode else { unreachable!("a pass does not change what it is for") };
        statistics.sort_by_key(|(slot, _)| *slot);
        (output, statistics.into_iter().map(|(_, statistics)| statistics).collect())
    }

    /// The network with running statistics that have taken a batch in.
    ///
    /// # Panics
    ///
    /// When `statistics` are not those of a batch that was computed as a whole.
    #[must_use]
    pub fn with_batch_statistics(mut self, statistics: &[BatchStatistics]) -> Self {
        assert_eq!(self.batch_norm.len(), statistics.len(), "a batch that is computed as a whole has statistics for each normalization");
        self.batch_norm = self.batch_norm.into_iter().zip(statistics).map(|(norm, batch)| norm.updated(batch)).collect();
        self
    }

    fn pass(&self, images: Tensor<4>, mode: &mut Mode) -> Output {
        let Plan { graph, stages, uses, .. } = &*self.plan;
        let mut values: Vec<Option<Output>> = vec![None; graph.nodes().len()];
        values.push(Some(Output::Map(images)));
        let mut left = uses.clone();
        for stage in stages {
            let mut take = |source: &Source| {
                let at = Plan::value(graph, *source);
                left[at] -= 1;
                let value = if left[at] == 0 { values[at].take() } else { values[at].clone() };
                value.unwrap_or_else(|| unreachable!("the inputs of a node are before it"))
            };
            let inputs: Vec<Output> = stage.inputs.iter().map(&mut take).collect();
            values[stage.last()] = Some(self.stage(stage, inputs, mode));
        }
        match values[graph.output()].take().unwrap_or_else(|| unreachable!("every node has been computed")) {
            last @ Output::ChannelsLast(_) => Output::Map(last.map()),
            output => output,
        }
    }

    fn stage(&self, stage: &Stage, inputs: Vec<Output>, mode: &mut Mode) -> Output {
        let first = stage.first();
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().unwrap_or_else(|| unreachable!("a graph is checked when it is made: a node has its inputs"));
        match (stage.kind, &self.plan.graph.nodes()[first].op) {
            (StageKind::ConvReluPool { channels_last }, Op::Conv(op)) => {
                let conv = &self.conv[self.slot(first)];
                let bias = conv.bias.as_ref().map_or_else(|| unreachable!("it is fused where there is a bias"), Param::val);
                Output::Map(fused::conv_relu_pool(next().map(), conv.weight.val(), bias, op.padding[0], channels_last))
            }
            (StageKind::Conv(epilogue), Op::Conv(op)) => {
                let (conv, images) = (&self.conv[self.slot(first)], next().channels_last());
                let has_moments = epilogue.norm.is_some() && matches!(mode, Mode::Training { .. });
                let (out, moments) = conv::forward_channels_last(conv, op, images, has_moments);
                if epilogue == Epilogue::default() && conv.bias.is_none() {
                    return Output::ChannelsLast(out);
                }
                let other = (stage.inputs.len() > 1).then(|| next().channels_last());
                self.epilogue(epilogue, out, other, conv.bias.as_ref().map(Param::val), Some(moments), mode)
            }
            (StageKind::BatchNorm(epilogue), _) => {
                let (x, has_other) = (next(), stage.inputs.len() > 1);
                let is_vector = matches!(x, Output::Vector(_));
                let (images, other) = (x.channels_last(), has_other.then(|| next().channels_last()));
                let moments = matches!(mode, Mode::Training { .. }).then(|| fused::moments(images.clone()));
                match self.epilogue(epilogue, images, other, None, moments, mode) {
                    Output::ChannelsLast(out) if is_vector => Output::Vector(out.flatten(1, 3)),
                    out => out,
                }
            }
            (StageKind::Dense { relu }, _) => {
                let dense = &self.dense[self.slot(first)];
                let weights = dense.weight.val();
                let bias = dense.bias.as_ref().map_or_else(|| Tensor::zeros([weights.dims()[1]], &weights.device()), Param::val);
                Output::Vector(fused::dense(next().vector(), weights, bias, relu))
            }
            (_, op) => self.node(first, op, &mut next, mode),
        }
    }

    /// What follows a convolution. `moments` are those of the batch, in training.
    fn epilogue(
        &self,
        epilogue: Epilogue,
        images: Tensor<4>,
        other: Option<Tensor<4>>,
        bias: Option<Tensor<1>>,
        moments: Option<Tensor<2>>,
        mode: &mut Mode,
    ) -> Output {
        let Epilogue { norm, steps } = epilogue;
        let [batch, height, width, channels] = images.dims();
        let Some(norm) = norm else {
            let ones = Tensor::ones([channels], &images.device());
            let shift = bias.unwrap_or_else(|| ones.zeros_like());
            let epilogue = backend::Epilogue { steps, affine: AffineKind::Given };
            return Output::ChannelsLast(fused::epilogue(images, [ones, shift], other, None, epilogue));
        };
        let slot = self.slot(norm);
        let norm = &self.batch_norm[slot];
        let (statistics, affine) = match mode {
            Mode::Evaluation => (norm.running_statistics(), AffineKind::FixedStatistics { epsilon: norm.epsilon() }),
            Mode::Training { statistics, .. } => {
                let moments = moments.unwrap_or_else(|| unreachable!("the moments of a batch are computed in training"));
                statistics.push((slot, BatchStatistics::of(moments.clone().inner(), batch * height * width)));
                (moments, AffineKind::BatchStatistics { epsilon: norm.epsilon() })
            }
        };
        let epilogue = backend::Epilogue { steps, affine };
        Output::ChannelsLast(fused::epilogue(images, norm.scale_and_shift(), other, Some(statistics), epilogue))
    }

    /// One node by itself.
    fn node(&self, index: usize, op: &Op, next: &mut impl FnMut() -> Output, mode: &mut Mode) -> Output {
        let x = next();
        match op {
            Op::Conv(_) => Output::Map(self.conv[self.slot(index)].forward(x.map())),
            Op::Dense(_) => Output::Vector(self.dense[self.slot(index)].forward(x.vector())),
            Op::BatchNorm(_) => {
                let slot = self.slot(index);
                let norm = &self.batch_norm[slot];
                match mode {
                    Mode::Evaluation => pointwise!(x, x => norm.forward(x)),
                    Mode::Training { statistics, .. } => {
                        let x = if let Output::ChannelsLast(_) = x { Output::Map(x.map()) } else { x };
                        pointwise!(x, x => {
                            let (x, batch) = norm.forward_training(x);
                            statistics.push((slot, batch));
                            x
                        })
                    }
                }
            }
            Op::Relu(_) => pointwise!(x, x => relu(x)),
            Op::Relu6(_) => pointwise!(x, x => relu6(x)),
            Op::MaxPool(_) | Op::AveragePool(_) | Op::GlobalAveragePool(_) | Op::GlobalMaxPool(_)
                if self.implementation == Implementation::Fused =>
            {
                pool::channels_last(op, x.channels_last())
            }
            Op::MaxPool(op) => Output::Map(pool::max(op, x.map())),
            Op::AveragePool(op) => Output::Map(pool::average(op, x.map())),
            Op::GlobalAveragePool(_) => Output::Vector(pool::global_average(x.map())),
            Op::GlobalMaxPool(_) => Output::Vector(pool::global_max(x.map())),
            Op::Add(_) => match (x, next()) {
                (left @ Output::Vector(_), right) => Output::Vector(left.vector() + right.vector()),
                (Output::Map(left), right) => Output::Map(left + right.map()),
                (left, right) => Output::ChannelsLast(left.channels_last() + right.channels_last()),
            },
            Op::Subtract(_) => match (x, next()) {
                (left @ Output::Vector(_), right) => Output::Vector(left.vector() - right.vector()),
                (Output::Map(left), right) => Output::Map(left - right.map()),
                (left, right) => Output::ChannelsLast(left.channels_last() - right.channels_last()),
            },
            Op::Flatten(_) => match x {
                Output::Vector(x) => Output::Vector(x),
                map => Output::Vector(map.map().flatten(1, 3)),
            },
            Op::Dropout(op) => match mode {
                Mode::Evaluation => x,
                Mode::Training { chance, .. } => pointwise!(x, x => dropout::drop(x, op.rate, chance)),
            },
        }
    }
}

/// min(max(x, 0), 6). The gradient is 0 at 0 and at 6, as PyTorch's.
fn relu6<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let x = relu(x);
    let is_saturated = x.clone().greater_equal_elem(6.0);
    x.mask_fill(is_saturated, 6.0)
}

#[cfg(test)]
mod tests {
    use regulus_model::graph::Layer;
    use regulus_model::networks::{Cnn, layers};

    use super::*;
    use crate::backend::any_cpu;

    #[test]
    fn the_reference_network_has_225034_parameters_and_1600_flat_inputs() {
        let cnn = Cnn { channels: vec![32, 64], kernel_size: 3, padding: 0, hidden: 128, dropout: 0.0 };
        let graph = cnn.graph(Shape { channels: 1, height: 28, width: 28 }, 10).unwrap();
        let network = Network::blank(&graph, &any_cpu());
        assert_eq!([network.num_params(), graph.parameter_count()], [225_034; 2]);
        let names: Vec<String> = network.weights().iter().map(|(name, values)| format!("{name} {:?}", values.shape)).collect();
        let expected = [
            "conv1.bias [32]",
            "conv1.weight [32, 1, 3, 3]",
            "conv2.bias [64]",
            "conv2.weight [64, 32, 3, 3]",
            "dense1.bias [128]",
            "dense1.weight [128, 1600]",
            "dense2.bias [10]",
            "dense2.weight [10, 128]",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn the_gradient_of_relu6_is_0_at_both_ends() {
        let x = Tensor::<1>::from_floats([-1.0, 0.0, 3.0, 6.0, 7.0], &any_cpu().autodiff().device).require_grad();
        let y = relu6(x.clone());
        assert_eq!(y.to_data().try_into_vec::<f32>().unwrap(), [0.0, 0.0, 3.0, 6.0, 6.0]);
        let gradient = x.grad(&y.sum().backward()).unwrap();
        assert_eq!(gradient.into_data().try_into_vec::<f32>().unwrap(), [0.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_batch_changes_the_running_statistics_of_the_network_it_is_given_to_alone() {
        let lines = ["conv 2 3x3", "batch_norm", "flatten", "dense classes"].map(|line| Layer::new(line).unwrap());
        let graph = layers(&lines, Shape { channels: 1, height: 4, width: 4 }, 3).unwrap();
        let device = any_cpu().autodiff();
        let network = Network::new(&graph, Init::Glorot, Seed(1), &device);
        let images = Tensor::ones([4, 1, 4, 4], &device.device);
        let (_, statistics) = network.forward_training(images, &mut Seed(1).stream("dropout", 0));
        let updated = network.clone().with_batch_statistics(&statistics).weights();
        let running = |weights: &regulus_model::Weights| weights.get("batch_norm1.running_var").unwrap().numbers.clone();
        // The batch's variance is 0.
        assert!(running(&updated).iter().all(|variance| (variance - 0.9).abs() < 1e-6), "{:?}", running(&updated));
        assert_eq!(running(&network.weights()), [1.0, 1.0]);
    }
}
