//! The forward passes of a training step.

use burn::prelude::*;
use rand_chacha::ChaCha8Rng;

use super::{BatchStatistics, Network, Output};
use crate::config::Implementation;
use crate::seed::Seed;

/// The forward passes of one training step: one for each micro-batch. The dropout masks depend on the seed, the step and the order of the micro-batches.
pub struct TrainingPass<'a> {
    network: &'a Network,
    /// The node whose vectors the pass takes in place of images.
    from: Option<usize>,
    dropout_rng: ChaCha8Rng,
}

impl Network {
    /// The forward passes of `step` (from 0).
    #[must_use]
    pub fn training_pass(&self, seed: Seed, step: u64) -> TrainingPass<'_> {
        TrainingPass { network: self, from: None, dropout_rng: seed.stream("dropout", step) }
    }
}

impl TrainingPass<'_> {
    /// The same, which takes what node `from` gives, `[batch, length, 1, 1]`, in place of images, and computes the nodes after it alone.
    #[must_use]
    pub fn from_node(self, from: Option<usize>) -> Self {
        Self { from, ..self }
    }

    /// The implementation of the network.
    #[must_use]
    pub fn implementation(&self) -> Implementation {
        self.network.implementation()
    }

    /// The logits for the next micro-batch, and the statistics of each batch normalization.
    ///
    /// # Shapes
    ///
    /// As in [`Network::forward`].
    ///
    /// # Panics
    ///
    /// When the network gives feature maps; [`TrainingPass::output`] gives those, too.
    #[must_use]
    pub fn forward(&mut self, images: Tensor<4>) -> (Tensor<2>, Vec<BatchStatistics>) {
        let (output, statistics) = self.output(images);
        (output.vector(), statistics)
    }

    /// The output for the next micro-batch, as [`TrainingPass::forward`], of any network.
    #[must_use]
    pub fn output(&mut self, images: Tensor<4>) -> (Output, Vec<BatchStatistics>) {
        self.network.forward_training(images, self.from, &mut self.dropout_rng)
    }
}
