//! Visits to the parameters of a network.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::prelude::*;
use regulus_model::graph::Parameter;

use super::Network;

/// Looks at parameters.
pub trait ParamVisitor {
    /// Looks at one.
    fn visit<const D: usize>(&mut self, parameter: &Parameter, id: ParamId, tensor: Tensor<D>);
}

/// Changes parameters.
pub trait ParamMapper {
    /// What comes in the place of one. Whether autodiff follows it stays as it was; it does not follow frozen ones.
    fn map<const D: usize>(&mut self, parameter: &Parameter, id: ParamId, tensor: Tensor<D>) -> Tensor<D>;
}

impl Network {
    /// Shows every parameter to `visitor`: those of all convolutions, then of all normalizations, then of all dense layers.
    pub fn visit_parameters(&self, visitor: &mut impl ParamVisitor) {
        self.visit(&mut InOrder { parameters: self.parameters().iter(), visitor });
    }

    /// The network with every parameter replaced by what `mapper` makes of it.
    #[must_use]
    pub fn map_parameters(self, mapper: &mut impl ParamMapper) -> Self {
        let parameters = self.parameters().to_vec();
        self.map(&mut InOrder { parameters: parameters.iter(), visitor: mapper })
    }
}

/// A visitor or mapper that knows which parameter it meets.
struct InOrder<'a, T> {
    parameters: std::slice::Iter<'a, Parameter>,
    visitor: &'a mut T,
}

impl<'a, T> InOrder<'a, T> {
    fn next(&mut self, shape: &[usize]) -> &'a Parameter {
        let parameter = self.parameters.next().unwrap_or_else(|| unreachable!("the module has the graph's parameters"));
        debug_assert_eq!(shape.len(), parameter.shape.len(), "{}", parameter.name);
        parameter
    }
}

impl<T: ParamVisitor> ModuleVisitor for InOrder<'_, T> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let parameter = self.next(&tensor.dims());
        self.visitor.visit(parameter, param.id, tensor);
    }
}

impl<T: ParamMapper> ModuleMapper for InOrder<'_, T> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let is_followed = tensor.is_require_grad();
        let parameter = self.next(&tensor.dims());
        let changed = self.visitor.map(parameter, id, tensor);
        let changed = if is_followed && !changed.is_require_grad() { changed.require_grad() } else { changed };
        let changed = Param::from_mapped_value(id, changed, mapper);
        // `train` restores what a parameter is set to, not what its tensor is.
        if parameter.is_trained() { changed } else { changed.set_require_grad(false) }
    }
}
