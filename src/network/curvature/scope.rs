//! The layers whose curvature is asked for.

use std::collections::BTreeSet;

use regulus_model::graph::{Features, Graph, Op, Role};

/// The layers whose parameters a curvature is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Their indices in the graph.
    layers: Vec<usize>,
}

impl Scope {
    /// The layers of the parameters with these names.
    ///
    /// # Errors
    ///
    /// In words, the node for whose parameters there is no curvature.
    pub fn new(graph: &Graph, names: &BTreeSet<String>) -> Result<Self, String> {
        let mut layers = Vec::new();
        if !names.is_empty() {
            check_output(graph)?;
        }
        for (index, node) in graph.nodes().iter().enumerate() {
            if !graph.parameters_of(index).iter().any(|parameter| names.contains(&parameter.name)) {
                continue;
            }
            let problem = match &node.op {
                Op::Conv(conv) if conv.groups > 1 => "a convolution in groups",
                Op::Conv(_) | Op::Dense(_) => {
                    layers.push(index);
                    continue;
                }
                Op::BatchNorm(_) => "a normalization",
                _ => "an operation that it does not know",
            };
            return Err(format!("there is no curvature for node `{}`, {problem}; leave its parameters out of the scope", node.name));
        }
        Ok(Self { layers })
    }

    /// All layers that there is a curvature for. Other nodes with parameters are left out: normalizations and convolutions in groups.
    ///
    /// # Errors
    ///
    /// In words, when the network gives images.
    pub fn all(graph: &Graph) -> Result<Self, String> {
        check_output(graph)?;
        let has_curvature = |index: &usize| match &graph.nodes()[*index].op {
            Op::Conv(conv) => conv.groups == 1,
            Op::Dense(_) => true,
            _ => false,
        };
        Ok(Self { layers: (0..graph.nodes().len()).filter(has_curvature).collect() })
    }

    /// Their indices in the graph.
    pub(super) fn layers(&self) -> &[usize] {
        &self.layers
    }

    /// The most inputs or outputs of a layer; an input of a convolution is a channel and a position in the kernel.
    #[must_use]
    pub fn widest(&self, graph: &Graph) -> usize {
        let kernels = self.layers.iter().flat_map(|index| graph.parameters_of(*index)).filter(|parameter| parameter.role == Role::Kernel);
        kernels.flat_map(|kernel| [kernel.shape[0], kernel.fans()[0]]).max().unwrap_or(1)
    }
}

fn check_output(graph: &Graph) -> Result<(), String> {
    let Features::Map(_) = graph.output_features() else { return Ok(()) };
    let output = &graph.nodes()[graph.output()].name;
    Err(format!("there is no curvature of a network that gives images, as node `{output}` does; choose another penalty than `evidence`"))
}
