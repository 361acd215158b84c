//! Fused optimizers for the CPU backends: one pass in place. Results and state are those of Burn's optimizers.

use burn::optim::{AdamState, AdaptiveMomentumState, LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::prelude::*;

use crate::backend::optimizer_steps;
use regulus_kernels::update;

/// Adam, with decoupled weight decay if it is not 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adam {
    pub(super) beta_1: f32,
    pub(super) beta_2: f32,
    pub(super) epsilon: f32,
    pub(super) weight_decay: f64,
}

impl Optimizer for Adam {
    type State<const D: usize> = AdamState<D>;

    #[expect(clippy::cast_possible_truncation, reason = "a factor of float32 weights")]
    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weights: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamState<D>>,
    ) -> (Tensor<D>, Option<AdamState<D>>) {
        let mut state =
            state.unwrap_or_else(|| AdamState::new(AdaptiveMomentumState::new(0, gradient.zeros_like(), gradient.zeros_like())));
        state.momentum.time += 1;
        let constants = update::Adam {
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            epsilon: self.epsilon,
            rate: rate as f32,
            retained: (1.0 - rate * self.weight_decay) as f32,
            step: i32::try_from(state.momentum.time).unwrap_or(i32::MAX),
        };
        let AdaptiveMomentumState { time, moment_1, moment_2, .. } = state.momentum;
        let (weights, [moment_1, moment_2]) = optimizer_steps::adam(weights, gradient, [moment_1, moment_2], constants);
        (weights, Some(AdamState::new(AdaptiveMomentumState::new(time, moment_1, moment_2))))
    }

    fn to_device<const D: usize>(mut state: AdamState<D>, device: &Device) -> AdamState<D> {
        state.momentum = state.momentum.to_device(device);
        state
    }
}

/// Stochastic gradient descent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descent {
    pub(super) momentum: f32,
    pub(super) nesterov: bool,
}

/// The velocity of momentum. `None` without momentum.
#[derive(Clone)]
pub(super) struct Velocity<const D: usize>(Option<Tensor<D>>);

/// The name of the tensor in Burn's `SgdState`.
const VELOCITY: &str = "momentum.velocity";

impl<const D: usize> RecordState for Velocity<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        if let Some(velocity) = &self.0 {
            out.push_tensor(prefix, VELOCITY, velocity.to_data());
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        Some(Self(source.take_tensor(prefix, VELOCITY).map(|data| Tensor::from_data(data, device))))
    }
}

impl Optimizer for Descent {
    type State<const D: usize> = Velocity<D>;

    #[expect(clippy::cast_possible_truncation, reason = "a factor of float32 weights")]
    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weights: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Velocity<D>>,
    ) -> (Tensor<D>, Option<Velocity<D>>) {
        let rate = rate as f32;
        if self.momentum == 0.0 {
            return (optimizer_steps::descend(weights, gradient, rate), Some(Velocity(None)));
        }
        let velocity = state.and_then(|state| state.0).unwrap_or_else(|| gradient.zeros_like());
        let constants = update::Descent { rate, momentum: self.momentum, nesterov: self.nesterov };
        let (weights, velocity) = optimizer_steps::descend_with_momentum(weights, gradient, velocity, constants);
        (weights, Some(Velocity(Some(velocity))))
    }

    fn to_device<const D: usize>(state: Velocity<D>, device: &Device) -> Velocity<D> {
        Velocity(state.0.map(|velocity| velocity.to_device(device)))
    }
}
