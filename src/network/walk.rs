//! Visits to the parameters of a network by name, from the input on.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::prelude::*;

use super::Network;

/// Looks at parameters.
pub trait ParamVisitor {
    /// Looks at one.
    fn look<const D: usize>(&mut self, name: &str, id: ParamId, tensor: Tensor<D>);
}

/// Changes parameters.
pub trait ParamMapper {
    /// What comes in the place of one. Whether autodiff follows it stays as it was.
    fn change<const D: usize>(&mut self, name: &str, id: ParamId, tensor: Tensor<D>) -> Tensor<D>;
}

impl Network {
    /// Shows every parameter to `look`.
    pub fn each(&self, look: &mut impl ParamVisitor) {
        self.visit(&mut Walk { path: Vec::new(), at_each: look });
    }

    /// The network with every parameter replaced by what `change` makes of it.
    #[must_use]
    pub fn changed(self, change: &mut impl ParamMapper) -> Self {
        self.map(&mut Walk { path: Vec::new(), at_each: change })
    }
}

/// The name of the parameter at a module path: `["conv", "0", "weight"]` is `conv1.weight`.
fn name_at(path: &[String]) -> String {
    let mut name = String::new();
    for part in path {
        match part.parse::<usize>() {
            Ok(index) => name.push_str(&(index + 1).to_string()),
            Err(_) if name.is_empty() => name.push_str(part),
            Err(_) => {
                name.push('.');
                name.push_str(part);
            }
        }
    }
    name
}

struct Walk<'a, T> {
    path: Vec<String>,
    at_each: &'a mut T,
}

impl<T: ParamVisitor> ModuleVisitor for Walk<'_, T> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.at_each.look(&name_at(&self.path), param.id, param.val());
    }
}

impl<T: ParamMapper> ModuleMapper for Walk<'_, T> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let is_followed = tensor.is_require_grad();
        let changed = self.at_each.change(&name_at(&self.path), id, tensor);
        let changed = if is_followed && !changed.is_require_grad() { changed.require_grad() } else { changed };
        Param::from_mapped_value(id, changed, mapper)
    }
}
