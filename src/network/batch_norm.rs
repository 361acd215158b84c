//! Batch normalization, equal to PyTorch's.
//!
//! Burn's own `BatchNorm` keeps its running statistics behind a lock that clones of a network share, and feeds them biased variances. Here they are parameters
//! without gradient, and a pass in training gives the batch's statistics back.

use burn::module::{Module, Param, ParamId};
use burn::prelude::*;
use burn::tensor::module::{batch_norm, batch_norm_train};
use regulus_model::graph;

/// γ, β and running statistics, each `[channels]`.
#[derive(Module, Debug)]
pub(super) struct BatchNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: Param<Tensor<1>>,
    running_var: Param<Tensor<1>>,
    #[module(skip)]
    op: graph::BatchNorm,
}

/// The statistics of one batch: mean and unbiased variance of each channel, on a device without autodiff.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    mean: Tensor<1>,
    variance: Tensor<1>,
}

impl BatchStatistics {
    /// Those of mean and biased variance, `[2, channels]`, over `count` numbers.
    pub(super) fn of(moments: Tensor<2>, count: usize) -> Self {
        let [_, channels] = moments.dims();
        let count = count as f64;
        let mean = moments.clone().slice(s![0..1, ..]).reshape([channels]);
        let variance = moments.slice(s![1..2, ..]).reshape([channels]).mul_scalar(count / (count - 1.0));
        Self { mean, variance }
    }
}

impl BatchNorm {
    /// A normalization whose parameters are 0.
    pub(super) fn blank(op: &graph::BatchNorm, channels: usize, device: &Device) -> Self {
        let zeros = || Tensor::zeros([channels], device);
        let buffer = || Param::initialized(ParamId::new(), zeros());
        Self {
            weight: Param::from_tensor(zeros()),
            bias: Param::from_tensor(zeros()),
            running_mean: buffer(),
            running_var: buffer(),
            op: op.clone(),
        }
    }

    /// By the running statistics.
    pub(super) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (mean, variance) = (self.running_mean.val(), self.running_var.val());
        batch_norm(x, self.weight.val(), self.bias.val(), mean, variance, self.op.epsilon)
    }

    /// γ and β.
    pub(super) fn scale_and_shift(&self) -> [Tensor<1>; 2] {
        [self.weight.val(), self.bias.val()]
    }

    /// The running mean and variance, `[2, channels]`.
    pub(super) fn running_statistics(&self) -> Tensor<2> {
        Tensor::stack(vec![self.running_mean.val(), self.running_var.val()], 0)
    }

    /// What is added to a variance.
    pub(super) const fn epsilon(&self) -> f64 {
        self.op.epsilon
    }

    /// By the batch's own statistics, which it gives too.
    pub(super) fn forward_training<const D: usize>(&self, x: Tensor<D>) -> (Tensor<D>, BatchStatistics) {
        let [_, channels] = [0, 1].map(|axis| x.dims()[axis]);
        let count = (x.shape().num_elements() / channels) as f64;
        let result = batch_norm_train(x, self.weight.val(), self.bias.val(), self.op.epsilon);
        let variance = result.variance.inner().mul_scalar(count / (count - 1.0));
        (result.output, BatchStatistics { mean: result.mean.inner(), variance })
    }

    /// The same with running statistics that have taken a batch in.
    pub(super) fn updated(self, batch: &BatchStatistics) -> Self {
        let momentum = self.op.momentum;
        let update = |running: Param<Tensor<1>>, newest: &Tensor<1>| {
            let (id, old, mapper) = running.consume();
            let old = old.inner();
            let new = old.mul_scalar(1.0 - momentum) + newest.clone().mul_scalar(momentum);
            Param::from_mapped_value(id, Tensor::from_inner(new), mapper)
        };
        Self { running_mean: update(self.running_mean, &batch.mean), running_var: update(self.running_var, &batch.variance), ..self }
    }
}
