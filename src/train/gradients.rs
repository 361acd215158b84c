//! Operations on the gradients of all parameters.

use burn::module::ParamId;
use burn::optim::GradientsParams;
use burn::prelude::*;
use regulus_model::graph::Parameter;

use crate::backend::fused::Norm;
use crate::config::Implementation;
use crate::network::{Network, ParamMapper, ParamVisitor};
use crate::objective::norm_of;

/// The norm ‖g‖ over all parameters. Returns `None` if no parameter has a gradient.
///
/// # Shapes
///
/// - output: `[1]`
pub(super) fn gradient_norm(network: &Network, gradients: &GradientsParams) -> Option<Tensor<1>> {
    let mut squares = Squares { gradients, implementation: network.implementation(), sum: None };
    network.visit_parameters(&mut squares);
    squares.sum.map(Tensor::sqrt)
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    implementation: Implementation,
    sum: Option<Tensor<1>>,
}

impl ParamVisitor for Squares<'_> {
    fn visit<const D: usize>(&mut self, _parameter: &Parameter, id: ParamId, _tensor: Tensor<D>) {
        if let Some(gradient) = self.gradients.get::<D>(id) {
            let squares = norm_of(self.implementation, gradient, Norm::Squares, 0);
            self.sum = Some(match self.sum.take() {
                None => squares,
                Some(sum) => sum + squares,
            });
        }
    }
}

/// Multiplies all gradients by `factor`, `[1]`.
pub(super) fn scaled(network: &Network, gradients: GradientsParams, factor: Tensor<1>) -> GradientsParams {
    let mut scaling = Scaling { gradients, scaled: GradientsParams::new(), factor };
    network.visit_parameters(&mut scaling);
    scaling.scaled
}

/// The network at w + factor·g.
pub(super) fn perturbed(network: Network, gradients: GradientsParams, factor: Tensor<1>) -> Network {
    network.map_parameters(&mut Perturbation { gradients, factor })
}

struct Scaling {
    gradients: GradientsParams,
    scaled: GradientsParams,
    factor: Tensor<1>,
}

impl ParamVisitor for Scaling {
    fn visit<const D: usize>(&mut self, _parameter: &Parameter, id: ParamId, _tensor: Tensor<D>) {
        if let Some(gradient) = self.gradients.remove::<D>(id) {
            self.scaled.register(id, gradient * self.factor.clone().reshape([1; D]));
        }
    }
}

/// Maps w to w + factor·g.
struct Perturbation {
    gradients: GradientsParams,
    factor: Tensor<1>,
}

impl ParamMapper for Perturbation {
    fn map<const D: usize>(&mut self, _parameter: &Parameter, id: ParamId, tensor: Tensor<D>) -> Tensor<D> {
        match self.gradients.remove::<D>(id) {
            Some(gradient) => Tensor::from_inner(tensor.inner() + gradient * self.factor.clone().reshape([1; D])),
            None => tensor,
        }
    }
}
