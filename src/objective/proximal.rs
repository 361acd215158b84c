//! The proximal step of a term.

use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::TensorData;
use regulus_kernels::groups::Groups;
use regulus_kernels::proximal::{Proximal, proximal};

use super::regularizer::{Regularizer, from_rows, to_rows};
use crate::backend::numbers;

/// The proximal step of a parameter, per unit of the learning rate.
#[derive(Clone, Debug)]
pub enum ProximalUpdate {
    /// That of a built-in penalty.
    BuiltIn(Proximal),
    /// That of another one.
    Own {
        /// What has the step.
        regularizer: Arc<dyn Regularizer>,
        /// λ/m.
        factor: f64,
    },
}

impl ProximalUpdate {
    /// The weights after the proximal step: the u with the least ½·Σ d·(u − w)² + η·λ/m·R(u), where η is `rate`. `scale` is d in the order of the weights:
    /// Adam's √v̂ + ε; empty if every d is 1.
    #[must_use]
    pub fn apply<const D: usize>(&self, weights: Tensor<D>, output_axis: usize, rate: f64, scale: Vec<f32>) -> Tensor<D> {
        match self {
            Self::BuiltIn(step) => built_in_step(*step, weights, output_axis, rate, &scale),
            Self::Own { regularizer, factor } => own_step(&**regularizer, weights, output_axis, rate * factor, scale),
        }
    }
}

/// It is computed on the host for every device.
fn built_in_step<const D: usize>(step: Proximal, weights: Tensor<D>, output_axis: usize, rate: f64, scale: &[f32]) -> Tensor<D> {
    let (shape, device) = (weights.shape(), weights.device());
    let step = Proximal { absolutes: rate * step.absolutes, squares: rate * step.squares, norms: rate * step.norms };
    let mut numbers = numbers(weights);
    proximal(step, Groups::of(shape.as_slice(), output_axis), scale, &mut numbers);
    Tensor::from_data(TensorData::new(numbers, shape), &device)
}

/// It is computed on the device of the weights.
fn own_step<const D: usize>(
    regularizer: &dyn Regularizer,
    weights: Tensor<D>,
    output_axis: usize,
    step: f64,
    scale: Vec<f32>,
) -> Tensor<D> {
    let (shape, device) = (weights.dims(), weights.device());
    let rows = to_rows(weights, output_axis);
    let stepped = if scale.is_empty() {
        regularizer.proximal_step(rows, step)
    } else {
        let scale = Tensor::<D>::from_data(TensorData::new(scale, shape), &device);
        regularizer.scaled_proximal_step(rows, step, to_rows(scale, output_axis))
    };
    let stepped = stepped.unwrap_or_else(|| panic!("`{}` had a proximal step when it was added, and has none now", regularizer.name()));
    from_rows(stepped, shape, output_axis)
}
