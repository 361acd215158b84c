//! A network as a linear map of its parameters around their values: what curvature is made of.

use burn::prelude::*;
use burn::tensor::IndexingUpdateOp;
use burn::tensor::module::{conv_transpose2d, max_pool2d_with_indices};
use burn::tensor::ops::{ConvTransposeOptions, MaxPoolOptions, PadMode};

use super::Network;

/// What reaches a layer, and what is sent back to it: the gradient of its kernel for one sample and one vector is Σ over places of
/// vector · inputᵀ, that of its bias Σ of vectors.
pub struct Layer {
    /// Its name, such as `conv1`.
    pub name: String,
    /// `[sample, input, place]`; an input of a convolution is a channel and a place in the kernel, a dense layer has one place.
    pub inputs: Tensor<3>,
    /// `[sample, vector, output, place]`.
    pub vectors: Tensor<4>,
}

/// What a convolution leaves behind for the way back.
struct Convolved {
    inputs: Tensor<3>,

    /// Rows and columns before the pool.
    side: [usize; 2],
    /// Where in them each pooled number is from.
    argmax: Tensor<4, Int>,
    pooled: Tensor<4>,
}

impl Network {
    /// Sends vectors back from the logits of `images`, and shows `each` layer, from the last on, what reaches it. `vectors` makes
    /// `[sample, vector, class]` of the logits `[sample, class]`. Without dropout, with stock operations, on a device without autodiff.
    pub fn linearized(&self, images: Tensor<4>, vectors: impl FnOnce(Tensor<2>) -> Tensor<3>, mut each: impl FnMut(Layer)) {
        let mut x = images;
        let mut convolved = Vec::new();
        for number in 0..self.conv.len() {
            let passed = self.convolve(number, x);
            x = passed.pooled.clone();
            convolved.push(passed);
        }
        let last_shape = x.dims();
        let mut x: Tensor<2> = x.flatten(1, 3);
        let mut reached = Vec::new();
        for (number, dense) in self.dense.iter().enumerate() {
            reached.push(x.clone());
            x = dense.forward(x);
            if number + 1 < self.dense.len() {
                x = self.activation.forward(x);
            }
        }
        let mut vectors = vectors(x);
        let [batch, count, _] = vectors.dims();
        for (number, (dense, inputs)) in self.dense.iter().zip(&reached).enumerate().rev() {
            let name = format!("dense{}", number + 1);
            each(Layer { name, inputs: inputs.clone().unsqueeze_dim(2), vectors: vectors.clone().unsqueeze_dim(3) });
            if number == 0 && convolved.is_empty() {
                return;
            }
            let [_, _, outputs] = vectors.dims();
            let sent = vectors.reshape([batch * count, outputs]).matmul(dense.weight.val().transpose());
            vectors = sent.reshape([batch, count, inputs.dims()[1]]);
            if number > 0 {
                vectors = vectors * inputs.clone().greater_elem(0.0).float().unsqueeze_dim::<3>(1);
            }
        }
        let [_, channels, rows, columns] = last_shape;
        let mut vectors = vectors.reshape([batch * count, channels, rows, columns]);
        for (number, passed) in convolved.iter().enumerate().rev() {
            let before = unpooled(passed, vectors, count);
            let [_, outputs, height, width] = before.dims();
            let name = format!("conv{}", number + 1);
            let vectors_here = before.clone().reshape([batch, count, outputs, height * width]);
            each(Layer { name, inputs: passed.inputs.clone(), vectors: vectors_here });
            if number == 0 {
                return;
            }
            let padding = self.architecture().padding;
            let options = ConvTransposeOptions::new([1, 1], [padding, padding], [0, 0], [1, 1], 1);
            vectors = conv_transpose2d(before, self.conv[number].weight.val(), None, options);
        }
    }

    /// A convolution with ReLU and pool.
    fn convolve(&self, number: usize, images: Tensor<4>) -> Convolved {
        let conv = &self.conv[number];
        let [batch, channels, height, width] = images.dims();
        let weights = conv.weight.val();
        let [outputs, _, kernel, _] = weights.dims();
        let padding = self.architecture().padding;
        let padded = if padding > 0 { images.pad((padding, padding, padding, padding), PadMode::Constant(0.0)) } else { images };
        let [rows, columns] = [height, width].map(|side| side + 2 * padding - kernel + 1);
        let places = (0..kernel * kernel).map(|place| (place / kernel, place % kernel));
        let shifted = places.map(|(down, right)| padded.clone().slice([0..batch, 0..channels, down..down + rows, right..right + columns]));
        let inputs = Tensor::stack::<5>(shifted.collect(), 2).reshape([batch, channels * kernel * kernel, rows * columns]);
        let product = weights.reshape([1, outputs, channels * kernel * kernel]).repeat_dim(0, batch).matmul(inputs.clone());
        let mut before = product.reshape([batch, outputs, rows, columns]);
        if let Some(bias) = &conv.bias {
            before = before + bias.val().reshape([1, outputs, 1, 1]);
        }
        let (pooled, argmax) = max_pool2d_with_indices(self.activation.forward(before), MaxPoolOptions::new([2, 2]));
        Convolved { inputs, side: [rows, columns], argmax, pooled }
    }
}

/// What reaches a convolution's output before ReLU and pool, where `vectors` reaches the pooled one; each sample has `count` of them.
///
/// # Shapes
///
/// - vectors: `[sample · vector, channel, pooled row, pooled column]`
/// - output: `[sample · vector, channel, row, column]`
fn unpooled(passed: &Convolved, vectors: Tensor<4>, count: usize) -> Tensor<4> {
    let [all, channels, height, width] = vectors.dims();
    let [rows, columns] = passed.side;
    let spread = |of: Tensor<4>| of.reshape([all / count, 1, channels, height * width]).repeat_dim(1, count);
    let alive = spread(passed.pooled.clone().greater_elem(0.0).float()).reshape([all, channels, height * width]);
    let argmax = passed.argmax.clone().reshape([all / count, 1, channels, height * width]).repeat_dim(1, count);
    let argmax = argmax.reshape([all, channels, height * width]);
    let zeros = Tensor::<3>::zeros([all, channels, rows * columns], &vectors.device());
    let vectors = vectors.reshape([all, channels, height * width]) * alive;
    zeros.scatter(2, argmax, vectors, IndexingUpdateOp::Add).reshape([all, channels, rows, columns])
}
