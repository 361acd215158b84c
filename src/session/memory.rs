//! An estimate of the memory that training needs.

use regulus_model::fusion::{Stage, StageKind};
use regulus_model::graph::{Graph, Parameter, Source};
use serde::Serialize;

use crate::config::{Average, Criterion, Experiment, Lambda, PenaltyKind};
use crate::data::{Data, FrozenFeatures};
use crate::network::{Network, Scope};
use crate::numbers::byte_size;

/// The bytes of a float32 number.
const FLOAT: u64 = 4;

/// The memory of training, in bytes. It is a lower bound: it leaves out the program itself, what reading the images needs and what single operations need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TrainingMemory {
    /// The images, or, if they are decoded when they are needed, the batches ahead; and what frozen layers give for them.
    pub images: u64,
    /// The parameters, with running statistics, the average of the weights, and the best weights on the validation split.
    pub parameters: u64,
    /// What the optimizer keeps of each parameter.
    pub optimizer_state: u64,
    /// In a step: the gradient, and the sum of the gradients of micro-batches.
    pub gradients: u64,
    /// In a step: the input and the output of each stage for the samples that are computed at once, and the gradients of one stage's input and output, where they do not take
    /// the place of these.
    pub activations: u64,
    /// In a checkpoint: copies of parameters and optimizer state, and the weights as a file.
    pub checkpoint: u64,
    /// While a curvature is computed: for a λ that is updated by evidence, or for the criterion of a sweep. 0 without.
    pub curvature: u64,
    /// Images, parameters and optimizer state, with a step, a checkpoint or a curvature, whichever is larger.
    pub total: u64,
}

impl TrainingMemory {
    /// The estimate for a network that is trained as `experiment` says.
    pub(super) fn of(
        experiment: &Experiment,
        network: &Network,
        by_evidence: &Scope,
        data: &Data,
        features: Option<&FrozenFeatures>,
    ) -> Self {
        let (graph, train) = (network.graph(), &experiment.train);
        let batch = train.batch(data.train.count());
        let at_once = train.samples_at_once(data.train.count());
        let trained = FLOAT * graph.trained_count() as u64;
        let all = FLOAT * graph.parameters().map(Parameter::size).sum::<usize>() as u64;

        let ahead = if data.is_streamed() { data.batches_ahead(at_once) as u64 * data.bytes_of_batch(at_once) } else { 0 };
        let images = data.bytes() + ahead + features.map_or(0, |features| features.bytes_of(data.count()));
        let averages = u64::from(experiment.averaging.0 != Average::None);
        let best = u64::from(data.validation.is_some());
        // On the device and on the host.
        let origin = if experiment.penalty.iter().any(|penalty| penalty.kind == PenaltyKind::L2Sp) { 2 * all } else { 0 };
        let parameters = (1 + averages + best) * all + origin;
        let optimizer_state = experiment.optimizer.method.numbers_per_parameter() * trained;
        let gradients = if at_once < batch { 2 * trained } else { trained };
        let activations = FLOAT * at_once as u64 * numbers_of_a_step(network, features.map(FrozenFeatures::node));
        // The weights are put into the order of the file before they are written as bytes.
        let checkpoint = (1 + averages) * all + optimizer_state + 2 * all;
        let curvature = bytes_of_curvature(experiment, graph, by_evidence, data.train.count());
        let total = images + parameters + optimizer_state + checkpoint.max(gradients + activations).max(curvature);
        Self { images, parameters, optimizer_state, gradients, activations, checkpoint, curvature, total }
    }

    /// A warning if it is more than the `available` bytes.
    pub(super) fn warning(&self, available: u64, graph: &Graph) -> Option<String> {
        let is_curvature = self.curvature > self.checkpoint.max(self.gradients + self.activations);
        let is_step = !is_curvature && self.gradients + self.activations >= self.checkpoint;
        let of_parameters = if is_curvature { 0 } else { self.checkpoint };
        let parameters = self.parameters + self.optimizer_state + if is_step { self.gradients } else { of_parameters };
        let activations = if is_step { self.activations } else { 0 };
        let curvature = if is_curvature { self.curvature } else { 0 };
        let (largest, remedy) = [
            (self.images, "the images: use fewer, or, with source `folder` and classes, a smaller `data.image_size`".to_owned()),
            (parameters, {
                let node = largest_node(graph, |index| graph.parameters_of(index).iter().map(Parameter::size).sum());
                format!("parameters, their gradients, optimizer state and copies: make layer `{node}` smaller")
            }),
            (activations, {
                let node = largest_node(graph, |index| output_size(graph, index));
                format!("activations of a batch: lower `train.batch_size` or `train.micro_batch`, or make layer `{node}` smaller")
            }),
            (curvature, "the curvature: use `structure = \"ekfac\"` for the schedule, or smaller layers".to_owned()),
        ]
        .into_iter()
        .max_by_key(|(bytes, _)| *bytes)?;
        (self.total > available).then(|| {
            let [total, available, largest] = [self.total, available, largest].map(byte_size);
            format!("training needs at least {total} of memory, but this machine has {available}; {largest} are {remedy}")
        })
    }
}

/// The estimate in words: the total, and each share of it.
impl std::fmt::Display for TrainingMemory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        let always = [("images", self.images), ("parameters", self.parameters), ("optimizer state", self.optimizer_state)];
        let step = [("gradients", self.gradients), ("activations of a batch", self.activations)];
        let listed = |shares: &[(&str, u64)]| {
            shares.iter().map(|(name, bytes)| format!("{name} {}", byte_size(*bytes))).collect::<Vec<_>>().join(", ")
        };
        let [total, checkpoint] = [self.total, self.checkpoint].map(byte_size);
        write!(formatter, "at least {total}: {}; in a step {}; in a checkpoint {checkpoint}", listed(&always), listed(&step))?;
        if self.curvature > 0 { write!(formatter, "; for the curvature {}", byte_size(self.curvature)) } else { Ok(()) }
    }
}

/// The bytes of the curvatures that are computed of the training samples, or of the largest one.
fn bytes_of_curvature(experiment: &Experiment, graph: &Graph, by_evidence: &Scope, samples: usize) -> u64 {
    let structures = experiment.penalty.iter().filter_map(|penalty| match penalty.schedule {
        Lambda::Evidence { structure, .. } => Some(structure),
        _ => None,
    });
    let of_updates = structures.map(|structure| by_evidence.memory(graph, structure, samples)).max().unwrap_or(0);
    let has_criterion = experiment.sweep.as_ref().is_some_and(|sweep| sweep.criterion != Criterion::ValidationLoss);
    let of_criterion = Scope::all(graph).ok().filter(|_| has_criterion).map_or(0, |scope| scope.posterior_memory(graph, samples));
    of_updates.max(of_criterion)
}

/// How many numbers a training step holds for one sample. It begins after node `from`, or with the image.
fn numbers_of_a_step(network: &Network, from: Option<usize>) -> u64 {
    let graph = network.graph();
    // What follows a convolution needs its output again in the backward pass.
    let of_conv = |stage: &Stage| match stage.kind {
        StageKind::Conv(_) if stage.nodes.len() > 1 => output_size(graph, stage.first()),
        _ => 0,
    };
    let of_stage = |stage: &Stage| output_size(graph, stage.last()) + of_conv(stage);
    let stages = || network.stages().iter().filter(|stage| from.is_none_or(|node| stage.first() > node));
    let outputs: u64 = stages().map(|stage| of_stage(stage) as u64).sum();
    // The kernels of convolutions put gradients where the numbers were.
    let is_replaced = |stage: &Stage| network.algorithm().is_some() && matches!(stage.kind, StageKind::Conv(_));
    let backward = stages().map(|stage| {
        let both = graph.input_of(stage.first()).size() + of_stage(stage);
        if is_replaced(stage) { 0 } else { both as u64 }
    });
    from.map_or(graph.input().size(), |node| output_size(graph, node)) as u64 + outputs + backward.max().unwrap_or(0)
}

/// The numbers that a node gives for one image.
fn output_size(graph: &Graph, index: usize) -> usize {
    graph.features_of(Source::Node(index)).size()
}

/// The name of the node with the largest `size`; of equal ones the first.
fn largest_node(graph: &Graph, size: impl Fn(usize) -> usize) -> &str {
    let largest = (0..graph.nodes().len()).rev().max_by_key(|index| size(*index));
    largest.map_or("", |index| &graph.nodes()[index].name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;
    use crate::session::Session;

    const SMALL: &str = "name = \"a\"\n[data]\nsource = \"mnist_mini\"\ntrain_limit = 240\nvalidation = 0\n";

    fn memory(sets: &[&str]) -> (TrainingMemory, Graph) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), SMALL).unwrap();
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        let experiment = Experiment::load(file.path(), &sets).unwrap();
        let data = data::load(&experiment).unwrap();
        let session = Session::new(experiment, data).unwrap();
        (*session.memory(), session.graph().clone())
    }

    #[test]
    fn the_reference_network_by_hand() {
        let experiment = Experiment::from_toml(SMALL).unwrap();
        let data = data::load(&experiment).unwrap();
        let images = data.bytes();
        let (fused, _) = memory(&[]);
        // Input 28·28, pooled maps 32·13·13 and 64·5·5, flattened 1600, dense 128 and 10.
        // The gradients are those of the second convolution's input and output.
        let activations = 4 * 32 * (784 + 5408 + 1600 + 1600 + 128 + 10 + 5408 + 1600);
        let (parameters, checkpoint) = (4 * 225_034, 4 * 5 * 225_034);
        let total = images + 3 * parameters + checkpoint;
        let expected = TrainingMemory {
            images,
            parameters,
            optimizer_state: 2 * parameters,
            gradients: parameters,
            activations,
            checkpoint,
            curvature: 0,
            total,
        };
        assert_eq!(fused, expected);
        let (stock, _) = memory(&["backend.kernels=stock"]);
        // Convolutions and ReLU have outputs of their own: 2·32·26·26 and 2·64·11·11, and the hidden layer's ReLU 128. The gradients are those of the
        // first ReLU.
        assert_eq!(stock.activations, activations + 4 * 32 * (2 * 21_632 + 2 * 7744 + 128 + 2 * 21_632 - 5408 - 1600));
        assert_eq!(stock.total, images + 4 * parameters + stock.activations);
        let (other, _) =
            memory(&["train.batch_size=200", "train.micro_batch=16", "averaging.kind=swa", "averaging.from_epoch=1", "optimizer.kind=sgd"]);
        assert_eq!((other.parameters, other.gradients, other.optimizer_state), (2 * parameters, 2 * parameters, 0));
        assert_eq!(other.activations, activations / 2);
    }

    #[test]
    fn more_than_the_machine_has_is_reported_with_the_largest_share() {
        let (activations, graph) = memory(&[]);
        assert_eq!(activations.warning(activations.total, &graph), None);
        let images =
            TrainingMemory { images: 9 * activations.total, total: 10 * activations.total, ..activations }.warning(1, &graph).unwrap();
        assert!(
            images.ends_with(" are the images: use fewer, or, with source `folder` and classes, a smaller `data.image_size`"),
            "{images}"
        );
        let (parameters, graph) = memory(&["model.hidden=100000"]);
        let warning = parameters.warning(2_000_000_000, &graph).unwrap();
        let expected = "training needs at least 5.2 GB of memory, but this machine has 2.0 GB; 5.2 GB are parameters, their gradients, optimizer state and copies: make layer `dense1` smaller";
        assert_eq!(warning, expected);
        let (activations, graph) = memory(&["model.channels=[20000]", "model.hidden=1", "train.batch_size=full", "optimizer.kind=sgd"]);
        let warning = activations.warning(1_000_000_000, &graph).unwrap();
        assert!(warning.ends_with("lower `train.batch_size` or `train.micro_batch`, or make layer `conv1` smaller"), "{warning}");
    }
}
