//! What the parameters of a graph are.

/// A parameter: a tensor of numbers that belongs to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, such as `conv1.weight`.
    pub name: String,
    /// Its shape in PyTorch's layout: `[out, in, height, width]`, `[out, in]` or `[out]`.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// The axis of its shape that belongs to output channels or units.
    pub output_axis: usize,
    /// Groups of outputs, each of which has inputs of its own; 1 but for convolutions with groups.
    pub groups: usize,
    /// Whether it stays as it starts; see [`Graph::frozen`](super::Graph::frozen).
    pub is_frozen: bool,
}

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The weights of a convolution or dense layer.
    Kernel,
    /// What is added: biases, and β of a normalization.
    Bias,
    /// γ of a normalization.
    Scale,
    /// The running mean of a normalization, which is not trained.
    RunningMean,
    /// The running variance of a normalization, which is not trained.
    RunningVariance,
}

impl Role {
    /// Whether training takes gradient steps on it, unless it is frozen.
    #[must_use]
    pub const fn is_trained(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVariance)
    }
}

impl Parameter {
    /// A parameter named without its node.
    pub(super) fn new(name: &str, shape: &[usize], role: Role) -> Self {
        Self { name: name.to_owned(), shape: shape.to_vec(), role, output_axis: 0, groups: 1, is_frozen: false }
    }

    /// The same with the name of its node.
    pub(super) fn of(self, node: &str) -> Self {
        Self { name: format!("{node}.{}", self.name), ..self }
    }

    /// Whether training takes gradient steps on it: it is no running statistic, and not frozen.
    #[must_use]
    pub const fn is_trained(&self) -> bool {
        self.role.is_trained() && !self.is_frozen
    }

    /// How many numbers it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// Fan in and fan out of a kernel, as PyTorch counts them: inputs or outputs times the kernel's area.
    #[must_use]
    pub fn fans(&self) -> [usize; 2] {
        match self.shape.as_slice() {
            [output, input, area @ ..] => {
                let area: usize = area.iter().product();
                [input * area, output * area]
            }
            _ => [1, 1],
        }
    }
}
