//! What a stage computes, with its weights as the kernels read them.

use std::borrow::Cow;
use std::sync::Arc;

use regulus_kernels::conv::{self, ConvWeights};
use regulus_kernels::convolve::{self, Convolution};
use regulus_kernels::dense::{self, Matrix};
use regulus_kernels::image::{Geometry, Images, channels_first};
use regulus_kernels::pointwise::{self, BatchNorm};
use regulus_kernels::pool::{self, Pool};
use regulus_kernels::simd::Path;

use crate::Weights;
use crate::fusion::{Stage, StageKind};
use crate::graph::{Conv, Features, Graph, Op, Role, Shape};

/// A stage that computes. Clones share the weights. Each takes and gives `[image, channel, row, column]` or `[image, unit]`, unless its text says otherwise.
#[derive(Clone)]
pub(super) enum Layer {
    /// Takes channels first or last; gives them last unless `first` says otherwise.
    ConvReluPool {
        weights: Arc<ConvWeights<'static>>,
        first: bool,
    },
    Convolution {
        convolution: Convolution,
        weights: Arc<[f32]>,
        bias: Option<Vec<f32>>,
    },
    /// The weights are `[input, output]`.
    Dense {
        weights: Arc<[f32]>,
        /// 0 where the layer has none, as in training.
        bias: Vec<f32>,
        relu: bool,
    },
    BatchNorm {
        mean: Vec<f32>,
        variance: Vec<f32>,
        gamma: Vec<f32>,
        beta: Vec<f32>,
        epsilon: f32,
        /// Numbers of a channel: 1 in a vector, also where that is a flattened map.
        positions: usize,
    },
    Relu,
    Relu6,
    MaxPool(Pool),
    AveragePool(Pool),
    GlobalMaxPool,
    GlobalAveragePool,
    Add,
    Subtract,
}

/// What a stage takes: the numbers of all images, and what they are.
pub(super) struct Input<'a> {
    pub(super) numbers: Cow<'a, [f32]>,
    pub(super) features: Features,
    /// Whether the channels of a pixel lie side by side.
    pub(super) is_channels_last: bool,
}

impl Input<'_> {
    /// The numbers with the channels first.
    pub(super) fn channels_first(self, threads: usize) -> Vec<f32> {
        if self.is_channels_last {
            return channels_first(&self.numbers, self.features.area(), self.features.channels(), threads);
        }
        self.numbers.into_owned()
    }

    /// The same with the channels first, without a copy where they are.
    fn ordered(self, threads: usize) -> Self {
        if self.is_channels_last {
            Self { features: self.features, is_channels_last: false, numbers: Cow::Owned(self.channels_first(threads)) }
        } else {
            self
        }
    }
}

impl Layer {
    /// The layer of a stage; none where it leaves its input as it is.
    pub(super) fn of(graph: &Graph, stage: &Stage, weights: &Weights, path: Path) -> Option<Self> {
        let node = stage.first();
        let input = graph.input_of(node);
        let values = |role: Role| {
            let parameter = graph.parameters_of(node).iter().find(|parameter| parameter.role == role)?;
            weights.get(&parameter.name).map(|values| values.numbers.clone())
        };
        let value = |role: Role| values(role).unwrap_or_else(|| unreachable!("the weights fit the graph"));
        let pool = |kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]| {
            let Shape { height, width, .. } = map(input);
            Pool { height, width, kernel, stride, padding }
        };
        Some(match &graph.nodes()[node].op {
            Op::Conv(op) => {
                if let StageKind::ConvReluPool { channels_last } = stage.kind {
                    let weights = ConvWeights::for_inference(path, geometry(op, map(input)), value(Role::Kernel), value(Role::Bias));
                    Self::ConvReluPool { weights: Arc::new(weights), first: !channels_last }
                } else {
                    let weights = value(Role::Kernel).into();
                    Self::Convolution { convolution: convolution(op, map(input)), weights, bias: values(Role::Bias) }
                }
            }
            Op::Dense(op) => Self::Dense {
                weights: transposed(&value(Role::Kernel), op.outputs).into(),
                bias: values(Role::Bias).unwrap_or_else(|| vec![0.0; op.outputs]),
                relu: stage.kind == StageKind::Dense { relu: true },
            },
            #[expect(clippy::cast_possible_truncation, reason = "an operand of float32")]
            Op::BatchNorm(op) => Self::BatchNorm {
                mean: value(Role::RunningMean),
                variance: value(Role::RunningVariance),
                gamma: value(Role::Scale),
                beta: value(Role::Bias),
                epsilon: op.epsilon as f32,
                positions: graph.input_of(stage.first()).area(),
            },
            Op::Relu(_) => Self::Relu,
            Op::Relu6(_) => Self::Relu6,
            Op::MaxPool(op) => Self::MaxPool(pool(op.kernel, op.stride, op.padding)),
            Op::AveragePool(op) => Self::AveragePool(pool(op.kernel, op.stride, op.padding)),
            Op::GlobalMaxPool(_) => Self::GlobalMaxPool,
            Op::GlobalAveragePool(_) => Self::GlobalAveragePool,
            Op::Add(_) => Self::Add,
            Op::Subtract(_) => Self::Subtract,
            Op::Flatten(_) | Op::Dropout(_) => return None,
        })
    }

    /// The same layer in `graph`, whose images have another size.
    pub(super) fn resized(&self, graph: &Graph, stage: &Stage) -> Self {
        let input = graph.input_of(stage.first());
        let mut layer = self.clone();
        match (&mut layer, &graph.nodes()[stage.first()].op) {
            (Self::ConvReluPool { weights, .. }, Op::Conv(op)) => *weights = Arc::new(weights.resized(geometry(op, map(input)))),
            (Self::Convolution { convolution: to, .. }, Op::Conv(op)) => *to = convolution(op, map(input)),
            (Self::BatchNorm { positions, .. }, _) => *positions = input.area(),
            (Self::MaxPool(pool) | Self::AveragePool(pool), _) => Shape { height: pool.height, width: pool.width, .. } = map(input),
            _ => {}
        }
        layer
    }

    /// Multiplications that one thread does in a microsecond for `count` images, about; numbers that it reads, where there are none.
    ///
    /// Measured on one core of a Xeon with AVX-512, one image: 160,000 and 32,000 with ReLU and pool over 32 and 1 input channels, 36,000 to 75,000 in
    /// other convolutions, 4,000 to 12,000 in depthwise ones, 35,000 and 8,000 in dense layers of 0.8 and 8 MB, 600 to 3,000 in pools of 9 and 4
    /// numbers, 3,500 to 8,000 in the rest; 64,000 in dense layers for 8 images.
    pub(super) fn multiplications_per_microsecond(&self, count: usize) -> u64 {
        match self {
            Self::ConvReluPool { weights, .. } if weights.geometry().inputs >= 8 && weights.geometry().kernel == 3 => 150_000,
            Self::ConvReluPool { .. } => 40_000,
            Self::Convolution { convolution, .. } if convolution.groups == convolution.inputs => 8_000,
            Self::Convolution { .. } => 50_000,
            Self::Dense { .. } if count == 1 => 20_000,
            Self::Dense { .. } => 60_000,
            Self::MaxPool(_) | Self::AveragePool(_) => 1_500,
            _ => 5_000,
        }
    }

    /// Whether it gives the channels of a pixel side by side.
    pub(super) const fn gives_channels_last(&self) -> bool {
        matches!(self, Self::ConvReluPool { first: false, .. })
    }

    /// What it gives for `count` images; `other` is the second input.
    pub(super) fn forward(&self, path: Path, count: usize, input: Input, other: Option<Input>, threads: usize) -> Vec<f32> {
        if let Self::ConvReluPool { weights, first } = self {
            let Features::Map(Shape { channels, height, width }) = input.features else { unreachable!("a convolution takes a map") };
            let size = channels * height * width;
            let strides = if input.is_channels_last { [size, 1, width * channels, channels] } else { [size, height * width, width, 1] };
            let out = conv::forward(weights, &Images { numbers: &input.numbers, batch: count, strides }, threads);
            return if *first { channels_first(&out, weights.geometry().pooled(), weights.geometry().outputs, threads) } else { out };
        }
        let Input { numbers, features, .. } = input.ordered(threads);
        match self {
            Self::ConvReluPool { .. } => unreachable!("it has been computed"),
            Self::Convolution { convolution, weights, bias } => {
                let weights = convolve::Weights { kernel: weights, bias: bias.as_deref() };
                convolve::forward(path, *convolution, &numbers, weights, threads)
            }
            Self::Dense { weights, bias, relu } => {
                let (inputs, outputs) = (features.size(), weights.len() / features.size());
                let (x, weights) = (Matrix::rows(&numbers, [count, inputs]), Matrix::rows(weights, [inputs, outputs]));
                dense::forward(path, x, dense::Layer { weights, bias, relu: *relu }, threads)
            }
            Self::BatchNorm { mean, variance, gamma, beta, epsilon, positions } => {
                let norm = BatchNorm { mean, variance, gamma, beta, epsilon: *epsilon };
                in_place(numbers, |numbers| pointwise::batch_norm(path, norm, numbers, *positions, threads))
            }
            Self::Relu => in_place(numbers, |numbers| pointwise::relu(path, numbers, threads)),
            Self::Relu6 => in_place(numbers, |numbers| pointwise::relu6(path, numbers, threads)),
            Self::MaxPool(pool) => pool::max(path, *pool, &numbers, threads),
            Self::AveragePool(pool) => pool::average(path, *pool, &numbers, threads),
            Self::GlobalMaxPool => pool::global_max(&numbers, features.area(), threads),
            Self::GlobalAveragePool => pool::global_average(&numbers, features.area(), threads),
            Self::Add => {
                let other = other.unwrap_or_else(|| unreachable!("a sum has two summands")).ordered(threads);
                in_place(numbers, |numbers| pointwise::add(path, numbers, &other.numbers, threads))
            }
            Self::Subtract => {
                let other = other.unwrap_or_else(|| unreachable!("a difference has two inputs")).ordered(threads);
                in_place(numbers, |numbers| pointwise::subtract(path, numbers, &other.numbers, threads))
            }
        }
    }
}

fn in_place(numbers: Cow<[f32]>, change: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut numbers = numbers.into_owned();
    change(&mut numbers);
    numbers
}

/// The shape of the map that a node takes.
fn map(input: Features) -> Shape {
    match input {
        Features::Map(shape) => shape,
        Features::Vector(_) => unreachable!("the graph has been checked: it takes a map"),
    }
}

const fn geometry(op: &Conv, Shape { channels, height, width }: Shape) -> Geometry {
    Geometry { inputs: channels, outputs: op.outputs, height, width, kernel: op.kernel[0], padding: op.padding[0] }
}

const fn convolution(op: &Conv, Shape { channels, height, width }: Shape) -> Convolution {
    let Conv { outputs, kernel, stride, padding, groups, .. } = *op;
    Convolution { inputs: channels, outputs, height, width, kernel, stride, padding, groups }
}

/// `[output, input]` as `[input, output]`.
fn transposed(weights: &[f32], outputs: usize) -> Vec<f32> {
    let inputs = weights.len() / outputs;
    let mut transposed = vec![0.0; weights.len()];
    for (output, row) in weights.chunks_exact(inputs).enumerate() {
        row.iter().enumerate().for_each(|(input, weight)| transposed[input * outputs + output] = *weight);
    }
    transposed
}
