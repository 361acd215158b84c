//! A convolution by itself: a forward pass of our own, so that inference without Burn has the same bits, and a backward pass of our own except for strides and
//! groups, where it is Burn's stock one.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};
use burn::tensor::ops::ConvOptions;
use regulus_kernels::convolve::{self, Convolution, Weights};

use super::fused::path;
use super::host::{Host, give, in_order};

/// How a convolution walks over its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// Rows of zeros above and below, columns of zeros left and right.
    pub padding: [usize; 2],
    /// Groups of channels that are convolved apart.
    pub groups: usize,
}

impl Walk {
    fn options(self) -> ConvOptions<2> {
        ConvOptions::new(self.stride, self.padding, [1, 1], self.groups)
    }
}

/// The sizes of a convolution of `images` with `weights`.
fn convolution<B: Host>(images: &FloatTensor<B>, weights: &FloatTensor<B>, walk: Walk) -> Convolution {
    let (images_shape, weights_shape) = (images.shape(), weights.shape());
    let Walk { stride, padding, groups } = walk;
    Convolution {
        inputs: images_shape[1],
        outputs: weights_shape[0],
        height: images_shape[2],
        width: images_shape[3],
        kernel: [weights_shape[2], weights_shape[3]],
        stride,
        padding,
        groups,
    }
}

/// The forward pass.
pub(super) fn forward<B: Host>(images: &FloatTensor<B>, weights: &FloatTensor<B>, walk: Walk) -> FloatTensor<B> {
    let convolution = convolution::<B>(images, weights, walk);
    let images_shape = images.shape();
    let (batch, [rows, columns]) = (images_shape[0], convolution.sides());
    let out = in_order::<B, _>(images, |images| {
        in_order::<B, _>(weights, |weights| {
            let weights = Weights { kernel: weights, bias: None };
            convolve::forward(path(), convolution, images, weights, rayon::current_num_threads())
        })
    });
    give::<B>(out, [batch, convolution.outputs, rows, columns], &images.device())
}

#[derive(Debug)]
struct Convolve;

#[derive(Clone, Debug)]
struct Inputs<B: Host> {
    images: FloatTensor<B>,
    weights: FloatTensor<B>,
    walk: Walk,
}

impl<B: Host> Backward<B, 2> for Convolve {
    type State = Inputs<B>;

    fn backward(self, ops: Ops<Inputs<B>, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let Inputs { images, weights, walk } = ops.state;
        let [images_node, weights_node] = ops.parents;
        let convolution = convolution::<B>(&images, &weights, walk);
        let (threads, device) = (rayon::current_num_threads(), images.device());
        if let Some(node) = images_node {
            let found = if convolution.has_image_gradient() {
                let found = in_order::<B, _>(&gradient, |gradient| {
                    in_order::<B, _>(&weights, |weights| convolve::image_gradient(path(), convolution, gradient, weights, threads))
                });
                give::<B>(found, images.shape(), &device)
            } else {
                B::conv2d_x_backward(images.clone(), weights.clone(), gradient.clone(), walk.options())
            };
            grads.register::<B>(node.id, found);
        }
        if let Some(node) = weights_node {
            let found = if convolution.has_weight_gradient() {
                let found = in_order::<B, _>(&images, |images| {
                    in_order::<B, _>(&gradient, |gradient| convolve::weight_gradient(path(), convolution, images, gradient, threads))
                });
                give::<B>(found, weights.shape(), &device)
            } else {
                B::conv2d_weight_backward(images, weights, gradient, walk.options())
            };
            grads.register::<B>(node.id, found);
        }
    }
}

/// The forward pass under autodiff.
pub(super) fn tracked<B: Host, C: CheckpointStrategy>(
    images: FloatTensor<Autodiff<B, C>>,
    weights: FloatTensor<Autodiff<B, C>>,
    walk: Walk,
) -> FloatTensor<Autodiff<B, C>> {
    let ((images, images_node), (weights, weights_node)) = (images.into_parts(), weights.into_parts());
    let out = forward::<B>(&images, &weights, walk);
    match Convolve.prepare::<C>([images_node, weights_node]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(Inputs { images, weights, walk }, out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    }
}
