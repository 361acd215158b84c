//! The networks: convolutions, then dense layers; either may be missing.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Initializer, Linear, LinearConfig, PaddingConfig2d, Relu};
use burn::prelude::*;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Weights;
use crate::backend::{ComputeDevice, fused};
use crate::config::{ConfigError, Init, Implementation, Model, ModelKind, Padding};
use crate::data::Shape;
use crate::seed::Seed;

/// No network has more parameters than this; the weights of one alone take 1 GiB, and Adam keeps three more of that size.
const LARGEST: usize = 1 << 28;

const TOO_LARGE: &str = "makes a network of more than 2²⁸ (268 million) parameters; use smaller sizes";

/// Images of which a CPU keeps all activations in its caches. Without gradients to follow, more of them are computed in turns.
const IN_CACHE: usize = 64;

/// Every size of a [`Network`]: what its weights can be loaded into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Architecture {
    /// `cnn`, `mlp` or `linear`.
    pub kind: ModelKind,
    /// The images it takes.
    pub input: Shape,
    /// Output channels of each convolution.
    pub channels: Vec<usize>,
    /// Side of the square kernels.
    pub kernel_size: usize,
    /// Zeros around what a convolution gets, on each side.
    #[serde(default)]
    pub padding: usize,
    /// Units of the hidden dense layer; 0: there is none.
    pub hidden: usize,
    /// Logits it gives.
    pub classes: usize,
}

impl Architecture {
    /// The network `model` describes, for images of shape `input` in `classes` classes.
    ///
    /// # Errors
    ///
    /// When a kernel or a pool is larger than what reaches it.
    pub fn new(model: &Model, input: Shape, classes: usize) -> Result<Self, ConfigError> {
        let kernel = model.kernel_size.get();
        if model.padding == Padding::Same && kernel.is_multiple_of(2) {
            let problem = format!("is \"same\", but `model.kernel_size` is {kernel}; use an odd one, or \"valid\"");
            return Err(ConfigError::value("model.padding", problem));
        }
        let architecture = Self {
            kind: model.kind,
            input,
            channels: model.channels.iter().map(|count| count.get()).collect(),
            kernel_size: kernel,
            padding: if model.padding == Padding::Same { kernel / 2 } else { 0 },
            hidden: if model.kind == ModelKind::Linear { 0 } else { model.hidden.get() },
            classes,
        };
        architecture.check().map_err(|(key, problem)| ConfigError::value(key, problem))?;
        Ok(architecture)
    }

    /// The shape after the last pool.
    ///
    /// # Errors
    ///
    /// The config key at fault and what is wrong with it, when a kernel or a pool is larger than what reaches it or the network would
    /// be too large to address.
    pub fn check(&self) -> Result<Shape, (&'static str, String)> {
        let kernel = self.kernel_size;
        let padded = |side: usize| side + 2 * self.padding;
        // What a convolution leaves, halved; an odd row or column at the end is dropped.
        #[expect(clippy::manual_div_ceil, reason = "it is a floor")]
        let pooled = |side: usize| (padded(side) - kernel + 1) / 2;
        let mut shape = self.input;
        let mut parameters = Some(0_usize);
        for (number, channels) in (1..).zip(&self.channels) {
            let Shape { height, width, .. } = shape;
            if kernel > padded(height) || kernel > padded(width) {
                let problem = format!(
                    "is {kernel}, but what reaches convolution {number} is only {height}×{width}; use a smaller kernel, fewer convolutions or larger images"
                );
                return Err(("model.kernel_size", problem));
            }
            let weights = channels.checked_mul(shape.channels).and_then(|count| count.checked_mul(kernel * kernel));
            parameters = parameters.zip(weights).and_then(|(sum, count)| sum.checked_add(count)?.checked_add(*channels));
            shape = Shape { channels: *channels, height: pooled(height), width: pooled(width) };
            if shape.height == 0 || shape.width == 0 {
                let problem = format!(
                    "leaves nothing of {} images after pool {number}; use fewer convolutions, a smaller kernel or larger images",
                    self.input
                );
                return Err(("model.channels", problem));
            }
        }
        let flat = shape.channels.checked_mul(shape.height * shape.width);
        let dense = |sizes: &[(Option<usize>, usize)]| {
            sizes
                .iter()
                .try_fold(0_usize, |sum, (inputs, outputs)| sum.checked_add(inputs.as_ref()?.checked_add(1)?.checked_mul(*outputs)?))
        };
        let dense = match self.hidden {
            0 => dense(&[(flat, self.classes)]),
            hidden => dense(&[(flat, hidden), (Some(hidden), self.classes)]),
        };
        match parameters.zip(dense).and_then(|(sum, dense)| sum.checked_add(dense)) {
            Some(total) if total <= LARGEST => Ok(shape),
            _ if parameters.is_none_or(|count| count > LARGEST) => Err(("model.channels", TOO_LARGE.to_owned())),
            _ if self.hidden == 0 => Err(("data.image_size", TOO_LARGE.to_owned())),
            _ => Err(("model.hidden", TOO_LARGE.to_owned())),
        }
    }

    /// The numbers in the largest tensor an image becomes on its way, at least 1.
    #[must_use]
    pub fn largest_activation(&self) -> usize {
        // Pooling quarters a layer, so the input or the first convolution's output is the largest unless channels grow faster.
        let sides = self.input.height * self.input.width;
        let layers = (0_u32..).zip(&self.channels).map(|(pools, channels)| channels * sides.checked_shr(2 * pools).unwrap_or(0));
        layers.chain([self.input.size(), self.hidden, 1]).max().unwrap_or(1)
    }

    /// The most inputs or outputs of a layer; an input of a convolution is a channel and a place in the kernel.
    #[must_use]
    pub fn widest_layer(&self) -> usize {
        let inputs = std::iter::once(&self.input.channels).chain(&self.channels).take(self.channels.len());
        let convolutions = inputs.map(|channels| channels * self.kernel_size.pow(2)).chain(self.channels.iter().copied());
        convolutions.chain([self.flat_size(), self.hidden, self.classes]).max().unwrap_or(1)
    }

    /// The number of inputs of the first dense layer.
    #[must_use]
    pub fn flat_size(&self) -> usize {
        self.check().map_or(0, Shape::size)
    }
}

/// Convolutions, each followed by ReLU and a 2×2 max-pool, then a hidden dense layer with ReLU, then a dense layer of logits. An `mlp` has no
/// convolutions, and a `linear` one has no hidden layer either.
///
/// With the default sizes and 28×28×1 images a `cnn` has 225,034 parameters. The flattening is channel-major.
#[derive(Module, Debug)]
pub struct Network {
    pub(super) conv: Vec<Conv2d>,
    pub(super) dense: Vec<Linear>,
    pool: MaxPool2d,
    pub(super) activation: Relu,
    #[module(skip)]
    architecture: Architecture,
    #[module(skip)]
    kernels: Implementation,
}

impl Network {
    /// A network with weights drawn by `init` from `seed`'s streams, one for each parameter: the same numbers on every backend.
    #[must_use]
    pub fn new(architecture: &Architecture, init: Init, seed: Seed, place: &ComputeDevice) -> Self {
        let blank = Self::blank(architecture, place);
        let weights = Weights::of(&blank).map(|name, values| super::init::draw(init, name, values, seed));
        blank.with_checked_weights(&weights)
    }

    /// A network whose weights are all 0.
    #[must_use]
    pub fn blank(architecture: &Architecture, place: &ComputeDevice) -> Self {
        let device = &place.device;
        let (kernel, padding) = ([architecture.kernel_size; 2], architecture.padding);
        let inputs = std::iter::once(architecture.input.channels).chain(architecture.channels.iter().copied());
        let conv = inputs
            .zip(&architecture.channels)
            .map(|(input, output)| {
                let config =
                    Conv2dConfig::new([input, *output], kernel).with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding));
                config.with_initializer(Initializer::Zeros).init(device)
            })
            .collect();
        let sizes = match architecture.hidden {
            0 => vec![architecture.flat_size(), architecture.classes],
            hidden => vec![architecture.flat_size(), hidden, architecture.classes],
        };
        let dense = sizes.windows(2).map(|sizes| LinearConfig::new(sizes[0], sizes[1]).with_initializer(Initializer::Zeros).init(device));
        Self {
            conv,
            dense: dense.collect(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            activation: Relu::new(),
            architecture: architecture.clone(),
            kernels: place.kernels,
        }
    }

    /// The operations it computes with.
    #[must_use]
    pub fn kernels(&self) -> Implementation {
        self.kernels
    }

    /// The sizes of the network.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The logits of a batch. In a training step with dropout, `kept` is what the hidden units are multiplied by.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - kept: `[batch, hidden]`
    /// - output: `[batch, classes]`
    #[must_use]
    pub fn forward(&self, images: Tensor<4>, kept: Option<Tensor<2>>) -> Tensor<2> {
        let parts = images.dims()[0].div_ceil(IN_CACHE);
        if parts > 1 && self.kernels == Implementation::Fused && kept.is_none() && !self.dense[0].weight.is_require_grad() {
            return Tensor::cat(images.split(IN_CACHE, 0).into_par_iter().map(|part| self.forward(part, None)).collect(), 0);
        }
        let mut x = images;
        for (number, conv) in (1..).zip(&self.conv) {
            x = self.convolved(conv, x, number == self.conv.len());
        }
        let [batch, channels, height, width] = x.dims();
        let mut x = x.reshape([batch, channels * height * width]);
        if let [hidden, _] = self.dense.as_slice() {
            x = self.connected(hidden, x, true);
            if let Some(kept) = kept {
                x = x * kept;
            }
        }
        self.connected(&self.dense[self.dense.len() - 1], x, false)
    }

    /// A convolution with ReLU and pool. What the last gives will be flattened.
    fn convolved(&self, conv: &Conv2d, x: Tensor<4>, last: bool) -> Tensor<4> {
        match (self.kernels, &conv.bias) {
            (Implementation::Fused, Some(bias)) => fused::conv_relu_pool(x, conv.weight.val(), bias.val(), self.architecture.padding, !last),
            _ => self.pool.forward(self.activation.forward(conv.forward(x))),
        }
    }

    /// A dense layer, with ReLU where `relu` says so.
    fn connected(&self, dense: &Linear, x: Tensor<2>, relu: bool) -> Tensor<2> {
        match (self.kernels, &dense.bias) {
            (Implementation::Fused, Some(bias)) => fused::dense(x, dense.weight.val(), bias.val(), relu),
            _ if relu => self.activation.forward(dense.forward(x)),
            _ => dense.forward(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Experiment;

    fn architecture(set: &str, side: usize) -> Result<Architecture, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "name = \"a\"\n[data]\nsource = \"mnist_mini\"\n").unwrap();
        let experiment = Experiment::load(file.path(), &[set.to_owned()]).unwrap();
        Architecture::new(&experiment.model, Shape { channels: 1, height: side, width: side }, 10).map_err(|error| error.to_string())
    }

    #[test]
    fn the_default_has_225034_parameters_and_1600_flat_inputs() {
        let device = crate::backend::any_cpu();
        let network = Network::blank(&architecture("seed=1", 28).unwrap(), &device);
        assert_eq!(network.num_params(), 225_034);
        assert_eq!(network.architecture().flat_size(), 1600);
        let names: Vec<String> = Weights::of(&network).iter().map(|(name, values)| format!("{name} {:?}", values.shape)).collect();
        let expected = [
            "conv1.bias [32]",
            "conv1.weight [32, 1, 3, 3]",
            "conv2.bias [64]",
            "conv2.weight [64, 32, 3, 3]",
            "dense1.bias [128]",
            "dense1.weight [128, 1600]",
            "dense2.bias [10]",
            "dense2.weight [10, 128]",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn sizes_that_do_not_fit_are_told() {
        assert_eq!(
            architecture("model.kernel_size=29", 28).unwrap_err(),
            "`model.kernel_size` is 29, but what reaches convolution 1 is only 28×28; use a smaller kernel, fewer convolutions or larger images"
        );
        assert_eq!(
            architecture("model.channels=[8, 8]", 4).unwrap_err(),
            "`model.kernel_size` is 3, but what reaches convolution 2 is only 1×1; use a smaller kernel, fewer convolutions or larger images"
        );
        assert_eq!(
            architecture("model.channels=[8]", 3).unwrap_err(),
            "`model.channels` leaves nothing of 3×3×1 images after pool 1; use fewer convolutions, a smaller kernel or larger images"
        );
        assert_eq!(
            architecture("model={padding=\"same\", kernel_size=4}", 28).unwrap_err(),
            "`model.padding` is \"same\", but `model.kernel_size` is 4; use an odd one, or \"valid\""
        );
        assert_eq!(architecture("model.padding=same", 28).unwrap().flat_size(), 7 * 7 * 64);
        assert!(architecture("model.hidden=9000000000000000000", 28).unwrap_err().starts_with("`model.hidden`"));
    }
}
