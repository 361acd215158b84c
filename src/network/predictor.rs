//! What a trained network says of images.

use std::sync::Arc;

use burn::module::Module;
use rayon::prelude::*;
use regulus_model::graph::Graph;
use regulus_model::infer::Model;
use regulus_model::preprocess::Normalizer;

use super::Network;
use crate::backend::{Threads, numbers};
use crate::config::Implementation;
use crate::data::Batcher;

/// Computes the outputs of a network for images as bytes: on a CPU without Burn, and on other devices, or where stock operations are asked for, with Burn.
#[derive(Clone, Debug)]
pub struct Predictor {
    graph: Arc<Graph>,
    threads: Threads,
    computed: Computed,
}

#[derive(Clone, Debug)]
enum Computed {
    WithoutBurn { model: Arc<Model>, table: Arc<Vec<[f32; 256]>> },
    WithBurn { network: Box<Network>, batcher: Batcher },
}

impl Predictor {
    /// A predictor by the parameters of `network` as they are, which is on a device without autodiff. `normalizer` makes numbers of bytes.
    ///
    /// # Panics
    ///
    /// When the environment asks for vector instructions that this processor does not have, with which no device opens.
    #[must_use]
    pub fn new(network: &Network, normalizer: &Normalizer) -> Self {
        let computed = match network.implementation() {
            Implementation::Fused => {
                let model = Model::new(network.graph(), &network.weights()).unwrap_or_else(|error| panic!("{error}"));
                Computed::WithoutBurn { model: Arc::new(model), table: Arc::new(normalizer.table()) }
            }
            Implementation::Stock => {
                let batcher = Batcher::new(normalizer, &network.devices()[0]);
                Computed::WithBurn { network: Box::new(network.clone()), batcher }
            }
        };
        Self { graph: Arc::new(network.graph().clone()), threads: network.threads().clone(), computed }
    }

    /// What it computes.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The threads that compute.
    #[must_use]
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// What it computes with.
    #[must_use]
    pub fn implementation(&self) -> Implementation {
        match self.computed {
            Computed::WithoutBurn { .. } => Implementation::Fused,
            Computed::WithBurn { .. } => Implementation::Stock,
        }
    }

    /// The logits of images `[channel, row, column]`, one image after the other.
    #[must_use]
    pub fn logits(&self, images: &[&[u8]]) -> Vec<f32> {
        match &self.computed {
            Computed::WithBurn { network, batcher } => numbers(network.forward(batcher.images(self.graph.input(), images.iter().copied()))),
            Computed::WithoutBurn { model, table } => {
                let (area, size) = (self.graph.input().height * self.graph.input().width, self.graph.input().size());
                let mut pixels = vec![0.0; images.len() * size];
                pixels.par_chunks_mut(size).zip(images).for_each(|(to, image)| {
                    for ((to, plane), table) in to.chunks_exact_mut(area).zip(image.chunks_exact(area)).zip(&**table) {
                        to.iter_mut().zip(plane).for_each(|(to, pixel)| *to = table[usize::from(*pixel)]);
                    }
                });
                model.forward(&pixels, images.len())
            }
        }
    }

    /// The model that computes on a CPU without Burn; returns `None` on other devices and for stock operations.
    #[must_use]
    pub fn model(&self) -> Option<&Model> {
        match &self.computed {
            Computed::WithoutBurn { model, .. } => Some(model),
            Computed::WithBurn { .. } => None,
        }
    }
}
