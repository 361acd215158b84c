//! What each stage of a network computes.

use burn::module::Param;
use burn::prelude::*;
use burn::tensor::activation::relu;
use rand_chacha::ChaCha8Rng;
use regulus_kernels::epilogue::{Activation, Steps};
use regulus_model::fusion::{Epilogue, Stage, StageKind};
use regulus_model::graph::Op;

use super::batch_norm::BatchStatistics;
use super::output::{Output, pointwise};
use super::{Network, conv, dropout, pool};
use crate::backend::fused::PooledWalk;
use crate::backend::{self, AffineKind, fused};

/// How a pass computes what training and evaluation do differently.
pub(super) enum Mode<'a> {
    Evaluation,
    /// The statistics are those of each normalization that has been computed, with its index among all.
    Training {
        chance: &'a mut ChaCha8Rng,
        statistics: Vec<(usize, BatchStatistics)>,
    },
}

impl Network {
    /// What a stage gives for its inputs.
    pub(super) fn stage(&self, stage: &Stage, inputs: Vec<Output>, mode: &mut Mode) -> Output {
        let (first, algorithm) = (stage.first(), self.algorithm().unwrap_or_default());
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().unwrap_or_else(|| unreachable!("a graph is checked when it is made: a node has its inputs"));
        match (stage.kind, &self.graph().nodes()[first].op) {
            (StageKind::ConvReluPool { channels_last }, Op::Conv(op)) => {
                let conv = &self.conv[self.slot(first)];
                let bias = conv.bias.as_ref().map_or_else(|| unreachable!("it is fused where there is a bias"), Param::val);
                let walk = PooledWalk { padding: op.padding[0], channels_last, algorithm };
                Output::Map(fused::conv_relu_pool(next().map(), conv.weight.val(), bias, walk))
            }
            (StageKind::Conv(epilogue), Op::Conv(op)) => {
                let (conv, images) = (&self.conv[self.slot(first)], next().channels_last());
                let has_moments = epilogue.norm.is_some_and(|norm| self.has_batch_statistics(norm, mode));
                let (out, moments) = conv::forward_channels_last(conv, op, images, algorithm, has_moments);
                if epilogue == Epilogue::default() && conv.bias.is_none() {
                    return Output::ChannelsLast(out);
                }
                let other = (stage.inputs.len() > 1).then(|| next().channels_last());
                self.epilogue(epilogue, out, other, conv.bias.as_ref().map(Param::val), Some(moments), mode)
            }
            (StageKind::BatchNorm(epilogue), _) => {
                let (x, has_other) = (next(), stage.inputs.len() > 1);
                let is_vector = matches!(x, Output::Vector(_));
                let (images, other) = (x.channels_last(), has_other.then(|| next().channels_last()));
                let moments = self.has_batch_statistics(first, mode).then(|| fused::moments(images.clone()));
                let out = self.epilogue(epilogue, images, other, None, moments, mode);
                if is_vector { flattened(out) } else { out }
            }
            (StageKind::Dense { relu }, _) => {
                let dense = &self.dense[self.slot(first)];
                let weights = dense.weight.val();
                let bias = dense.bias.as_ref().map_or_else(|| Tensor::zeros([weights.dims()[1]], &weights.device()), Param::val);
                Output::Vector(fused::dense(next().vector(), weights, bias, relu))
            }
            (_, op) => self.node(first, op, &mut next, mode),
        }
    }

    /// Whether a normalization takes the statistics of the batch.
    fn has_batch_statistics(&self, norm: usize, mode: &Mode) -> bool {
        matches!(mode, Mode::Training { .. }) && !self.graph().is_fixed(norm)
    }

    /// What follows a convolution. `moments` are those of the batch, in training.
    fn epilogue(
        &self,
        epilogue: Epilogue,
        images: Tensor<4>,
        other: Option<Tensor<4>>,
        bias: Option<Tensor<1>>,
        moments: Option<Tensor<2>>,
        mode: &mut Mode,
    ) -> Output {
        let Epilogue { norm, steps } = epilogue;
        let [batch, height, width, channels] = images.dims();
        let Some(norm) = norm else {
            let ones = Tensor::ones([channels], &images.device());
            let shift = bias.unwrap_or_else(|| ones.zeros_like());
            let epilogue = backend::Epilogue { steps, affine: AffineKind::Given };
            return Output::ChannelsLast(fused::epilogue(images, [ones, shift], other, None, epilogue));
        };
        let (slot, is_fixed) = (self.slot(norm), self.graph().is_fixed(norm));
        let norm = &self.batch_norm[slot];
        let (statistics, affine) = match mode {
            Mode::Training { statistics, .. } if !is_fixed => {
                let moments = moments.unwrap_or_else(|| unreachable!("the moments of a batch are computed in training"));
                statistics.push((slot, BatchStatistics::of(moments.clone().inner(), batch * height * width)));
                (moments, AffineKind::BatchStatistics { epsilon: norm.epsilon() })
            }
            _ => (norm.running_statistics(), AffineKind::FixedStatistics { epsilon: norm.epsilon() }),
        };
        let epilogue = backend::Epilogue { steps, affine };
        Output::ChannelsLast(fused::epilogue(images, norm.scale_and_shift(), other, Some(statistics), epilogue))
    }

    /// One node by itself.
    fn node(&self, index: usize, op: &Op, next: &mut impl FnMut() -> Output, mode: &mut Mode) -> Output {
        let x = next();
        match op {
            Op::Conv(_) => Output::Map(self.conv[self.slot(index)].forward(x.map())),
            Op::Dense(_) => Output::Vector(self.dense[self.slot(index)].forward(x.vector())),
            Op::BatchNorm(_) => {
                let (slot, is_fixed) = (self.slot(index), self.graph().is_fixed(index));
                let norm = &self.batch_norm[slot];
                match mode {
                    Mode::Training { statistics, .. } if !is_fixed => {
                        let x = if let Output::ChannelsLast(_) = x { Output::Map(x.map()) } else { x };
                        pointwise!(x, x => {
                            let (x, batch) = norm.forward_training(x);
                            statistics.push((slot, batch));
                            x
                        })
                    }
                    _ => pointwise!(x, x => norm.forward(x)),
                }
            }
            Op::Relu(_) => pointwise!(x, x => relu(x)),
            Op::Relu6(_) => pointwise!(x, x => relu6(x)),
            // By the kernel, which has the bits of inference without Burn.
            Op::Gelu(_) if self.implementation().is_fused() => {
                let is_vector = matches!(x, Output::Vector(_));
                let steps = Steps { activation: Activation::Gelu, ..Steps::default() };
                let out = self.epilogue(Epilogue { norm: None, steps }, x.channels_last(), None, None, None, mode);
                if is_vector { flattened(out) } else { out }
            }
            Op::Gelu(_) => pointwise!(x, x => gelu(x)),
            Op::MaxPool(_) | Op::AveragePool(_) | Op::GlobalAveragePool(_) | Op::GlobalMaxPool(_) if self.implementation().is_fused() => {
                pool::channels_last(op, x.channels_last())
            }
            Op::MaxPool(op) => Output::Map(pool::max(op, x.map())),
            Op::AveragePool(op) => Output::Map(pool::average(op, x.map())),
            Op::GlobalAveragePool(_) => Output::Vector(pool::global_average(x.map())),
            Op::GlobalMaxPool(_) => Output::Vector(pool::global_max(x.map())),
            Op::Add(_) => match (x, next()) {
                (left @ Output::Vector(_), right) => Output::Vector(left.vector() + right.vector()),
                (Output::Map(left), right) => Output::Map(left + right.map()),
                (left, right) => Output::ChannelsLast(left.channels_last() + right.channels_last()),
            },
            Op::Subtract(_) => match (x, next()) {
                (left @ Output::Vector(_), right) => Output::Vector(left.vector() - right.vector()),
                (Output::Map(left), right) => Output::Map(left - right.map()),
                (left, right) => Output::ChannelsLast(left.channels_last() - right.channels_last()),
            },
            Op::Flatten(_) => match x {
                Output::Vector(x) => Output::Vector(x),
                map => Output::Vector(map.map().flatten(1, 3)),
            },
            Op::Dropout(op) => match mode {
                Mode::Evaluation => x,
                Mode::Training { chance, .. } => pointwise!(x, x => dropout::drop(x, op.rate, chance)),
            },
        }
    }
}

/// Images of one pixel as vectors.
fn flattened(out: Output) -> Output {
    Output::Vector(out.channels_last().flatten(1, 3))
}

/// x·Φ(x) by the error function. The gradient of Burn's own GELU is that of an approximation on some backends.
fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let distribution = ((x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
    x * distribution
}

/// min(max(x, 0), 6). The gradient is 0 at 0 and at 6, as PyTorch's.
fn relu6<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let x = relu(x);
    let is_saturated = x.clone().greater_equal_elem(6.0);
    x.mask_fill(is_saturated, 6.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::any_cpu;

    /// The numbers are PyTorch's, as in the tests of the kernels.
    #[test]
    fn gelu_and_its_gradient_are_pytorchs() {
        let x = Tensor::<1>::from_floats([-3.0, -0.5, 0.0, 1.0, 4.0], &any_cpu().autodiff().device).require_grad();
        let y = gelu(x.clone());
        let gradient = x.grad(&y.clone().sum().backward()).unwrap();
        let close = |found: Tensor<1>, expected: [f32; 5]| {
            let found = found.into_data().try_into_vec::<f32>().unwrap();
            assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 5e-7), "{found:?} and {expected:?}");
        };
        close(y, [-0.004_049_694, -0.154_268_77, 0.0, 0.841_344_7, 3.999_873_3]);
        close(gradient, [-0.011_945_647, 0.132_504_88, 0.5, 1.083_315_5, 1.000_503_7]);
    }

    #[test]
    fn the_gradient_of_relu6_is_0_at_both_ends() {
        let x = Tensor::<1>::from_floats([-1.0, 0.0, 3.0, 6.0, 7.0], &any_cpu().autodiff().device).require_grad();
        let y = relu6(x.clone());
        assert_eq!(y.to_data().try_into_vec::<f32>().unwrap(), [0.0, 0.0, 3.0, 6.0, 6.0]);
        let gradient = x.grad(&y.sum().backward()).unwrap();
        assert_eq!(gradient.into_data().try_into_vec::<f32>().unwrap(), [0.0, 0.0, 1.0, 0.0, 0.0]);
    }
}
