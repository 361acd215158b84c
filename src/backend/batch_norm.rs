//! Batch normalization of feature maps in training, with kernels for both passes.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};
use burn::tensor::TensorData;
use regulus_kernels::batch_norm::{self, Layer, Normalized, Saved, Sizes};

use super::fused::path;
use super::host::{Host, give, in_order};

fn sizes<B: Host>(images: &FloatTensor<B>) -> Sizes {
    let shape = images.shape();
    Sizes { batch: shape[0], channels: shape[1], positions: shape[2] * shape[3] }
}

/// The output, and mean and biased variance of each channel, one list after the other.
pub(super) fn forward<B: Host>(
    images: &FloatTensor<B>,
    gamma: &FloatTensor<B>,
    beta: &FloatTensor<B>,
    epsilon: f32,
) -> (FloatTensor<B>, Vec<f32>) {
    let Normalized { out, mut mean, variance } = in_order::<B, _>(images, |numbers| {
        in_order::<B, _>(gamma, |gamma| {
            in_order::<B, _>(beta, |beta| {
                let layer = Layer { gamma, beta, epsilon };
                batch_norm::forward(path(), numbers, sizes::<B>(images), layer, rayon::current_num_threads())
            })
        })
    });
    mean.extend(variance);
    (give::<B>(out, images.shape(), &images.device()), mean)
}

#[derive(Debug)]
struct BatchNorm;

#[derive(Clone, Debug)]
struct Inputs<B: Host> {
    images: FloatTensor<B>,
    gamma: FloatTensor<B>,
    statistics: Arc<Vec<f32>>,
    epsilon: f32,
}

impl<B: Host> Backward<B, 3> for BatchNorm {
    type State = Inputs<B>;

    fn backward(self, ops: Ops<Inputs<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let Inputs { images, gamma, statistics, epsilon } = ops.state;
        let sizes = sizes::<B>(&images);
        let (mean, variance) = statistics.split_at(sizes.channels);
        let threads = rayon::current_num_threads();
        let found = in_order::<B, _>(&images, |images| {
            in_order::<B, _>(&gradient, |gradient| {
                in_order::<B, _>(&gamma, |gamma| {
                    let saved = Saved { images, sizes, gamma, mean, variance, epsilon };
                    batch_norm::backward(path(), &saved, gradient, threads)
                })
            })
        });
        let (shape, device) = (images.shape(), images.device());
        let [images_node, gamma_node, beta_node] = ops.parents;
        if let Some(node) = images_node {
            grads.register::<B>(node.id, give::<B>(found.images, shape, &device));
        }
        for (node, numbers) in [(gamma_node, found.gamma), (beta_node, found.beta)] {
            if let Some(node) = node {
                grads.register::<B>(node.id, give::<B>(numbers, [sizes.channels], &device));
            }
        }
    }
}

/// The forward pass under autodiff, which does not follow the statistics.
pub(super) fn tracked<B: Host, C: CheckpointStrategy>(
    images: FloatTensor<Autodiff<B, C>>,
    gamma: FloatTensor<Autodiff<B, C>>,
    beta: FloatTensor<Autodiff<B, C>>,
    epsilon: f32,
) -> [FloatTensor<Autodiff<B, C>>; 2] {
    let ((images, images_node), (gamma, gamma_node), (beta, beta_node)) = (images.into_parts(), gamma.into_parts(), beta.into_parts());
    let (out, statistics) = forward::<B>(&images, &gamma, &beta, epsilon);
    let data = TensorData::new(statistics.clone(), [2, statistics.len() / 2]);
    let of_batch = Autodiff::<B, C>::float_from_data(data, &images.device());
    let out = match BatchNorm.prepare::<C>([images_node, gamma_node, beta_node]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(Inputs { images, gamma, statistics: Arc::new(statistics), epsilon }, out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    };
    [out, of_batch]
}
