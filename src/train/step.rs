//! The training step: gradient of data loss plus penalty, clipped, and one step of the optimizer.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::prelude::*;
use burn::tensor::TensorData;
use rand::RngExt;

use super::ParameterOptimizer;
use crate::data::{Ahead, Batch, Batcher, Part};
use crate::model::Network;
use crate::objective::{Penalties, data_loss};
use crate::seed::Seed;

/// Added to the norm in clipping, as PyTorch's `clip_grad_norm_` does.
const CLIP_EPSILON: f64 = 1e-6;

/// Takes training steps.
pub struct Stepper<'a> {
    /// Where samples come from.
    pub part: &'a Part,
    /// How they become tensors.
    pub batcher: &'a Batcher,
    /// The seed of dropout.
    pub seed: Seed,
    /// The probability of dropping a hidden unit.
    pub dropout: f64,
    /// The part of a sample's target that is spread evenly over the classes.
    pub label_smoothing: f64,
    /// Samples computed at once.
    pub micro_batch: usize,
    /// The largest norm of the gradient.
    pub clip_norm: Option<f64>,
    /// Samples assembled ahead of their turn.
    pub ahead: Ahead,
}

/// What is particular to one step.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The samples of its batch.
    pub indices: &'a [u32],
    /// Those of the step after it; none if they are not known.
    pub upcoming: &'a [u32],
    /// The learning rate.
    pub rate: f64,
    /// The regularization terms, with the λ in force.
    pub penalties: &'a Penalties,
    /// The steps before it.
    pub step: u64,
}

/// The sums of one step, still on the device: `[3]` of data loss, penalty and samples classified rightly.
pub type StepSums = Tensor<1>;

impl Stepper<'_> {
    /// One step: the network after it, and the sums before it.
    #[must_use]
    pub fn step(&mut self, network: Network, optimizer: &mut ParameterOptimizer, turn: Turn) -> (Network, StepSums) {
        let (gradients, sums) = self.gradients(&network, turn);
        (optimizer.step(turn.rate, network, gradients, turn.penalties, turn.indices.len()), sums)
    }

    /// The gradient of the objective for every parameter, clipped, and the sums.
    ///
    /// A batch larger than `micro_batch` is computed in parts; each part's mean loss counts by its share of the batch, and the penalty
    /// is added once, so that the gradient is that of the whole batch.
    #[must_use]
    pub fn gradients(&mut self, network: &Network, turn: Turn) -> (GradientsParams, StepSums) {
        let Turn { indices, upcoming, penalties, step, .. } = turn;
        let mut accumulator = GradientsAccumulator::new();
        let mut sums: Option<StepSums> = None;
        let mut penalty = penalties.on(network, indices.len());
        let mut chance = self.seed.stream("dropout", step);
        let mut chunks = indices.chunks(self.micro_batch).chain(upcoming.chunks(self.micro_batch).take(1)).peekable();
        for _ in 0..indices.len().div_ceil(self.micro_batch) {
            let Some(chunk) = chunks.next() else { break };
            let kept = self.kept(network, chunk.len(), &mut chance, self.batcher.device());
            let penalty = penalty.take();
            let share = chunk.len() as f64 / indices.len() as f64;
            let (gradients, told) =
                self.ahead.during(self.batcher, self.part, chunk, chunks.peek().copied(), |Batch { images, labels }| {
                    let (mut loss, correct) = data_loss(network.kernels(), network.forward(images, kept), labels, self.label_smoothing);
                    if chunk.len() < indices.len() {
                        loss = loss.mul_scalar(share);
                    }
                    let told_loss = loss.clone().inner();
                    let told_penalty = penalty.clone().map_or_else(|| told_loss.zeros_like(), Tensor::inner);
                    if let Some(penalty) = penalty {
                        loss = loss + penalty;
                    }
                    let gradients = GradientsParams::from_grads(loss.backward(), network);
                    (gradients, Tensor::cat(vec![told_loss, told_penalty, correct.float()], 0))
                });
            match sums.take() {
                // The common step is one chunk: its gradients are passed on as they are.
                None if chunk.len() == indices.len() => return (self.clipped(network, gradients), told),
                None => sums = Some(told),
                Some(sum) => sums = Some(sum + told),
            }
            accumulator.accumulate(network, gradients);
        }
        let sums = sums.unwrap_or_else(|| Tensor::zeros([3], &self.batcher.device().clone().inner()));
        (self.clipped(network, accumulator.grads()), sums)
    }

    /// What hidden units are multiplied by: 0 with the probability of dropout, else 1/(1 − probability).
    fn kept(&self, network: &Network, batch: usize, chance: &mut rand_chacha::ChaCha8Rng, device: &Device) -> Option<Tensor<2>> {
        if self.dropout == 0.0 {
            return None;
        }
        let hidden = network.architecture().hidden;
        #[expect(clippy::cast_possible_truncation, reason = "a factor of float32 activations")]
        let scale = (1.0 / (1.0 - self.dropout)) as f32;
        let values: Vec<f32> = (0..batch * hidden).map(|_| if chance.random_bool(self.dropout) { 0.0 } else { scale }).collect();
        Some(Tensor::from_data(TensorData::new(values, [batch, hidden]), device))
    }

    /// Gradients scaled down together to `clip_norm`, if they are longer (Pascanu et al. 2013, arXiv 1211.5063).
    fn clipped(&self, network: &Network, gradients: GradientsParams) -> GradientsParams {
        let Some(largest) = self.clip_norm else {
            return gradients;
        };
        let mut squares = Squares { gradients: &gradients, sum: None };
        network.visit(&mut squares);
        let Some(sum) = squares.sum else { return gradients };
        // An infinite norm must not pass as a gradient of 0: infinity · 0 is not a number, and is told as divergence.
        let not_a_number = sum.clone().mul_scalar(0.0);
        let scale = not_a_number + sum.sqrt().add_scalar(CLIP_EPSILON).recip().mul_scalar(largest).clamp_max(1.0);
        let mut scaling = Scaling { gradients, scaled: GradientsParams::new(), factor: scale };
        network.visit(&mut scaling);
        scaling.scaled
    }
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let squares = gradient.square().sum();
            self.sum = Some(match self.sum.take() {
                None => squares,
                Some(sum) => sum + squares,
            });
        }
    }
}

struct Scaling {
    gradients: GradientsParams,
    scaled: GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for Scaling {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.scaled.register(param.id, gradient * self.factor.clone().reshape([1; D]));
        }
    }
}
