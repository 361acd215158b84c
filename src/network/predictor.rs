//! What a trained network says of images.

use burn::module::Module;
use regulus_model::graph::Graph;
use regulus_model::preprocess::Normalizer;

use super::Network;
use crate::backend::numbers;
use crate::config::Implementation;
use crate::data::Batcher;

/// Computes the outputs of a network for images as bytes.
#[derive(Clone, Debug)]
pub struct Predictor {
    network: Network,
    batcher: Batcher,
}

impl Predictor {
    /// A predictor by the parameters of `network` as they are, which is on a device without autodiff. `normalizer` makes numbers of bytes.
    #[must_use]
    pub fn new(network: &Network, normalizer: &Normalizer) -> Self {
        let batcher = Batcher::new(normalizer, &network.devices()[0]);
        Self { network: network.clone(), batcher }
    }

    /// What it computes.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        self.network.graph()
    }

    /// What it computes with.
    #[must_use]
    pub fn implementation(&self) -> Implementation {
        self.network.implementation()
    }

    /// The logits of images `[channel, row, column]`, one image after the other.
    #[must_use]
    pub fn logits(&self, images: &[&[u8]]) -> Vec<f32> {
        numbers(self.network.forward(self.batcher.images(self.graph().input(), images.iter().copied())))
    }
}
