//! Burn's optimizers, with their state stored by parameter name.
//!
//! Burn's `ModuleOptimizer` stores it by random identifiers and restores it on the default device, which need not be the device of the run in a build
//! with a GPU backend. The steps are Burn's, or the fused ones of `fused_optimizer`.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::ParamId;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamConfig, AdamState, AdamWConfig, AdamWState, DynOptimizer, DynState, GradientsParams, RmsPropConfig, SgdConfig, StateSink,
    StateSource,
};
use burn::prelude::*;
use burn::tensor::{Bytes, TensorData};
use burn_pack::{Reader, Scalar, Writer};
use regulus_model::graph::Parameter;

use super::{StepContext, fused_optimizer};
use crate::backend::fused::Norm;
use crate::backend::{ComputeDevice, numbers};
use crate::config::number::Fraction;
use crate::config::{Implementation, Method};
use crate::network::{Network, ParamMapper, output_axis};
use crate::objective::{NonGradientUpdate, Observed, Penalties, SteppedParameter, norm_of};

/// An optimizer and its state for every parameter.
#[derive(Clone)]
pub struct ParameterOptimizer {
    kind: Method,
    implementation: Implementation,
    method: Arc<dyn DynOptimizer>,
    states: BTreeMap<String, DynState>,
    /// The factors of the learning rate by name of parameter; 1 where there is none.
    rates: BTreeMap<String, f64>,
}

const RANK: &str = "rank";

impl ParameterOptimizer {
    /// An optimizer without state.
    #[must_use]
    pub fn new(method: &Method, implementation: Implementation) -> Self {
        Self { kind: *method, implementation, method: build(method, implementation), states: BTreeMap::new(), rates: BTreeMap::new() }
    }

    /// The same with these factors of the learning rate, by name of parameter.
    #[must_use]
    pub fn with_rates(self, rates: BTreeMap<String, f64>) -> Self {
        Self { rates, ..self }
    }

    /// One step of every parameter that has a gradient, with the decoupled decay and the proximal step of the penalties.
    #[must_use]
    pub fn step(&mut self, network: Network, gradients: GradientsParams, penalties: &mut Penalties, context: StepContext) -> Network {
        network.map_parameters(&mut Step { optimizer: self, gradients, penalties, context })
    }

    /// Adam's √v̂ + ε of the last step; empty for SGD and `RMSprop`.
    fn metric<const D: usize>(&self, state: &DynState) -> Vec<f32> {
        let (momentum, beta_2, epsilon) = match self.kind {
            Method::Adam { beta_2, epsilon, .. } => (&state.downcast_ref::<AdamState<D>>().momentum, beta_2, epsilon),
            Method::AdamW { beta_2, epsilon, .. } if self.implementation.is_fused() => {
                (&state.downcast_ref::<AdamState<D>>().momentum, beta_2, epsilon)
            }
            Method::AdamW { beta_2, epsilon, .. } => (&state.downcast_ref::<AdamWState<D>>().momentum, beta_2, epsilon),
            Method::Sgd { .. } | Method::RmsProp { .. } => return Vec::new(),
        };
        #[expect(clippy::cast_possible_truncation, reason = "factors of float32 steps")]
        let (beta_2, epsilon) = (beta_2.get() as f32, epsilon.get() as f32);
        let correction = 1.0 - beta_2.powi(i32::try_from(momentum.time).unwrap_or(i32::MAX));
        let mut metric = numbers(momentum.moment_2.clone());
        metric.iter_mut().for_each(|second| *second = (*second / correction).sqrt() + epsilon);
        metric
    }

    /// The state after a step that ended with a proximal step. The velocity of momentum becomes (before − after)/η, so that it includes the proximal
    /// step (Ochs et al. 2014, *iPiano*, eq. 4).
    fn with_velocity<const D: usize>(&self, name: &str, state: DynState, [before, after]: [Tensor<D>; 2], rate: f64) -> DynState {
        let Method::Sgd { momentum, .. } = self.kind else { return state };
        #[expect(clippy::cast_possible_truncation, reason = "checks the rate in float32")]
        if momentum.get() == 0.0 || rate as f32 == 0.0 {
            return state;
        }
        let mut sink = StateSink::default();
        self.method.state_flatten(name, &state, &mut sink);
        let device = after.device();
        let velocity = (before - after).div_scalar(rate).into_data();
        let mut source = StateSource::new(sink.scalars.into_iter().collect());
        for (name, _) in sink.tensors {
            source.insert_tensor(name, velocity.clone());
        }
        let replaced = self.method.state_unflatten(D, name, &mut source, &device);
        replaced.unwrap_or_else(|| unreachable!("the state of `{name}` with another velocity is valid"))
    }

    /// The state in the burnpack format, by parameter name.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut sink = StateSink::default();
        for (name, state) in &self.states {
            self.method.state_flatten(name, state, &mut sink);
            sink.push_scalar(name, RANK, Scalar::from(state.rank()));
        }
        let tensors = sink.tensors.into_iter().map(|(name, data)| {
            let (bytes, shape, dtype) = data.into_parts();
            burn_pack::Tensor::new(name, dtype, shape, None, bytes)
        });
        let mut writer = Writer::new(tensors.collect());
        for (name, value) in &sink.scalars {
            writer = writer.with_scalar(name, *value);
        }
        let bytes = writer.into_bytes().unwrap_or_else(|error| unreachable!("state in memory serializes: {error}"));
        bytes.to_vec()
    }

    /// An optimizer with the state of [`ParameterOptimizer::to_bytes`], on `device`.
    ///
    /// # Errors
    ///
    /// The problem as text, when the bytes are not the state of this optimizer.
    pub fn from_bytes(kind: &Method, bytes: &[u8], device: &ComputeDevice) -> Result<Self, String> {
        let method = build(kind, device.implementation);
        let reader = Reader::from_bytes(Bytes::from_bytes_vec(bytes.to_vec())).map_err(|error| error.to_string())?;
        let scalars = reader.scalars().clone();
        let ranks: Vec<(String, usize)> = scalars
            .iter()
            .filter_map(|(key, value)| Some((key.strip_suffix(&format!(".{RANK}"))?.to_owned(), usize::try_from(*value).ok()?)))
            .collect();
        let mut source = StateSource::new(scalars);
        let tensors = reader.into_tensors().map_err(|error| error.to_string())?;
        if !tensors.is_empty() && kind.numbers_per_parameter() == 0 {
            return Err("it has the state of another optimizer".to_owned());
        }
        for tensor in tensors {
            let (name, dtype, shape, _, bytes) = tensor.into_parts().map_err(|error| error.to_string())?;
            source.insert_tensor(name, TensorData::from_bytes(bytes, shape, dtype));
        }
        let mut states = BTreeMap::new();
        for (name, rank) in ranks {
            let state = (1..=4).contains(&rank).then(|| method.state_unflatten(rank, &name, &mut source, &device.device)).flatten();
            states.insert(name.clone(), state.ok_or_else(|| format!("the state of `{name}` is not that of this optimizer"))?);
        }
        Ok(Self { kind: *kind, implementation: device.implementation, method, states, rates: BTreeMap::new() })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "Burn takes these as float32")]
fn build(method: &Method, implementation: Implementation) -> Arc<dyn DynOptimizer> {
    let float = |fraction: Fraction| fraction.get() as f32;
    if implementation.is_fused()
        && let Some(method) = build_fused(method)
    {
        return method;
    }
    match *method {
        Method::Sgd { momentum, nesterov } => {
            let momentum = (momentum.get() > 0.0)
                .then(|| MomentumConfig::new().with_momentum(momentum.get()).with_dampening(0.0).with_nesterov(nesterov));
            Arc::new(SgdConfig::new().with_momentum(momentum).build())
        }
        Method::Adam { beta_1, beta_2, epsilon } => {
            let config = AdamConfig::new().with_beta_1(float(beta_1)).with_beta_2(float(beta_2));
            Arc::new(config.with_epsilon(epsilon.get() as f32).build())
        }
        Method::AdamW { beta_1, beta_2, epsilon, weight_decay } => {
            let config = AdamWConfig::new().with_beta_1(float(beta_1)).with_beta_2(float(beta_2));
            Arc::new(config.with_epsilon(epsilon.get() as f32).with_weight_decay(weight_decay.get() as f32).build())
        }
        Method::RmsProp { alpha, momentum, epsilon, centered } => {
            let config = RmsPropConfig::new().with_alpha(float(alpha)).with_momentum(float(momentum));
            Arc::new(config.with_epsilon(epsilon.get() as f32).with_centered(centered).build())
        }
    }
}

/// The fused implementation of a method. Returns `None` if there is none.
#[expect(clippy::cast_possible_truncation, reason = "constants of float32 steps")]
fn build_fused(method: &Method) -> Option<Arc<dyn DynOptimizer>> {
    let adam = |beta_1: Fraction, beta_2: Fraction, epsilon: f64, weight_decay| fused_optimizer::Adam {
        beta_1: beta_1.get() as f32,
        beta_2: beta_2.get() as f32,
        epsilon: epsilon as f32,
        weight_decay,
    };
    match *method {
        Method::Sgd { momentum, nesterov } => Some(Arc::new(fused_optimizer::Descent { momentum: momentum.get() as f32, nesterov })),
        Method::Adam { beta_1, beta_2, epsilon } => Some(Arc::new(adam(beta_1, beta_2, epsilon.get(), 0.0))),
        Method::AdamW { beta_1, beta_2, epsilon, weight_decay } => Some(Arc::new(adam(beta_1, beta_2, epsilon.get(), weight_decay.get()))),
        Method::RmsProp { .. } => None,
    }
}

struct Step<'a> {
    optimizer: &'a mut ParameterOptimizer,
    gradients: GradientsParams,
    penalties: &'a mut Penalties,
    context: StepContext,
}

impl ParamMapper for Step<'_> {
    fn map<const D: usize>(&mut self, parameter: &Parameter, id: ParamId, tensor: Tensor<D>) -> Tensor<D> {
        let Some(gradient) = self.gradients.remove::<D>(id) else {
            return tensor;
        };
        let name = parameter.name.as_str();
        let StepContext { rate, step, samples } = self.context;
        let rate = rate * self.optimizer.rates.get(name).copied().unwrap_or(1.0);
        let NonGradientUpdate { decay, proximal } = self.penalties.non_gradient_update(name, samples);
        let is_bounded = self.penalties.bounded_fraction(name).is_some();
        let mut tensor = tensor.inner();
        if decay > 0.0 {
            tensor = tensor.mul_scalar(1.0 - rate * decay);
        }
        // A fused step overwrites a tensor without other references.
        let before = proximal.is_some().then(|| tensor.clone());
        let squares_before = is_bounded.then(|| self.squares(tensor.clone()));
        let state = self.optimizer.states.remove(name);
        let (stepped, mut state) = self.optimizer.method.step_dyn(D, rate, tensor.into_bridge(), gradient.into_bridge(), state);
        let mut stepped = Tensor::<D>::from_bridge(stepped);
        if let (Some(proximal), Some(before)) = (proximal, before) {
            let metric = state.as_ref().map_or_else(Vec::new, |state| self.optimizer.metric::<D>(state));
            stepped = proximal.apply(stepped, output_axis(parameter), rate, metric);
            state = state.map(|state| self.optimizer.with_velocity(name, state, [before, stepped.clone()], rate));
        }
        if let Some(before) = squares_before {
            let squares = [before, self.squares(stepped.clone())];
            let count = stepped.shape().num_elements();
            self.penalties.advance(Observed::OptimizerStep(SteppedParameter { name, step: step + 1, count, squares }));
            stepped = stepped.mul_scalar(1.0 - self.penalties.bounded_fraction(name).unwrap_or_default());
        }
        if let Some(state) = state {
            self.optimizer.states.insert(name.to_owned(), state);
        }
        Tensor::from_inner(stepped)
    }
}

impl Step<'_> {
    /// Σ w².
    fn squares<const D: usize>(&self, tensor: Tensor<D>) -> f64 {
        norm_of(self.optimizer.implementation, tensor, Norm::Squares, 0).into_data().iter::<f64>().sum()
    }
}
