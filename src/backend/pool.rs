//! Pools of images stored channels-last.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};
use regulus_kernels::pool::{self, Pool};

use super::fused::path;
use super::host::{Host, give, in_order, recycle};

/// The forward pass.
pub(super) fn forward<B: Host>(images: &FloatTensor<B>, pool: Pool) -> FloatTensor<B> {
    let (batch, [rows, columns]) = (images.shape()[0], pool.sides());
    let out = in_order::<B, _>(images, |images| pool::forward(path(), pool, images, rayon::current_num_threads()));
    give::<B>(out, [batch, rows, columns, pool.channels], &images.device())
}

#[derive(Debug)]
struct Pooling;

impl<B: Host> Backward<B, 1> for Pooling {
    type State = (FloatTensor<B>, Pool);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (images, pool) = ops.state;
        if let [Some(node)] = ops.parents {
            let found = in_order::<B, _>(&images, |images| {
                in_order::<B, _>(&gradient, |gradient| pool::backward(path(), pool, images, gradient, rayon::current_num_threads()))
            });
            grads.register::<B>(node.id, give::<B>(found, images.shape(), &images.device()));
        }
        recycle::<B>([images, gradient]);
    }
}

/// The forward pass under autodiff.
pub(super) fn tracked<B: Host, C: CheckpointStrategy>(images: FloatTensor<Autodiff<B, C>>, pool: Pool) -> FloatTensor<Autodiff<B, C>> {
    let (images, node) = images.into_parts();
    let out = forward::<B>(&images, pool);
    match Pooling.prepare::<C>([node]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((images, pool), out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    }
}
