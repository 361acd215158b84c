//! What a stage computes, with its weights as the kernels read them.

use std::borrow::Cow;
use std::sync::Arc;

use regulus_kernels::algorithm::Algorithm;
use regulus_kernels::buffers;
use regulus_kernels::conv::{self, ConvWeights};
use regulus_kernels::conv2d::{Conv2d, Followed};
use regulus_kernels::convolve::Convolution;
use regulus_kernels::dense::{self, Matrix};
use regulus_kernels::epilogue::{self, Affine, Sizes, Steps};
use regulus_kernels::image::{Geometry, Images, channels_first, channels_last};
use regulus_kernels::pointwise;
use regulus_kernels::pool::{self, Kind, Pool};
use regulus_kernels::simd::Path;

use crate::Weights;
use crate::fusion::{Epilogue, Stage, StageKind};
use crate::graph::{Conv, Features, Graph, Op, Role, Shape, Source};

/// A stage that computes. Clones share the weights. Feature maps are `[image, row, column, channel]`, vectors `[image, unit]`.
#[derive(Clone)]
pub(super) enum Layer {
    /// Takes channels first or last; gives them last unless `first` says otherwise.
    ConvReluPool {
        weights: Arc<ConvWeights<'static>>,
        first: bool,
    },
    Conv {
        conv: Arc<Conv2d>,
        epilogue: Option<AffineSteps>,
    },
    /// The weights are `[input, output]`.
    Dense {
        weights: Arc<[f32]>,
        /// 0 where the layer has none, as in training.
        bias: Vec<f32>,
        relu: bool,
    },
    BatchNorm(AffineSteps),
    Relu,
    Relu6,
    Gelu,
    Pool(Pool),
    Add,
    Subtract,
}

/// What follows a convolution.
#[derive(Clone)]
pub(super) struct AffineSteps {
    affine: Arc<Affine>,
    steps: Steps,
}

/// What a stage takes: the numbers of all images, and what they are.
pub(super) struct Input<'a> {
    pub(super) numbers: Cow<'a, [f32]>,
    pub(super) features: Features,
    /// Whether the channels of a pixel lie side by side.
    pub(super) is_channels_last: bool,
}

impl Input<'_> {
    /// Keeps the memory of numbers that nothing else takes for the next ones.
    pub(super) fn recycle(self) {
        if let Cow::Owned(numbers) = self.numbers {
            buffers::recycle(numbers);
        }
    }

    /// The numbers with the channels first.
    pub(super) fn channels_first(self, threads: usize) -> Vec<f32> {
        if self.is_channels_last {
            return channels_first(&self.numbers, self.features.area(), self.features.channels(), threads);
        }
        self.numbers.into_owned()
    }

    /// The same with the channels first, without a copy where they are.
    fn first(self, threads: usize) -> Self {
        if self.is_channels_last {
            Self { features: self.features, is_channels_last: false, numbers: Cow::Owned(self.channels_first(threads)) }
        } else {
            self
        }
    }

    /// A map with the channels last, without a copy where they are. One channel, or one pixel, is both.
    fn last(self, threads: usize) -> Self {
        let (area, channels) = (self.features.area(), self.features.channels());
        if self.is_channels_last || area == 1 || channels == 1 {
            return self;
        }
        Self { features: self.features, is_channels_last: true, numbers: Cow::Owned(channels_last(&self.numbers, area, channels, threads)) }
    }
}

impl Layer {
    /// The layer of a stage; none where it leaves its input as it is.
    pub(super) fn of(graph: &Graph, stage: &Stage, weights: &Weights, path: Path, algorithm: Algorithm) -> Option<Self> {
        let node = stage.first();
        let input = graph.input_of(node);
        let values = |role: Role| {
            let parameter = graph.parameters_of(node).iter().find(|parameter| parameter.role == role)?;
            weights.get(&parameter.name).map(|values| &values.numbers)
        };
        let value = |role: Role| values(role).unwrap_or_else(|| unreachable!("the weights fit the graph"));
        let pool = |kind: Kind, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]| {
            let Shape { channels, height, width } = map(input);
            Self::Pool(Pool { kind, channels, height, width, kernel, stride, padding })
        };
        let global = |kind: Kind| {
            let Shape { channels, height, width } = map(input);
            Self::Pool(Pool::global(kind, channels, height, width))
        };
        Some(match &graph.nodes()[node].op {
            Op::Conv(op) => {
                if let StageKind::ConvReluPool { channels_last } = stage.kind {
                    let geometry = geometry(op, map(input));
                    let weights =
                        ConvWeights::for_inference(path, algorithm, geometry, value(Role::Kernel).clone(), value(Role::Bias).clone());
                    return Some(Self::ConvReluPool { weights: Arc::new(weights), first: !channels_last });
                }
                let conv = Conv2d::new(path, algorithm, convolution(op, map(input)), value(Role::Kernel), 2);
                Self::Conv { conv: Arc::new(conv), epilogue: AffineSteps::of(graph, stage, weights) }
            }
            Op::Dense(op) => Self::Dense {
                weights: transposed(value(Role::Kernel), op.outputs).into(),
                bias: values(Role::Bias).cloned().unwrap_or_else(|| vec![0.0; op.outputs]),
                relu: stage.kind == StageKind::Dense { relu: true },
            },
            Op::BatchNorm(_) => Self::BatchNorm(AffineSteps::of(graph, stage, weights)?),
            Op::Relu(_) => Self::Relu,
            Op::Relu6(_) => Self::Relu6,
            Op::Gelu(_) => Self::Gelu,
            Op::MaxPool(op) => pool(Kind::Max, op.kernel, op.stride, op.padding),
            Op::AveragePool(op) => pool(Kind::Average, op.kernel, op.stride, op.padding),
            Op::GlobalMaxPool(_) => global(Kind::Max),
            Op::GlobalAveragePool(_) => global(Kind::Average),
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
            (Self::Conv { conv, .. }, _) => *conv = Arc::new(conv.resized(map(input).height, map(input).width)),
            (Self::Pool(pool), op) => {
                Shape { height: pool.height, width: pool.width, .. } = map(input);
                if matches!(op, Op::GlobalMaxPool(_) | Op::GlobalAveragePool(_)) {
                    pool.kernel = [pool.height, pool.width];
                }
            }
            _ => {}
        }
        layer
    }

    /// Multiplications that one thread does in a microsecond for `count` images, about; numbers that it reads, where there are none.
    ///
    /// Measured on one core of a Xeon with AVX-512, one image: 160,000 and 32,000 with ReLU and pool over 32 and 1 input channels; in other convolutions
    /// 120,000 to 190,000 by tiles over 32 to 128 channels, 60,000 over 16, 23,000 to 80,000 where the weights are more than a cache holds, and 36,000 to
    /// 75,000 without tiles; about 200,000 of bfloat16; 6,000 to 19,000 in depthwise ones, 35,000 and 8,000 in dense layers of 0.8 and 8 MB, 600 to 3,000 in pools of 9 and 4
    /// numbers, 3,500 to 8,000 in the rest; 64,000 in dense layers for 8 images.
    pub(super) fn multiplications_per_microsecond(&self, count: usize) -> u64 {
        match self {
            Self::ConvReluPool { weights, .. } if weights.geometry().inputs >= 8 && weights.geometry().kernel == 3 => 150_000,
            Self::ConvReluPool { .. } => 40_000,
            Self::Conv { conv, .. } if conv.is_rounded() => 200_000,
            Self::Conv { conv, .. } if conv.convolution().groups == conv.convolution().inputs => 10_000,
            Self::Conv { conv, .. } if conv.is_tiled() && conv.convolution().inputs >= 32 => 100_000,
            Self::Conv { .. } => 50_000,
            Self::Dense { .. } if count == 1 => 20_000,
            Self::Dense { .. } => 60_000,
            Self::Pool(_) => 1_500,
            _ => 5_000,
        }
    }

    /// How many weights its kernel has.
    pub(super) fn weights(&self) -> usize {
        match self {
            Self::ConvReluPool { weights, .. } => {
                let Geometry { inputs, outputs, kernel, .. } = weights.geometry();
                inputs * outputs * kernel * kernel
            }
            Self::Conv { conv, .. } => conv.convolution().weights(),
            Self::Dense { weights, .. } => weights.len(),
            _ => 0,
        }
    }

    /// Whether it gives the channels of a pixel side by side, where it gives a map; it may take one with them so.
    pub(super) const fn gives_channels_last(&self, takes_channels_last: bool) -> bool {
        match self {
            Self::ConvReluPool { first, .. } => !*first,
            Self::Relu | Self::Relu6 | Self::Gelu => takes_channels_last,
            Self::Dense { .. } => false,
            Self::Conv { .. } | Self::BatchNorm(_) | Self::Pool(_) | Self::Add | Self::Subtract => true,
        }
    }

    /// What it gives for `count` images; `other` is the second input.
    pub(super) fn forward(&self, path: Path, count: usize, input: Input, other: Option<Input>, threads: usize) -> Vec<f32> {
        let other = other.map(|other| other.last(threads).numbers);
        match self {
            Self::ConvReluPool { weights, first } => {
                let Features::Map(Shape { channels, height, width }) = input.features else { unreachable!("a convolution takes a map") };
                let size = channels * height * width;
                let strides = if input.is_channels_last { [size, 1, width * channels, channels] } else { [size, height * width, width, 1] };
                let out = conv::forward(weights, &Images { numbers: &input.numbers, batch: count, strides }, threads);
                input.recycle();
                if !*first {
                    return out;
                }
                let ordered = channels_first(&out, weights.geometry().pooled(), weights.geometry().outputs, threads);
                buffers::recycle(out);
                ordered
            }
            Self::Conv { conv, epilogue } => {
                let input = input.last(threads);
                let out = match epilogue {
                    None => conv.forward(&input.numbers, false, threads).0,
                    Some(AffineSteps { affine, steps }) => {
                        let followed = Followed { steps: *steps, affine, other: other.as_deref().unwrap_or_default() };
                        conv.forward_followed(path, &input.numbers, followed, threads)
                    }
                };
                input.recycle();
                out
            }
            Self::BatchNorm(epilogue) => {
                let channels = epilogue.affine.scale.len();
                // A map that was flattened is a vector, in the order of channels first.
                let is_flattened = input.features.channels() != channels;
                let (height, width) = match input.features {
                    Features::Map(Shape { height, width, .. }) if !is_flattened => (height, width),
                    _ => (1, 1),
                };
                let input = if is_flattened { input.first(threads) } else { input.last(threads) };
                epilogue.forward(path, Sizes { batch: count, height, width, channels }, &input.numbers, other.as_deref(), threads)
            }
            Self::Dense { weights, bias, relu } => {
                let Input { numbers, features, .. } = input.first(threads);
                let (inputs, outputs) = (features.size(), weights.len() / features.size());
                let (x, weights) = (Matrix::rows(&numbers, [count, inputs]), Matrix::rows(weights, [inputs, outputs]));
                dense::forward(path, x, dense::Layer { weights, bias, relu: *relu }, threads)
            }
            Self::Relu => in_place(input.numbers, |numbers| pointwise::relu(path, numbers, threads)),
            Self::Relu6 => in_place(input.numbers, |numbers| pointwise::relu6(path, numbers, threads)),
            Self::Gelu => in_place(input.numbers, |numbers| pointwise::gelu(path, numbers, threads)),
            Self::Pool(pool) => pool::forward(path, *pool, &input.last(threads).numbers, threads),
            Self::Add => {
                let other = other.unwrap_or_else(|| unreachable!("a sum has two summands"));
                in_place(input.last(threads).numbers, |numbers| pointwise::add(path, numbers, &other, threads))
            }
            Self::Subtract => {
                let other = other.unwrap_or_else(|| unreachable!("a difference has two inputs"));
                in_place(input.last(threads).numbers, |numbers| pointwise::subtract(path, numbers, &other, threads))
            }
        }
    }
}

impl AffineSteps {
    /// What follows the convolution or normalization of a stage. `None` where that is nothing.
    fn of(graph: &Graph, stage: &Stage, weights: &Weights) -> Option<Self> {
        let (StageKind::Conv(Epilogue { norm, steps }) | StageKind::BatchNorm(Epilogue { norm, steps })) = stage.kind else { return None };
        let values = |node: usize, role: Role| {
            let parameter = graph.parameters_of(node).iter().find(|parameter| parameter.role == role)?;
            weights.get(&parameter.name).map(|values| values.numbers.as_slice())
        };
        let affine = match norm {
            None => match values(stage.first(), Role::Bias) {
                None if steps == Steps::default() => return None,
                None => Affine::bias(&vec![0.0; graph.features_of(Source::Node(stage.first())).channels()]),
                Some(bias) => Affine::bias(bias),
            },
            Some(norm) => {
                let value = |role: Role| values(norm, role).unwrap_or_else(|| unreachable!("the weights fit the graph"));
                let Op::BatchNorm(op) = &graph.nodes()[norm].op else { unreachable!("a stage has the index of a normalization") };
                let statistics = [value(Role::RunningMean), value(Role::RunningVariance)];
                Affine::normalization(statistics, [value(Role::Scale), value(Role::Bias)], op.epsilon)
            }
        };
        Some(Self { affine: Arc::new(affine), steps })
    }

    fn forward(&self, path: Path, sizes: Sizes, numbers: &[f32], other: Option<&[f32]>, threads: usize) -> Vec<f32> {
        epilogue::forward(path, sizes, self.steps, numbers, &self.affine, other.unwrap_or_default(), threads)
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
    let Conv { outputs, kernel, stride, padding, extra_padding, groups, .. } = *op;
    Convolution { inputs: channels, outputs, height, width, kernel, stride, padding, extra_padding, groups }
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
