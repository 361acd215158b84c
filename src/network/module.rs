//! A graph as a Burn module.

use std::sync::Arc;

use burn::module::Module;
use burn::nn::Linear;
use burn::nn::conv::Conv2d;
use burn::prelude::*;
use rand_chacha::ChaCha8Rng;
use regulus_kernels::algorithm::Algorithm;
use regulus_model::fusion::{self, Stage, StageKind};
use regulus_model::graph::{Graph, GraphError, Op, Parameter, Shape, Source};

use super::batch_norm::{BatchNorm, BatchStatistics};
use super::output::Output;
use super::stages::Mode;
use super::{conv, dense};
use crate::backend::{ComputeDevice, Threads};
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
    algorithm: Option<Algorithm>,
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
    /// For each normalization, whether it keeps its running statistics.
    fixed_norms: Vec<bool>,
}

impl Plan {
    fn new(graph: &Graph, implementation: Implementation) -> Self {
        let stages = if implementation.is_fused() { fusion::fused(graph) } else { fusion::single(graph) };
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
        let fixed_norms = of_kind(|op| matches!(op, Op::BatchNorm(_))).map(|index| graph.is_fixed(index)).collect();
        let indices = of_kind(|op| matches!(op, Op::Conv(_)))
            .chain(of_kind(|op| matches!(op, Op::BatchNorm(_))))
            .chain(of_kind(|op| matches!(op, Op::Dense(_))));
        let parameters = indices.flat_map(|index| graph.parameters_of(index)).cloned().collect();
        Self { graph: graph.clone(), stages, slots, uses, parameters, fixed_norms }
    }

    /// Where the value of a source is among those of all nodes, the image last.
    fn value(graph: &Graph, source: Source) -> usize {
        match source {
            Source::Node(index) => index,
            Source::Image => graph.nodes().len(),
        }
    }
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
        let algorithm = device.algorithm();
        let ComputeDevice { device, implementation, threads, .. } = device;
        let mut network = Self {
            conv: Vec::new(),
            batch_norm: Vec::new(),
            dense: Vec::new(),
            plan: Arc::new(Plan::new(graph, *implementation)),
            implementation: *implementation,
            algorithm,
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

    /// The algorithm of convolutions. Returns `None` for Burn's stock operations.
    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// Whether the convolution of a stage multiplies numbers of bfloat16.
    #[must_use]
    pub fn is_rounded(&self, stage: &Stage) -> bool {
        let is_conv = matches!(&self.graph().nodes()[stage.first()].op, Op::Conv(conv) if conv.groups == 1);
        is_conv && matches!(self.algorithm, Some(Algorithm::Bf16(_))) && !matches!(stage.kind, StageKind::ConvReluPool { .. })
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
        self.pass(images, None, &mut Mode::Evaluation)
    }

    /// The output for a batch in a training step, and the batch's statistics, one for each normalization. `images` are what node `from` gives, if there is one.
    /// Dropout draws from `chance`.
    #[must_use]
    pub(super) fn forward_training(
        &self,
        images: Tensor<4>,
        from: Option<usize>,
        chance: &mut ChaCha8Rng,
    ) -> (Output, Vec<BatchStatistics>) {
        let mut mode = Mode::Training { chance, statistics: Vec::new() };
        let output = self.pass(images, from, &mut mode);
        let Mode::Training { mut statistics, .. } = mode else { unreachable!("a pass does not change what it is for") };
        statistics.sort_by_key(|(slot, _)| *slot);
        (output, statistics.into_iter().map(|(_, statistics)| statistics).collect())
    }

    /// The network with running statistics that have taken a batch in. Those of normalizations that are frozen stay.
    ///
    /// # Panics
    ///
    /// When `statistics` are not those of a batch that was computed as a whole.
    #[must_use]
    pub fn with_batch_statistics(mut self, statistics: &[BatchStatistics]) -> Self {
        let mut statistics = statistics.iter();
        let mut updated = |(norm, is_fixed): (BatchNorm, &bool)| {
            if *is_fixed {
                return norm;
            }
            norm.updated(statistics.next().expect("a batch that is computed as a whole has statistics for each normalization"))
        };
        self.batch_norm = self.batch_norm.into_iter().zip(&self.plan.fixed_norms).map(&mut updated).collect();
        assert_eq!(statistics.len(), 0, "a batch has statistics for each normalization, and no others");
        self
    }

    /// The output for images, or for the vectors that node `from` gives.
    fn pass(&self, images: Tensor<4>, from: Option<usize>, mode: &mut Mode) -> Output {
        let Plan { graph, stages, uses, .. } = &*self.plan;
        let mut values: Vec<Option<Output>> = vec![None; graph.nodes().len()];
        match from {
            None => values.push(Some(Output::Map(images))),
            Some(node) => values[node] = Some(Output::Vector(images.flatten(1, 3))),
        }
        let mut left = uses.clone();
        for stage in stages.iter().filter(|stage| from.is_none_or(|node| stage.first() > node)) {
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
    fn a_batch_changes_the_running_statistics_of_the_network_it_is_given_to_alone() {
        let lines = ["conv 2 3x3", "batch_norm", "flatten", "dense classes"].map(|line| Layer::new(line).unwrap());
        let graph = layers(&lines, Shape { channels: 1, height: 4, width: 4 }, 3).unwrap();
        let device = any_cpu().autodiff();
        let network = Network::new(&graph, Init::Glorot, Seed(1), &device);
        let images = Tensor::ones([4, 1, 4, 4], &device.device);
        let (_, statistics) = network.forward_training(images, None, &mut Seed(1).stream("dropout", 0));
        let updated = network.clone().with_batch_statistics(&statistics).weights();
        let running = |weights: &regulus_model::Weights| weights.get("batch_norm1.running_var").unwrap().numbers.clone();
        // The batch's variance is 0.
        assert!(running(&updated).iter().all(|variance| (variance - 0.9).abs() < 1e-6), "{:?}", running(&updated));
        assert_eq!(running(&network.weights()), [1.0, 1.0]);
    }
}
