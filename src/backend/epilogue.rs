//! What follows a convolution, on images stored channels-last: normalization or a bias, addition, activation and pool.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};
use regulus_kernels::epilogue::{self, Addition, Affine, Normalization, Saved, Sizes, Steps};

use super::fused::path;
use super::host::{Host, give, in_order, recycle, take_or_copy};

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epilogue {
    /// Addition, activation and pool.
    pub steps: Steps,
    /// How the numbers are scaled and shifted before that.
    pub affine: AffineKind,
}

/// What the scale and the shift of each channel are made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AffineKind {
    /// They are given.
    Given,
    /// γ and β are given, and the statistics of the batch, which depend on the images.
    BatchStatistics {
        /// Added to the variance.
        epsilon: f64,
    },
    /// γ and β are given, and statistics that do not depend on the images.
    FixedStatistics {
        /// Added to the variance.
        epsilon: f64,
    },
}

/// The tensors it takes; what is added and the statistics are any tensor where there are none.
#[derive(Clone, Debug)]
pub(super) struct Inputs<B: Host> {
    pub(super) images: FloatTensor<B>,
    pub(super) scale: FloatTensor<B>,
    pub(super) shift: FloatTensor<B>,
    pub(super) other: FloatTensor<B>,
    pub(super) statistics: FloatTensor<B>,
}

impl<B: Host> Inputs<B> {
    fn sizes(&self) -> Sizes {
        let shape = self.images.shape();
        Sizes { batch: shape[0], height: shape[1], width: shape[2], channels: shape[3] }
    }

    /// Mean and variance of each channel, one list after the other.
    fn statistics(&self) -> Vec<f32> {
        in_order::<B, _>(&self.statistics, <[f32]>::to_vec)
    }

    fn affine(&self, kind: AffineKind) -> Affine {
        in_order::<B, _>(&self.scale, |scale| {
            in_order::<B, _>(&self.shift, |shift| match kind {
                AffineKind::Given => Affine { scale: scale.to_vec(), shift: shift.to_vec() },
                AffineKind::BatchStatistics { epsilon } | AffineKind::FixedStatistics { epsilon } => {
                    let statistics = self.statistics();
                    let (mean, variance) = statistics.split_at(scale.len());
                    Affine::normalization([mean, variance], [scale, shift], epsilon)
                }
            })
        })
    }
}

/// Calls `read` with what is added.
fn with_other<B: Host, R>(other: &FloatTensor<B>, steps: Steps, read: impl FnOnce(&[f32]) -> R) -> R {
    if steps.addition == Addition::None { read(&[]) } else { in_order::<B, _>(other, read) }
}

/// The forward pass, and the factors.
pub(super) fn forward<B: Host>(inputs: &Inputs<B>, epilogue: Epilogue) -> (FloatTensor<B>, Affine) {
    let Epilogue { steps, affine } = epilogue;
    let (sizes, affine) = (inputs.sizes(), inputs.affine(affine));
    let out = in_order::<B, _>(&inputs.images, |images| {
        with_other::<B, _>(&inputs.other, steps, |other| {
            epilogue::forward(path(), sizes, steps, images, &affine, other, rayon::current_num_threads())
        })
    });
    let [rows, columns] = sizes.sides(steps);
    (give::<B>(out, [sizes.batch, rows, columns, sizes.channels], &inputs.images.device()), affine)
}

#[derive(Debug)]
struct Follow;

#[derive(Clone, Debug)]
struct State<B: Host> {
    inputs: Inputs<B>,
    epilogue: Epilogue,
    affine: Arc<Affine>,
}

impl<B: Host> Backward<B, 4> for Follow {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let State { inputs, epilogue: Epilogue { steps, affine: kind }, affine } = ops.state;
        let (sizes, shape, device) = (inputs.sizes(), inputs.images.shape(), inputs.images.device());
        let statistics = if let AffineKind::BatchStatistics { epsilon } = kind { Some((inputs.statistics(), epsilon)) } else { None };
        let normalization = statistics.as_ref().map(|(statistics, epsilon)| {
            let (mean, variance) = statistics.split_at(sizes.channels);
            Normalization { mean, variance, epsilon: *epsilon }
        });
        let found = in_order::<B, _>(&gradient, |gradient| {
            with_other::<B, _>(&inputs.other, steps, |other| {
                let saved = Saved { sizes, steps, affine: &affine, other, normalization };
                epilogue::backward(path(), take_or_copy::<B>(inputs.images), &saved, gradient, rayon::current_num_threads())
            })
        });
        let [images_node, scale_node, shift_node, other_node] = ops.parents;
        if let Some(node) = images_node {
            grads.register::<B>(node.id, give::<B>(found.images, shape.clone(), &device));
        }
        for (node, numbers) in [(scale_node, found.scale), (shift_node, found.shift)] {
            if let Some(node) = node {
                grads.register::<B>(node.id, give::<B>(numbers, [sizes.channels], &device));
            }
        }
        let is_output = other_node.is_some();
        if let Some(node) = other_node {
            match steps.addition {
                Addition::None => {}
                Addition::Before => grads.register::<B>(node.id, give::<B>(found.other, shape, &device)),
                Addition::After => grads.register::<B>(node.id, gradient.clone()),
            }
        }
        recycle::<B>(is_output.then_some(inputs.other).into_iter().chain([gradient]));
    }
}

/// The forward pass under autodiff.
pub(super) fn tracked<B: Host, C: CheckpointStrategy>(
    [images, scale, shift, other, statistics]: [FloatTensor<Autodiff<B, C>>; 5],
    epilogue: Epilogue,
) -> FloatTensor<Autodiff<B, C>> {
    let ((images, images_node), (scale, scale_node), (shift, shift_node)) = (images.into_parts(), scale.into_parts(), shift.into_parts());
    let ((other, other_node), (statistics, _)) = (other.into_parts(), statistics.into_parts());
    let inputs = Inputs::<B> { images, scale, shift, other, statistics };
    let (out, affine) = forward::<B>(&inputs, epilogue);
    match Follow.prepare::<C>([images_node, scale_node, shift_node, other_node]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(State { inputs, epilogue, affine: Arc::new(affine) }, out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    }
}
