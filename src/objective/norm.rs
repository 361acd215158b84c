//! Norms of parameters, as tensors and on the host.

use std::collections::BTreeSet;

use burn::module::ParamId;
use burn::optim::GradientsParams;
use burn::prelude::*;
use regulus_model::Values;
use regulus_model::graph::Parameter;

use crate::backend::fused::{self, Norm};
use crate::config::Implementation;
use crate::network::{Network, ParamVisitor, output_axis};

/// A norm of a parameter on the host, in PyTorch's layout: axis 0 is the output axis.
pub(super) fn host_norm(norm: Norm, values: &Values) -> f64 {
    let numbers = &values.numbers;
    let squares = |numbers: &[f32]| numbers.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>();
    match norm {
        Norm::Squares => squares(numbers),
        Norm::Absolutes => numbers.iter().map(|number| f64::from(number.abs())).sum(),
        Norm::Groups => {
            let size = numbers.len() / values.shape[0];
            (size as f64).sqrt() * numbers.chunks(size).map(|group| squares(group).sqrt()).sum::<f64>()
        }
    }
}

/// Sums a norm over some parameters.
pub(super) struct NormSum<'a> {
    pub(super) names: &'a BTreeSet<String>,
    pub(super) norm: Norm,
    pub(super) implementation: Implementation,
    /// Whether autodiff tracks the norm. A proximal term has no gradient.
    pub(super) tracked: bool,
    pub(super) sum: Option<Tensor<1>>,
}

impl ParamVisitor for NormSum<'_> {
    fn visit<const D: usize>(&mut self, parameter: &Parameter, _id: ParamId, tensor: Tensor<D>) {
        if !self.names.contains(&parameter.name) {
            return;
        }
        let weights = if self.tracked { tensor } else { tensor.inner() };
        let norm = norm_of(self.implementation, weights, self.norm, output_axis(parameter));
        self.sum = Some(match self.sum.take() {
            None => norm,
            Some(sum) => sum + norm,
        });
    }
}

/// A norm of one parameter. The groups are the slices along `output_axis`, which is 0 or 1.
///
/// # Shapes
///
/// - output: `[1]`
#[must_use]
pub fn norm_of<const D: usize>(implementation: Implementation, weights: Tensor<D>, norm: Norm, output_axis: usize) -> Tensor<1> {
    if implementation.is_fused() {
        return fused::norm(weights, norm, output_axis);
    }
    match norm {
        Norm::Squares => weights.square().sum(),
        Norm::Absolutes => weights.abs().sum(),
        Norm::Groups => stock_group_norms(weights, output_axis),
    }
}

/// Σ √|g|·‖w(g)‖ with stock operations.
fn stock_group_norms<const D: usize>(weights: Tensor<D>, output_axis: usize) -> Tensor<1> {
    let count = weights.dims().iter().product::<usize>();
    let groups = weights.dims()[output_axis];
    let weights = if output_axis == 0 { weights } else { weights.swap_dims(0, output_axis) };
    let squares = weights.reshape([groups, count / groups]).square().sum_dim(1);
    // The root has no gradient at 0.
    let zero = squares.clone().equal_elem(0.0);
    let norms = squares.mask_fill(zero.clone(), 1.0).sqrt().mask_fill(zero, 0.0);
    norms.sum().mul_scalar((count as f64 / groups as f64).sqrt())
}

/// Σ g² and Σ w² over some parameters, for gradients g.
pub(super) fn squared_norms(names: &BTreeSet<String>, network: &Network, gradients: &GradientsParams) -> [f64; 2] {
    let mut norms = SquaredNorms { names, implementation: network.implementation(), gradients, found: Vec::new() };
    network.visit_parameters(&mut norms);
    let numbers: Vec<f64> = Tensor::cat(norms.found, 0).into_data().iter::<f64>().collect();
    let sum = |first| numbers.iter().skip(first).step_by(2).sum::<f64>();
    [sum(0), sum(1)]
}

/// Collects Σ g² and Σ w² of each parameter.
struct SquaredNorms<'a> {
    names: &'a BTreeSet<String>,
    implementation: Implementation,
    gradients: &'a GradientsParams,
    found: Vec<Tensor<1>>,
}

impl ParamVisitor for SquaredNorms<'_> {
    fn visit<const D: usize>(&mut self, parameter: &Parameter, id: ParamId, tensor: Tensor<D>) {
        if let (true, Some(gradient)) = (self.names.contains(&parameter.name), self.gradients.get::<D>(id)) {
            self.found.push(norm_of(self.implementation, gradient, Norm::Squares, 0));
            self.found.push(norm_of(self.implementation, tensor.inner(), Norm::Squares, 0));
        }
    }
}
