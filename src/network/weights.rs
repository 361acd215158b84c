//! The parameters of a network on the host.
//!
//! Burn keeps a dense kernel as `[in, out]`, PyTorch as `[out, in]`; all else agrees.

use std::path::Path;

use burn::module::ParamId;
use burn::prelude::*;
use burn::tensor::TensorData;
use regulus_model::graph::{Graph, Parameter};
use regulus_model::{ModelError, Values, Weights};

use super::Network;
use super::visit::{ParamMapper, ParamVisitor};
use crate::backend::{ComputeDevice, numbers};

/// The axis of a parameter in Burn's layout that belongs to output channels or units.
#[must_use]
pub fn output_axis(parameter: &Parameter) -> usize {
    if is_transposed(parameter) { 1 - parameter.output_axis } else { parameter.output_axis }
}

/// Whether Burn keeps it the other way round.
fn is_transposed(parameter: &Parameter) -> bool {
    parameter.shape.len() == 2
}

impl Network {
    /// Its parameters.
    #[must_use]
    pub fn weights(&self) -> Weights {
        let mut reader = Reader(Vec::new());
        self.visit_parameters(&mut reader);
        reader.0.into_iter().collect()
    }

    /// The network with these parameters.
    ///
    /// # Errors
    ///
    /// When a name or shape differs; `path` is for the message.
    pub fn with_weights(self, weights: &Weights, path: &Path) -> Result<Self, ModelError> {
        weights.check_fit(self.graph(), path)?;
        Ok(self.with_checked_weights(weights))
    }

    /// The network of `graph` with parameters that are known to fit.
    ///
    /// # Panics
    ///
    /// When a name or shape differs.
    #[must_use]
    pub fn of_weights(graph: &Graph, weights: &Weights, device: &ComputeDevice) -> Self {
        Self::blank(graph, device).with_checked_weights(weights)
    }

    /// The network with parameters known to fit.
    pub(super) fn with_checked_weights(self, weights: &Weights) -> Self {
        self.map_parameters(&mut Writer(weights))
    }
}

/// The values of a parameter as a list, in the order in which Burn keeps them.
pub(crate) fn flat(parameter: &Parameter, values: &Values, device: &Device) -> Tensor<1> {
    let numbers = if is_transposed(parameter) { swapped(&values.numbers, &values.shape) } else { values.numbers.clone() };
    let length = numbers.len();
    Tensor::from_data(TensorData::new(numbers, [length]), device)
}

struct Reader(Vec<(String, Values)>);

impl ParamVisitor for Reader {
    fn visit<const D: usize>(&mut self, parameter: &Parameter, _id: ParamId, tensor: Tensor<D>) {
        let tensor = if is_transposed(parameter) { tensor.swap_dims(0, 1) } else { tensor };
        let shape = tensor.dims().to_vec();
        self.0.push((parameter.name.clone(), Values { shape, numbers: numbers(tensor) }));
    }
}

struct Writer<'a>(&'a Weights);

impl ParamMapper for Writer<'_> {
    fn map<const D: usize>(&mut self, parameter: &Parameter, _id: ParamId, tensor: Tensor<D>) -> Tensor<D> {
        let values = self.0.get(&parameter.name).unwrap_or_else(|| panic!("there are no values for `{}`", parameter.name));
        let Values { shape, numbers } = values;
        let data = if is_transposed(parameter) {
            TensorData::new(swapped(numbers, shape), [shape[1], shape[0]])
        } else {
            TensorData::new(numbers.clone(), shape.clone())
        };
        Tensor::from_data(data, &tensor.device())
    }
}

/// A matrix `[rows, columns]` as `[columns, rows]`.
fn swapped(numbers: &[f32], shape: &[usize]) -> Vec<f32> {
    let (rows, columns) = (shape[0], shape[1]);
    (0..rows * columns).map(|index| numbers[(index % rows) * columns + index / rows]).collect()
}
