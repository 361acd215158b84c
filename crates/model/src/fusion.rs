//! Which nodes are computed together.

use regulus_kernels::epilogue::{Activation, Addition, Steps};

use crate::graph::{Conv, Graph, MaxPool, Op, Source};

/// Nodes that are computed together, or one node by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The indices of its nodes, in order; each but the first takes what the one before it gives.
    pub nodes: Vec<usize>,
    /// What it takes: the inputs of the first node, then what an addition adds.
    pub inputs: Vec<Source>,
    /// What computes it.
    pub kind: StageKind,
}

/// What computes a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageKind {
    /// Convolution, ReLU and 2×2 max-pool in one kernel.
    ConvReluPool {
        /// Whether the output is stored channels-last: all that follows is another such kernel.
        channels_last: bool,
    },
    /// A convolution, and what follows it.
    Conv(Epilogue),
    /// A normalization by itself, and what follows it.
    BatchNorm(Epilogue),
    /// A dense layer, and ReLU where that follows.
    Dense {
        /// Whether it does.
        relu: bool,
    },
    /// One node by itself.
    Single,
}

/// What follows a convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epilogue {
    /// The index of a normalization.
    pub norm: Option<usize>,
    /// Activation, addition and pool.
    pub steps: Steps,
}

impl StageKind {
    /// What `check` calls it.
    #[must_use]
    pub const fn is_fused(self) -> bool {
        !matches!(self, Self::Single)
    }
}

impl Stage {
    fn single(graph: &Graph, index: usize) -> Self {
        Self { nodes: vec![index], inputs: graph.sources(index).to_vec(), kind: StageKind::Single }
    }

    /// The index of its first node.
    #[must_use]
    pub fn first(&self) -> usize {
        self.nodes[0]
    }

    /// The index of its last node, which gives its output.
    #[must_use]
    pub fn last(&self) -> usize {
        self.nodes[self.nodes.len() - 1]
    }
}

/// Every node by itself.
#[must_use]
pub fn single(graph: &Graph) -> Vec<Stage> {
    (0..graph.nodes().len()).map(|index| Stage::single(graph, index)).collect()
}

/// Runs of nodes that have a kernel together, and the others by themselves.
#[must_use]
pub fn fused(graph: &Graph) -> Vec<Stage> {
    let uses = Uses::of(graph);
    let mut stages = Vec::new();
    let mut is_done = vec![false; graph.nodes().len()];
    for index in 0..graph.nodes().len() {
        if is_done[index] {
            continue;
        }
        let stage = uses.stage(graph, index, &is_done);
        stage.nodes.iter().for_each(|node| is_done[*node] = true);
        stages.push(stage);
    }
    let takes_channels_last: Vec<usize> =
        stages.iter().filter(|stage: &&Stage| matches!(stage.kind, StageKind::ConvReluPool { .. })).map(Stage::first).collect();
    for stage in &mut stages {
        if let StageKind::ConvReluPool { channels_last } = &mut stage.kind {
            let last = stage.nodes[stage.nodes.len() - 1];
            *channels_last = uses.only(graph, last).is_some_and(|next| takes_channels_last.contains(&next));
        }
    }
    // A stage comes where its last node is, when all its inputs are there.
    stages.sort_by_key(Stage::last);
    stages
}

/// Which nodes take what each gives.
struct Uses(Vec<Vec<usize>>);

impl Uses {
    fn of(graph: &Graph) -> Self {
        let mut uses = vec![Vec::new(); graph.nodes().len()];
        for index in 0..graph.nodes().len() {
            for source in graph.sources(index) {
                if let Source::Node(from) = source {
                    uses[*from].push(index);
                }
            }
        }
        Self(uses)
    }

    /// The node that alone takes what node `index` gives.
    fn only(&self, graph: &Graph, index: usize) -> Option<usize> {
        match self.0[index].as_slice() {
            [one] if index != graph.output() => Some(*one),
            _ => None,
        }
    }

    fn stage(&self, graph: &Graph, index: usize, is_done: &[bool]) -> Stage {
        let op = |index: usize| &graph.nodes()[index].op;
        let relu = self.only(graph, index).filter(|next| matches!(op(*next), Op::Relu(_)));
        let inputs = graph.sources(index).to_vec();
        match op(index) {
            Op::Conv(conv) => {
                let pool = relu.and_then(|relu| self.only(graph, relu)).filter(|next| *op(*next) == Op::from(MaxPool::new(2)));
                if let (Some(relu), Some(pool), true) = (relu, pool, has_pooled_kernel(conv)) {
                    let kind = StageKind::ConvReluPool { channels_last: false };
                    return Stage { nodes: vec![index, relu, pool], inputs, kind };
                }
                let norm = self.only(graph, index).filter(|next| !conv.bias && matches!(op(*next), Op::BatchNorm(_)));
                let nodes = std::iter::once(index).chain(norm).collect();
                self.with_epilogue(graph, is_done, nodes, inputs, |steps| StageKind::Conv(Epilogue { norm, steps }))
            }
            Op::BatchNorm(_) => {
                self.with_epilogue(graph, is_done, vec![index], inputs, |steps| StageKind::BatchNorm(Epilogue { norm: Some(index), steps }))
            }
            Op::Dense(_) => {
                let nodes = std::iter::once(index).chain(relu).collect();
                Stage { nodes, inputs, kind: StageKind::Dense { relu: relu.is_some() } }
            }
            _ => Stage::single(graph, index),
        }
    }

    /// The stage of these nodes with what follows the last: an activation with an addition before or after it, or with a pool after it.
    fn with_epilogue(
        &self,
        graph: &Graph,
        is_done: &[bool],
        mut nodes: Vec<usize>,
        mut inputs: Vec<Source>,
        kind: impl FnOnce(Steps) -> StageKind,
    ) -> Stage {
        let mut steps = Steps::default();
        while let Some(next) = self.only(graph, nodes[nodes.len() - 1]).filter(|next| !is_done[*next]) {
            let has_activation = steps.activation != Activation::None;
            match &graph.nodes()[next].op {
                Op::Relu(_) if !has_activation => steps.activation = Activation::Relu,
                Op::Relu6(_) if !has_activation => steps.activation = Activation::Relu6,
                Op::Gelu(_) if !has_activation => steps.activation = Activation::Gelu,
                Op::Add(_) if steps.addition == Addition::None => {
                    steps.addition = if has_activation { Addition::After } else { Addition::Before };
                    let last = Source::Node(nodes[nodes.len() - 1]);
                    inputs.extend(graph.sources(next).iter().filter(|source| **source != last).copied());
                }
                op if *op == Op::from(MaxPool::new(2)) && steps.addition == Addition::None && steps.activation != Activation::Gelu => {
                    steps.has_pool = true;
                }
                _ => break,
            }
            nodes.push(next);
            // Nothing follows a pool or an addition after the activation.
            if steps.has_pool || steps.addition == Addition::After {
                break;
            }
        }
        Stage { nodes, inputs, kind: kind(steps) }
    }
}

/// Whether there is a kernel for this convolution with ReLU and pool.
fn has_pooled_kernel(conv: &Conv) -> bool {
    let is_square = conv.kernel[0] == conv.kernel[1] && conv.padding[0] == conv.padding[1] && conv.extra_padding == [0, 0];
    conv.bias && conv.groups == 1 && conv.stride == [1, 1] && is_square
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Features, Layer, Shape};
    use crate::networks::{Cnn, layers};

    const INPUT: Shape = Shape { channels: 1, height: 28, width: 28 };

    fn described(graph: &Graph) -> Vec<String> {
        let names = |stage: &Stage| stage.nodes.iter().map(|index| graph.nodes()[*index].name.clone()).collect::<Vec<_>>().join(" ");
        fused(graph).iter().map(|stage| format!("{}: {:?}", names(stage), stage.kind)).collect()
    }

    #[test]
    fn the_reference_network_is_four_kernels() {
        let cnn = Cnn { channels: vec![32, 64], kernel_size: 3, padding: 0, hidden: 128, dropout: 0.5 };
        let expected = [
            "conv1 relu1 max_pool1: ConvReluPool { channels_last: true }",
            "conv2 relu2 max_pool2: ConvReluPool { channels_last: false }",
            "flatten1: Single",
            "dense1 relu3: Dense { relu: true }",
            "dropout1: Single",
            "dense2: Dense { relu: false }",
        ];
        assert_eq!(described(&cnn.graph(INPUT, 10).unwrap()), expected);
    }

    #[test]
    fn what_a_branch_leaves_from_is_not_fused_over() {
        let lines =
            ["conv 8 3x3 padding 1", "relu as skipped", "max_pool 2", "conv 8 3x3 stride 2 padding 1 from skipped", "add max_pool1"];
        let lines: Vec<Layer> = lines.iter().chain(&["flatten", "dense classes"]).map(|line| Layer::new(line).unwrap()).collect();
        let graph = layers(&lines, INPUT, 10).unwrap();
        assert_eq!(graph.output_features(), Features::Vector(10));
        let steps = "Steps { activation: None, addition: None, has_pool: false }";
        let expected = [
            "conv1 skipped: Conv(Epilogue { norm: None, steps: Steps { activation: Relu, addition: None, has_pool: false } })".to_owned(),
            "max_pool1: Single".to_owned(),
            format!("conv2 add1: Conv(Epilogue {{ norm: None, steps: {} }})", steps.replace("addition: None", "addition: Before")),
            "flatten1: Single".to_owned(),
            "dense1: Dense { relu: false }".to_owned(),
        ];
        assert_eq!(described(&graph), expected);
    }

    #[test]
    fn residual_blocks_of_both_kinds_are_two_stages_each() {
        let conv = "conv 16 3x3 padding 1 bias false";
        let lines = [
            &[conv, "batch_norm", "relu", "max_pool 2 as a"][..],
            &[conv, "batch_norm", "relu", conv, "batch_norm", "relu", "add a as b"],
            &["conv 16 1x1 bias false", "batch_norm as short", "conv 16 3x3 padding 1 bias false from b", "batch_norm", "add short"],
            &["relu6", "global_average_pool", "dense classes"],
        ];
        let lines: Vec<Layer> = lines.concat().iter().map(|line| Layer::new(line).unwrap()).collect();
        let stages = described(&layers(&lines, INPUT, 10).unwrap());
        let names: Vec<&str> = stages.iter().filter_map(|stage| stage.split(':').next()).collect();
        let expected = [
            "conv1 batch_norm1 relu1 a",
            "conv2 batch_norm2 relu2",
            "conv3 batch_norm3 relu3 b",
            "conv5 batch_norm5",
            "conv4 short add2 relu6_1",
            "global_average_pool1",
            "dense1",
        ];
        assert_eq!(names, expected, "{stages:?}");
        assert!(stages[2].contains("addition: After") && stages[4].contains("addition: Before"), "{stages:?}");
    }
}
