//! A regularizer that is not built in.

use std::collections::BTreeSet;
use std::fmt::Debug;

use burn::module::ParamId;
use burn::prelude::*;
use burn::tensor::TensorData;
use regulus_model::Values;
use regulus_model::graph::Parameter;

use crate::backend::host_device;
use crate::network::{ParamVisitor, output_axis};

/// R(w) of a penalty λ/m·R(w), for [`OwnPenalty`](super::OwnPenalty).
///
/// Each method gets one parameter as a matrix `[outputs, weights of an output]`: a row for each output channel or unit, in PyTorch's order. A convolution
/// `[out, in, height, width]` is `[out, in·height·width]`, and a bias `[out]` is `[out, 1]`. R of the scope is the sum over its parameters.
///
/// ```
/// use burn::prelude::*;
/// use regulus::objective::Regularizer;
///
/// /// R(w) = Σ (W·Wᵀ)² outside the diagonal: rows that are orthogonal cost nothing.
/// #[derive(Debug)]
/// struct Orthogonality;
///
/// impl Regularizer for Orthogonality {
///     fn name(&self) -> &'static str {
///         "orthogonality"
///     }
///
///     fn value(&self, weights: Tensor<2>) -> Tensor<1> {
///         let products = weights.clone().matmul(weights.clone().transpose());
///         let diagonal = weights.square().sum_dim(1);
///         products.square().sum() - diagonal.square().sum()
///     }
/// }
/// ```
pub trait Regularizer: Debug + Send + Sync {
    /// The name in messages and in the label of the penalty, such as `orthogonality on kernels`.
    fn name(&self) -> &str;

    /// R(w) of one parameter, `[1]`. Autodiff tracks `weights` during training, and so finds the gradient.
    fn value(&self, weights: Tensor<2>) -> Tensor<1>;

    /// ∂R/∂w, of the shape of `weights`. By default autodiff differentiates `value`. For an R that has no derivative at some points, or whose derivative
    /// has a simpler formula.
    #[expect(unused_variables, reason = "the names are documentation")]
    fn gradient(&self, weights: Tensor<2>) -> Option<Tensor<2>> {
        None
    }

    /// The v with the least ½·Σ (v − w)² + step·R(v), of the shape of `weights`: the step of a proximal penalty with gradient descent, where `step` is
    /// η·λ/m. `None` if there is none, whatever `weights` and `step` are.
    #[expect(unused_variables, reason = "the names are documentation")]
    fn proximal_step(&self, weights: Tensor<2>, step: f64) -> Option<Tensor<2>> {
        None
    }

    /// The v with the least ½·Σ d·(v − w)² + step·R(v), of the shape of `weights`: the step of a proximal penalty with Adam, where d is `scale`, Adam's
    /// √v̂ + ε of each weight (Yun, Lozano and Yang 2021). For an R that is a sum over weights, it is [`Regularizer::proximal_step`] with `step/d` for each weight. `None`
    /// if there is none.
    #[expect(unused_variables, reason = "the names are documentation")]
    fn scaled_proximal_step(&self, weights: Tensor<2>, step: f64, scale: Tensor<2>) -> Option<Tensor<2>> {
        None
    }
}

/// A parameter as a matrix with a row for each output. `output_axis` is 0, or 1 for a matrix.
pub(super) fn to_rows<const D: usize>(weights: Tensor<D>, output_axis: usize) -> Tensor<2> {
    let outputs = weights.dims()[output_axis];
    let size = weights.shape().num_elements() / outputs;
    let weights = if output_axis == 0 { weights } else { weights.swap_dims(0, output_axis) };
    weights.reshape([outputs, size])
}

/// The parameter of shape `shape` whose [`to_rows`] is `rows`.
pub(super) fn from_rows<const D: usize>(rows: Tensor<2>, shape: [usize; D], output_axis: usize) -> Tensor<D> {
    let mut swapped = shape;
    swapped.swap(0, output_axis);
    let weights = rows.reshape(swapped);
    if output_axis == 0 { weights } else { weights.swap_dims(0, output_axis) }
}

/// Sums R over some parameters.
pub(super) struct RegularizerSum<'a> {
    pub(super) regularizer: &'a dyn Regularizer,
    pub(super) names: &'a BTreeSet<String>,
    /// Whether autodiff tracks the sum.
    pub(super) tracked: bool,
    pub(super) sum: Option<Tensor<1>>,
}

impl ParamVisitor for RegularizerSum<'_> {
    fn visit<const D: usize>(&mut self, parameter: &Parameter, _id: ParamId, tensor: Tensor<D>) {
        if !self.names.contains(&parameter.name) {
            return;
        }
        let axis = output_axis(parameter);
        let value = if self.tracked {
            tracked_value(self.regularizer, to_rows(tensor, axis))
        } else {
            self.regularizer.value(to_rows(tensor.inner(), axis))
        };
        self.sum = Some(match self.sum.take() {
            None => value,
            Some(sum) => sum + value,
        });
    }
}

/// R(w), with the regularizer's own gradient if it has one.
fn tracked_value(regularizer: &dyn Regularizer, weights: Tensor<2>) -> Tensor<1> {
    let constant = weights.clone().inner();
    let Some(gradient) = regularizer.gradient(constant.clone()) else { return regularizer.value(weights) };
    // (w − w)·g is 0, and its gradient is g.
    let zero = ((weights - Tensor::from_inner(constant.clone())) * Tensor::from_inner(gradient)).sum();
    Tensor::from_inner(regularizer.value(constant)) + zero
}

/// R(w) of a parameter on the host, in PyTorch's layout, computed in float32.
pub(super) fn host_value(regularizer: &dyn Regularizer, values: &Values) -> f64 {
    let outputs = values.shape[0];
    let data = TensorData::new(values.numbers.clone(), [outputs, values.numbers.len() / outputs]);
    regularizer.value(Tensor::from_data(data, &host_device())).into_data().iter::<f64>().sum()
}
