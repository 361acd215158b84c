//! The kernels as Burn operations, on the CPU backends and under autodiff.
//!
//! Each does what the stock operations named in its text do, up to the order of float32 sums. Other backends do not have them.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn's older CPU backend is offered for comparison"))]
#![cfg_attr(not(any(feature = "flex", feature = "ndarray")), expect(unused_variables, reason = "no backend of this build has them"))]

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Int, Tensor, TensorData, read_sync};

use super::convolve::{self, Walk};
use super::epilogue::{self, Epilogue};
use super::host::{Host, give, in_order};
use super::pool;
use regulus_kernels::algorithm::Algorithm;
use regulus_kernels::conv::{self, ArgMax, ConvWeights, Pooled};
use regulus_kernels::conv2d;
use regulus_kernels::cross_entropy;
use regulus_kernels::dense::{self, Matrix};
use regulus_kernels::groups::Groups;
use regulus_kernels::image::{Geometry, Images, channels_first};
use regulus_kernels::norms::{sum_of_absolutes, sum_of_norms};
use regulus_kernels::pool::Pool;
use regulus_kernels::simd::Path;
use regulus_kernels::squares::{sum_of_squared_differences, sum_of_squares};

/// How a convolution with ReLU and pool walks over its input, and stores its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PooledWalk {
    /// Rows and columns of zeros on each side.
    pub padding: usize,
    /// Whether the output is stored channels-last, as the next convolution reads it, or channels-first, so that it can be flattened without a copy.
    pub channels_last: bool,
    /// How 3×3 kernels are computed.
    pub algorithm: Algorithm,
}

/// Operations with a gradient of their own.
#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
pub trait Fused: Backend {
    /// See [`conv_relu_pool`].
    fn conv_relu_pool(
        images: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        walk: PooledWalk,
    ) -> FloatTensor<Self>;

    /// See [`convolve`].
    fn convolve(images: FloatTensor<Self>, weights: FloatTensor<Self>, walk: Walk) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// See [`moments`].
    fn moments(images: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`epilogue`].
    fn epilogue(
        images: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        other: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        epilogue: Epilogue,
    ) -> FloatTensor<Self>;

    /// See [`pool`].
    fn pool(images: FloatTensor<Self>, pool: Pool) -> FloatTensor<Self>;

    /// See [`dense()`].
    fn dense(x: FloatTensor<Self>, weights: FloatTensor<Self>, bias: FloatTensor<Self>, relu: bool) -> FloatTensor<Self>;

    /// See [`cross_entropy()`].
    fn cross_entropy(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        smoothing: f32,
        weights: Option<&[f32]>,
    ) -> (FloatTensor<Self>, IntTensor<Self>);

    /// See [`norm`].
    fn norm(numbers: FloatTensor<Self>, norm: Norm, output_axis: usize) -> FloatTensor<Self>;

    /// See [`squared_distance`].
    fn squared_distance(numbers: FloatTensor<Self>, origin: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Convolution (stride 1), bias, ReLU and 2×2 max-pool (stride 2): Burn's `Conv2d`, `Relu` and `MaxPool2d`.
///
/// # Shapes
///
/// - images: `[batch, inputs, height, width]`
/// - weights: `[outputs, inputs, kernel, kernel]`
/// - bias: `[outputs]`
/// - output: `[batch, outputs, (height + 2·padding − kernel + 1)/2, (width + 2·padding − kernel + 1)/2]`, rounded down
#[must_use]
pub fn conv_relu_pool(images: Tensor<4>, weights: Tensor<4>, bias: Tensor<1>, walk: PooledWalk) -> Tensor<4> {
    let (images, weights, bias) = (images.into_dispatch(), weights.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Fused>::conv_relu_pool(images, weights, bias, walk))
}

/// A convolution by itself, without bias: Burn's `conv2d`; and, where `walk` asks for them, mean and biased variance of each channel of the output, which autodiff
/// does not follow.
///
/// # Shapes
///
/// - images: `[batch, height, width, inputs]`
/// - weights: `[outputs, inputs / groups, kernel rows, kernel columns]`
/// - outputs: `[batch, rows, columns, outputs]`; `[2, outputs]` or `[2, 0]`
#[must_use]
pub fn convolve(images: Tensor<4>, weights: Tensor<4>, walk: Walk) -> (Tensor<4>, Tensor<2>) {
    let (out, statistics) = <Dispatch as Fused>::convolve(images.into_dispatch(), weights.into_dispatch(), walk);
    (Tensor::from_dispatch(out), Tensor::from_dispatch(statistics))
}

/// Mean and biased variance of each channel, which autodiff does not follow.
///
/// # Shapes
///
/// - images: `[batch, height, width, channels]`
/// - output: `[2, channels]`
#[must_use]
pub fn moments(images: Tensor<4>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Fused>::moments(images.into_dispatch()))
}

/// What follows a convolution: Burn's `batch_norm` or an addition of the bias, addition of `other`, `relu` and `max_pool2d`.
///
/// # Shapes
///
/// - images, other: `[batch, height, width, channels]`
/// - scale (or γ), shift (or β): `[channels]`
/// - statistics: `[2, channels]`, mean and biased variance
/// - output: `[batch, height, width, channels]`, half the height and width with a pool
#[must_use]
pub fn epilogue(
    images: Tensor<4>,
    [scale, shift]: [Tensor<1>; 2],
    other: Option<Tensor<4>>,
    statistics: Option<Tensor<2>>,
    epilogue: Epilogue,
) -> Tensor<4> {
    // What is not there is not read.
    let none = || Tensor::<1>::zeros([1], &scale.device()).into_dispatch();
    let (other, statistics) = (other.map_or_else(none, Tensor::into_dispatch), statistics.map_or_else(none, Tensor::into_dispatch));
    let (images, scale, shift) = (images.into_dispatch(), scale.into_dispatch(), shift.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Fused>::epilogue(images, scale, shift, other, statistics, epilogue))
}

/// A pool over windows: Burn's `max_pool2d` and `avg_pool2d`.
///
/// # Shapes
///
/// - images: `[batch, height, width, channels]`
/// - output: `[batch, rows, columns, channels]`
#[must_use]
pub fn pool(images: Tensor<4>, pool: Pool) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Fused>::pool(images.into_dispatch(), pool))
}

/// A dense layer, with ReLU where `relu` says so: Burn's `Linear` and `Relu`.
///
/// # Shapes
///
/// - x: `[batch, inputs]`
/// - weights: `[inputs, outputs]`
/// - bias: `[outputs]`
/// - output: `[batch, outputs]`
#[must_use]
pub fn dense(x: Tensor<2>, weights: Tensor<2>, bias: Tensor<1>, relu: bool) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Fused>::dense(x.into_dispatch(), weights.into_dispatch(), bias.into_dispatch(), relu))
}

/// The mean cross-entropy of logits in nats, Burn's `CrossEntropyLoss`, against targets of which the part `smoothing` is spread evenly, each sample times the
/// weight of its class, if there are `weights`; and how many samples' largest logit is their label's.
///
/// # Shapes
///
/// - logits: `[batch, classes]`
/// - labels: `[batch]`
/// - outputs: `[1]`, `[1]`
#[must_use]
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>, smoothing: f32, weights: Option<&[f32]>) -> (Tensor<1>, Tensor<1, Int>) {
    let (loss, correct) = <Dispatch as Fused>::cross_entropy(logits.into_dispatch(), labels.into_dispatch(), smoothing, weights);
    (Tensor::from_dispatch(loss), Tensor::from_dispatch(correct))
}

/// What a penalty adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Σ w², Burn's `square().sum()`.
    Squares,
    /// Σ |w|, Burn's `abs().sum()`; the gradient is 0 at 0.
    Absolutes,
    /// Σ √|g|·‖w(g)‖ over [`Groups::of`]; the gradient is 0 in a group of zeros.
    Groups,
}

/// A norm of a parameter, whose groups are those of `output_axis`.
///
/// # Shapes
///
/// - output: `[1]`
#[must_use]
pub fn norm<const D: usize>(numbers: Tensor<D>, norm: Norm, output_axis: usize) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as Fused>::norm(numbers.into_dispatch(), norm, output_axis))
}

/// Σ (w − v)² of a parameter and its origin, which autodiff does not follow: Burn's `(w - v).square().sum()`.
///
/// # Shapes
///
/// - output: `[1]`
#[must_use]
pub fn squared_distance<const D: usize>(numbers: Tensor<D>, origin: Tensor<D>) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as Fused>::squared_distance(numbers.into_dispatch(), origin.into_dispatch()))
}

/// The instructions in use. `backend::open` refuses a device where those asked for can't be had.
pub(super) fn path() -> Path {
    Path::chosen().unwrap_or_else(|error| panic!("{error}"))
}

/// The input and the parameters of a convolution with ReLU and pool.
pub(super) struct Layer<'a, B: Host> {
    pub(super) images: &'a FloatTensor<B>,
    pub(super) weights: &'a FloatTensor<B>,
    pub(super) bias: &'a FloatTensor<B>,
    pub(super) walk: PooledWalk,
}

impl<B: Host> Layer<'_, B> {
    /// The forward pass for evaluation, whose bits do not depend on the batch.
    pub(super) fn forward(&self) -> FloatTensor<B> {
        let geometry = geometry::<B>(self.images, self.weights, self.walk.padding);
        let out = self.read(|images, weights, bias| {
            let weights = ConvWeights::for_inference(path(), self.walk.algorithm, geometry, weights.to_vec(), bias.to_vec());
            conv::forward(&weights, images, rayon::current_num_threads())
        });
        self.output(out)
    }

    /// The forward pass for training, with the argmax of the pools.
    pub(super) fn forward_with_argmax(&self) -> (FloatTensor<B>, Vec<ArgMax>) {
        let geometry = geometry::<B>(self.images, self.weights, self.walk.padding);
        let Pooled { values, argmax } = self.read(|images, weights, bias| {
            let weights = ConvWeights::for_batch(path(), self.walk.algorithm, geometry, images.batch, weights, bias);
            conv::forward_with_argmax(&weights, images, rayon::current_num_threads())
        });
        (self.output(values), argmax)
    }

    fn read<R>(&self, read: impl FnOnce(&Images, &[f32], &[f32]) -> R) -> R {
        read_images::<B, _>(self.images, |images| {
            in_order::<B, _>(self.weights, |weights| in_order::<B, _>(self.bias, |bias| read(images, weights, bias)))
        })
    }

    /// Activations `[image, row, column, channel]` as a tensor `[image, channel, row, column]`, stored channels-last or channels-first.
    fn output(&self, values: Vec<f32>) -> FloatTensor<B> {
        let geometry = geometry::<B>(self.images, self.weights, self.walk.padding);
        let (batch, channels, device) = (self.images.shape()[0], geometry.outputs, self.images.device());
        let [height, width] = [geometry.pooled_height(), geometry.pooled_width()];
        if self.walk.channels_last {
            return last_to_first::<B>(give::<B>(values, [batch, height, width, channels], &device));
        }
        let values = channels_first(&values, geometry.pooled(), channels, rayon::current_num_threads());
        give::<B>(values, [batch, channels, height, width], &device)
    }
}

/// The sizes of a convolution of `images` with `weights`.
pub(super) fn geometry<B: Host>(images: &FloatTensor<B>, weights: &FloatTensor<B>, padding: usize) -> Geometry {
    let (images, weights) = (images.shape(), weights.shape());
    Geometry { inputs: images[1], outputs: weights[0], height: images[2], width: images[3], kernel: weights[2], padding }
}

/// Calls `read` with a tensor of rank 4 as images.
pub(super) fn read_images<B: Host, R>(tensor: &FloatTensor<B>, read: impl FnOnce(&Images) -> R) -> R {
    let batch = tensor.shape()[0];
    B::read(tensor, |numbers, strides| read(&Images { numbers, batch, strides: [strides[0], strides[1], strides[2], strides[3]] }))
}

/// The same numbers seen as `[batch, channel, row, column]`.
pub(super) fn last_to_first<B: Host>(images: FloatTensor<B>) -> FloatTensor<B> {
    B::float_permute(images, &[0, 3, 1, 2])
}

/// Calls `read` with a tensor of rank 2 as a matrix.
pub(super) fn matrix<B: Host, R>(tensor: &FloatTensor<B>, read: impl FnOnce(Matrix) -> R) -> R {
    let shape = tensor.shape();
    B::read(tensor, |numbers, strides| read(Matrix { numbers, shape: [shape[0], shape[1]], strides: [strides[0], strides[1]] }))
}

/// Loss and number of correct predictions, and ∂loss/∂logits.
pub(super) fn losses<B: Host>(
    logits: &FloatTensor<B>,
    labels: IntTensor<B>,
    smoothing: f32,
    weights: Option<&[f32]>,
) -> (FloatTensor<B>, IntTensor<B>, Vec<f32>) {
    let device = logits.device();
    let labels = read_sync(B::int_into_data(labels)).unwrap_or_else(|error| unreachable!("a tensor in memory can be read: {error}"));
    let labels: Vec<usize> = labels.iter::<i64>().map(|label| usize::try_from(label).unwrap_or(usize::MAX)).collect();
    let found = in_order::<B, _>(logits, |logits| cross_entropy::cross_entropy(logits, &labels, smoothing, weights));
    let correct = B::int_from_data(TensorData::from([found.correct.cast_signed()]), &device);
    (give::<B>(vec![found.loss], [1], &device), correct, found.gradient)
}

/// A norm as a tensor, and its gradient but for a factor; none where that is the numbers themselves.
pub(super) fn normed<B: Host>(numbers: &FloatTensor<B>, norm: Norm, output_axis: usize) -> (FloatTensor<B>, Option<Vec<f32>>) {
    let groups = Groups::of(numbers.shape().as_slice(), output_axis);
    let (sum, slope) = in_order::<B, _>(numbers, |numbers| match norm {
        Norm::Squares => (sum_of_squares(path(), numbers), None),
        Norm::Absolutes => wrapped(sum_of_absolutes(numbers)),
        Norm::Groups => wrapped(sum_of_norms(numbers, groups)),
    });
    #[expect(clippy::cast_possible_truncation, reason = "a float32 tensor")]
    let sum = give::<B>(vec![sum as f32], [1], &numbers.device());
    (sum, slope)
}

fn wrapped((sum, slope): (f64, Vec<f32>)) -> (f64, Option<Vec<f32>>) {
    (sum, Some(slope))
}

impl<B: Host> Fused for B {
    fn conv_relu_pool(images: FloatTensor<B>, weights: FloatTensor<B>, bias: FloatTensor<B>, walk: PooledWalk) -> FloatTensor<B> {
        Layer::<B> { images: &images, weights: &weights, bias: &bias, walk }.forward()
    }

    fn convolve(images: FloatTensor<B>, weights: FloatTensor<B>, walk: Walk) -> (FloatTensor<B>, FloatTensor<B>) {
        let (out, statistics) = convolve::forward::<B>(&images, &weights, walk);
        (out, B::float_from_data(statistics, &images.device()))
    }

    fn moments(images: FloatTensor<B>) -> FloatTensor<B> {
        let channels = images.shape()[3];
        let moments = in_order::<B, _>(&images, |numbers| conv2d::moments(path(), numbers, channels));
        B::float_from_data(convolve::statistics(moments.as_ref()), &images.device())
    }

    fn epilogue(
        images: FloatTensor<B>,
        scale: FloatTensor<B>,
        shift: FloatTensor<B>,
        other: FloatTensor<B>,
        statistics: FloatTensor<B>,
        epilogue: Epilogue,
    ) -> FloatTensor<B> {
        epilogue::forward::<B>(&epilogue::Inputs { images, scale, shift, other, statistics }, epilogue).0
    }

    fn pool(images: FloatTensor<B>, pool: Pool) -> FloatTensor<B> {
        pool::forward::<B>(&images, pool)
    }

    fn dense(x: FloatTensor<B>, weights: FloatTensor<B>, bias: FloatTensor<B>, relu: bool) -> FloatTensor<B> {
        let shape = [x.shape()[0], weights.shape()[1]];
        let out = matrix::<B, _>(&x, |x| {
            matrix::<B, _>(&weights, |weights| {
                in_order::<B, _>(&bias, |bias| {
                    dense::forward(path(), x, dense::Layer { weights, bias, relu }, rayon::current_num_threads())
                })
            })
        });
        give::<B>(out, shape, &x.device())
    }

    fn cross_entropy(
        logits: FloatTensor<B>,
        labels: IntTensor<B>,
        smoothing: f32,
        weights: Option<&[f32]>,
    ) -> (FloatTensor<B>, IntTensor<B>) {
        let (loss, correct, _) = losses::<B>(&logits, labels, smoothing, weights);
        (loss, correct)
    }

    fn norm(numbers: FloatTensor<B>, norm: Norm, output_axis: usize) -> FloatTensor<B> {
        normed::<B>(&numbers, norm, output_axis).0
    }

    fn squared_distance(numbers: FloatTensor<B>, origin: FloatTensor<B>) -> FloatTensor<B> {
        let sum =
            in_order::<B, _>(&numbers, |numbers| in_order::<B, _>(&origin, |origin| sum_of_squared_differences(path(), numbers, origin)));
        #[expect(clippy::cast_possible_truncation, reason = "a float32 tensor")]
        give::<B>(vec![sum as f32], [1], &numbers.device())
    }
}
