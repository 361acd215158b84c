//! Dropout.

use burn::prelude::*;
use burn::tensor::TensorData;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// `x` times a dropout mask: 0 with probability `rate`, else 1/(1 − `rate`). The mask is drawn on the host, the same numbers for every device.
pub(super) fn drop<const D: usize>(x: Tensor<D>, rate: f64, chance: &mut ChaCha8Rng) -> Tensor<D> {
    #[expect(clippy::cast_possible_truncation, reason = "a factor of float32 activations")]
    let scale = (1.0 / (1.0 - rate)) as f32;
    let dropout_mask: Vec<f32> = (0..x.shape().num_elements()).map(|_| if chance.random_bool(rate) { 0.0 } else { scale }).collect();
    let dropout_mask = Tensor::from_data(TensorData::new(dropout_mask, x.shape()), &x.device());
    x * dropout_mask
}
