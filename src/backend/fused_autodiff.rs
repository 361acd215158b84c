//! The gradients of [`super::fused`].

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, AutodiffBackend, TensorMetadata};

use super::convolve::{self, Walk};
use super::epilogue::{self, Epilogue};
use super::fused::{Fused, Layer, Norm, PooledWalk, geometry, last_to_first, losses, matrix, normed, path, read_images};
use super::host::{Host, give, in_order, recycle};
use super::pool;
use regulus_kernels::conv::{ArgMax, Saved};
use regulus_kernels::pool::Pool;
use regulus_kernels::{buffers, conv, dense, squares};

impl<B: Host, C: CheckpointStrategy> Fused for Autodiff<B, C> {
    fn conv_relu_pool(
        images: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        walk: PooledWalk,
    ) -> FloatTensor<Self> {
        let ((images, images_node), (weights, weights_node), (bias, bias_node)) =
            (images.into_parts(), weights.into_parts(), bias.into_parts());
        let layer = Layer::<B> { images: &images, weights: &weights, bias: &bias, walk };
        match ConvReluPool.prepare::<C>([images_node, weights_node, bias_node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (out, argmax) = layer.forward_with_argmax();
                prepared.finish(Pooled { images, weights, argmax: Arc::new(argmax), padding: walk.padding }, out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(layer.forward()),
        }
    }

    fn convolve(images: FloatTensor<Self>, weights: FloatTensor<Self>, walk: Walk) -> (FloatTensor<Self>, FloatTensor<Self>) {
        convolve::tracked::<B, C>(images, weights, walk).into()
    }

    fn moments(images: FloatTensor<Self>) -> FloatTensor<Self> {
        let (images, _) = images.into_parts();
        Self::from_inner(<B as Fused>::moments(images))
    }

    fn epilogue(
        images: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        other: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        epilogue: Epilogue,
    ) -> FloatTensor<Self> {
        epilogue::tracked::<B, C>([images, scale, shift, other, statistics], epilogue)
    }

    fn pool(images: FloatTensor<Self>, pool: Pool) -> FloatTensor<Self> {
        pool::tracked::<B, C>(images, pool)
    }

    fn dense(x: FloatTensor<Self>, weights: FloatTensor<Self>, bias: FloatTensor<Self>, relu: bool) -> FloatTensor<Self> {
        let ((x, x_node), (weights, weights_node), (bias, bias_node)) = (x.into_parts(), weights.into_parts(), bias.into_parts());
        let out = <B as Fused>::dense(x.clone(), weights.clone(), bias, relu);
        match Dense.prepare::<C>([x_node, weights_node, bias_node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(SavedDense { x, weights, activated: relu.then(|| out.clone()) }, out),
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
    }

    fn cross_entropy(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        smoothing: f32,
        weights: Option<&[f32]>,
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        let (logits, node) = logits.into_parts();
        let (loss, correct, gradient) = losses::<B>(&logits, labels, smoothing, weights);
        let loss = match Scalar.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let numbers = give::<B>(gradient, logits.shape(), &logits.device());
                prepared.finish(Slope { numbers, origin: None, factor: 1.0 }, loss)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(loss),
        };
        (loss, correct)
    }

    fn norm(numbers: FloatTensor<Self>, norm: Norm, output_axis: usize) -> FloatTensor<Self> {
        let (numbers, node) = numbers.into_parts();
        let (sum, slope) = normed::<B>(&numbers, norm, output_axis);
        match Scalar.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let slope = match slope {
                    None => Slope { numbers, origin: None, factor: 2.0 },
                    Some(slope) => Slope { numbers: give::<B>(slope, numbers.shape(), &numbers.device()), origin: None, factor: 1.0 },
                };
                prepared.finish(slope, sum)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(sum),
        }
    }

    fn squared_distance(numbers: FloatTensor<Self>, origin: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((numbers, node), (origin, _)) = (numbers.into_parts(), origin.into_parts());
        let sum = <B as Fused>::squared_distance(numbers.clone(), origin.clone());
        match Scalar.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(Slope { numbers, origin: Some(origin), factor: 2.0 }, sum),
            OpsKind::UnTracked(prepared) => prepared.finish(sum),
        }
    }
}

#[derive(Debug)]
struct ConvReluPool;

#[derive(Clone, Debug)]
struct Pooled<B: Host> {
    images: FloatTensor<B>,
    weights: FloatTensor<B>,
    argmax: Arc<Vec<ArgMax>>,
    padding: usize,
}

impl<B: Host> Backward<B, 3> for ConvReluPool {
    type State = Pooled<B>;

    fn backward(self, ops: Ops<Pooled<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let Pooled { images, weights, argmax, padding } = ops.state;
        let [images_node, weights_node, bias_node] = ops.parents;
        let is_output = images_node.is_some();
        let geometry = geometry::<B>(&images, &weights, padding);
        let found = read_images::<B, _>(&images, |images| {
            read_images::<B, _>(&gradient, |gradient| {
                in_order::<B, _>(&weights, |weights| {
                    let saved = Saved { geometry, images: *images, weights, argmax: &argmax };
                    conv::backward(path(), &saved, gradient, images_node.is_some())
                })
            })
        });
        let device = images.device();
        if let (Some(node), Some(numbers)) = (images_node, found.images) {
            let shape = [images.shape()[0], geometry.height, geometry.width, geometry.inputs];
            grads.register::<B>(node.id, last_to_first::<B>(give::<B>(numbers, shape, &device)));
        }
        if let Some(node) = weights_node {
            grads.register::<B>(node.id, give::<B>(found.weights, weights.shape(), &device));
        }
        if let Some(node) = bias_node {
            grads.register::<B>(node.id, give::<B>(found.bias, [geometry.outputs], &device));
        }
        recycle::<B>(is_output.then_some(images).into_iter().chain([gradient]));
        if let Ok(argmax) = Arc::try_unwrap(argmax) {
            buffers::recycle(argmax);
        }
    }
}

#[derive(Debug)]
struct Dense;

#[derive(Clone, Debug)]
struct SavedDense<B: Host> {
    x: FloatTensor<B>,
    weights: FloatTensor<B>,
    /// The output, where it went through ReLU.
    activated: Option<FloatTensor<B>>,
}

impl<B: Host> Backward<B, 3> for Dense {
    type State = SavedDense<B>;

    fn backward(self, ops: Ops<SavedDense<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let SavedDense { x, weights, activated } = ops.state;
        let [x_node, weights_node, bias_node] = ops.parents;
        let is_output = x_node.is_some();
        let found = matrix::<B, _>(&x, |x| {
            matrix::<B, _>(&weights, |weights| {
                matrix::<B, _>(&gradient, |gradient| match &activated {
                    None => dense::backward(x, weights, None, gradient, x_node.is_some()),
                    Some(output) => {
                        in_order::<B, _>(output, |output| dense::backward(x, weights, Some(output), gradient, x_node.is_some()))
                    }
                })
            })
        });
        let device = x.device();
        if let (Some(node), Some(numbers)) = (x_node, found.x) {
            grads.register::<B>(node.id, give::<B>(numbers, x.shape(), &device));
        }
        if let Some(node) = weights_node {
            grads.register::<B>(node.id, give::<B>(found.weights, weights.shape(), &device));
        }
        if let Some(node) = bias_node {
            grads.register::<B>(node.id, give::<B>(found.bias, [weights.shape()[1]], &device));
        }
        recycle::<B>(is_output.then_some(x).into_iter().chain([gradient]).chain(activated));
    }
}

/// A number whose gradient is a tensor known beforehand, or its difference to another, times a factor.
#[derive(Debug)]
struct Scalar;

#[derive(Clone, Debug)]
struct Slope<B: Host> {
    numbers: FloatTensor<B>,
    /// What is subtracted.
    origin: Option<FloatTensor<B>>,
    factor: f32,
}

impl<B: Host> Backward<B, 1> for Scalar {
    type State = Slope<B>;

    fn backward(self, ops: Ops<Slope<B>, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            let Slope { numbers, origin, factor } = ops.state;
            let factor = in_order::<B, _>(&gradient, |gradient| factor * gradient[0]);
            let scaled = in_order::<B, _>(&numbers, |numbers| match &origin {
                None => squares::scaled(numbers, factor),
                Some(origin) => in_order::<B, _>(origin, |origin| squares::scaled_difference(numbers, origin, factor)),
            });
            grads.register::<B>(node.id, give::<B>(scaled, numbers.shape(), &numbers.device()));
        }
    }
}
