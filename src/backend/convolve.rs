//! A convolution by itself, on images stored channels-last.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};
use burn::tensor::TensorData;
use regulus_kernels::algorithm::Algorithm;
use regulus_kernels::conv2d;
use regulus_kernels::convolve::Convolution;
use regulus_kernels::moments::Moments;

use super::fused::path;
use super::host::{Host, give, in_order, recycle};

/// How a convolution walks over its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// Rows of zeros above and below, columns of zeros left and right.
    pub padding: [usize; 2],
    /// Further rows of zeros below, further columns of zeros right.
    pub extra_padding: [usize; 2],
    /// Groups of channels that are convolved apart.
    pub groups: usize,
    /// Whether the mean and variance of each output channel are computed.
    pub has_moments: bool,
    /// How 3×3 kernels are computed.
    pub algorithm: Algorithm,
}

/// The sizes of a convolution of `images` with `weights`.
fn convolution<B: Host>(images: &FloatTensor<B>, weights: &FloatTensor<B>, walk: Walk) -> Convolution {
    let (images_shape, weights_shape) = (images.shape(), weights.shape());
    let Walk { stride, padding, extra_padding, groups, .. } = walk;
    Convolution {
        inputs: images_shape[3],
        outputs: weights_shape[0],
        height: images_shape[1],
        width: images_shape[2],
        kernel: [weights_shape[2], weights_shape[3]],
        stride,
        padding,
        extra_padding,
        groups,
    }
}

/// Mean and biased variance of each channel, one list after the other; nothing where there are none.
pub(super) fn statistics(moments: Option<&Moments>) -> TensorData {
    let mut statistics = moments.map(Moments::mean).unwrap_or_default();
    statistics.extend(moments.iter().flat_map(|moments| moments.variance()));
    let channels = statistics.len() / 2;
    TensorData::new(statistics, [2, channels])
}

/// The forward pass and the statistics.
pub(super) fn forward<B: Host>(images: &FloatTensor<B>, weights: &FloatTensor<B>, walk: Walk) -> (FloatTensor<B>, TensorData) {
    let convolution = convolution::<B>(images, weights, walk);
    let (batch, [rows, columns], threads) = (images.shape()[0], convolution.sides(), rayon::current_num_threads());
    let (out, moments) = in_order::<B, _>(images, |images| {
        in_order::<B, _>(weights, |weights| {
            conv2d::forward(path(), walk.algorithm, convolution, images, weights, walk.has_moments, threads)
        })
    });
    (give::<B>(out, [batch, rows, columns, convolution.outputs], &images.device()), statistics(moments.as_ref()))
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
        let (threads, shape, device) = (rayon::current_num_threads(), images.shape(), images.device());
        in_order::<B, _>(&gradient, |gradient| {
            if let Some(node) = weights_node {
                let found = in_order::<B, _>(&images, |images| {
                    conv2d::weight_gradient(path(), walk.algorithm, convolution, images, gradient, threads)
                });
                grads.register::<B>(node.id, give::<B>(found, weights.shape(), &device));
            }
            // Their gradient may take their memory.
            recycle::<B>(images_node.is_some().then_some(images));
            if let Some(node) = images_node {
                let found = in_order::<B, _>(&weights, |weights| {
                    conv2d::image_gradient(path(), walk.algorithm, convolution, gradient, weights, threads)
                });
                grads.register::<B>(node.id, give::<B>(found, shape, &device));
            }
        });
        recycle::<B>([gradient]);
    }
}

/// The forward pass under autodiff, which does not follow the statistics.
pub(super) fn tracked<B: Host, C: CheckpointStrategy>(
    images: FloatTensor<Autodiff<B, C>>,
    weights: FloatTensor<Autodiff<B, C>>,
    walk: Walk,
) -> [FloatTensor<Autodiff<B, C>>; 2] {
    let ((images, images_node), (weights, weights_node)) = (images.into_parts(), weights.into_parts());
    let (out, statistics) = forward::<B>(&images, &weights, walk);
    let statistics = Autodiff::<B, C>::float_from_data(statistics, &images.device());
    let out = match Convolve.prepare::<C>([images_node, weights_node]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(Inputs { images, weights, walk }, out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    };
    [out, statistics]
}
