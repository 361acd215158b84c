//! What a trained network says of images.

use std::borrow::Cow;
use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::TensorData;
use rayon::prelude::*;
use regulus_model::graph::{Graph, GraphError, Shape};
use regulus_model::infer::{Model, Views};
use regulus_model::preprocess::Normalizer;

use super::Network;
use crate::backend::Threads;
use crate::config::Implementation;
use crate::data::{Batcher, FrozenFeatures, Subset};

/// The images that are decoded at once.
const PIECE: usize = 32;

/// Numbers that a node gives for the images of a batch on a device, at most, where it is more than one image: 256 MiB.
const NUMBERS: usize = 1 << 26;

/// Computes the outputs of a network for images as bytes: on a CPU without Burn, and on other devices, or where stock operations are asked for, with Burn.
#[derive(Clone, Debug)]
pub struct Predictor {
    graph: Arc<Graph>,
    implementation: Implementation,
    threads: Threads,
    computed: Computed,
    /// What frozen layers give for images, and the layers after them.
    features: Option<(Arc<FrozenFeatures>, Arc<Model>)>,
    views: Views,
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
        let implementation = network.implementation();
        let computed = if let Some(algorithm) = network.algorithm() {
            let model = Model::with_algorithm(network.graph(), &network.weights(), algorithm).unwrap_or_else(|error| panic!("{error}"));
            Computed::WithoutBurn { model: Arc::new(model), table: Arc::new(normalizer.table()) }
        } else {
            let batcher = Batcher::new(normalizer, &network.devices()[0]);
            Computed::WithBurn { network: Box::new(network.clone()), batcher }
        };
        let (graph, threads) = (Arc::new(network.graph().clone()), network.threads().clone());
        Self { graph, implementation, threads, computed, features: None, views: Views::default() }
    }

    /// The same, which takes what frozen layers give for an image from `features`, so that these compute each image once.
    ///
    /// # Panics
    ///
    /// When `network` is not the one of the predictor, or its frozen layers are not those of `features`.
    #[must_use]
    pub fn with_features(self, features: Option<&Arc<FrozenFeatures>>, network: &Network) -> Self {
        let of_rest = |features: &Arc<FrozenFeatures>| {
            let (_, rest) = network.graph().split_after(features.node());
            let algorithm = network.algorithm().unwrap_or_default();
            let rest = Model::with_algorithm(&rest, &network.weights().of(&rest), algorithm).unwrap_or_else(|error| panic!("{error}"));
            (Arc::clone(features), Arc::new(rest))
        };
        Self { features: features.map(of_rest), ..self }
    }

    /// The same network, whose logits are the mean over these views of an image.
    #[must_use]
    pub fn with_views(self, views: Views) -> Self {
        Self { views, ..self }
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
    pub const fn implementation(&self) -> Implementation {
        self.implementation
    }

    /// The same network for images of another size. It shares the weights where the kernels can.
    ///
    /// # Errors
    ///
    /// As [`Graph::with_input`].
    pub fn with_input(&self, input: Shape) -> Result<Self, GraphError> {
        let computed = match &self.computed {
            Computed::WithoutBurn { model, table } => {
                Computed::WithoutBurn { model: Arc::new(model.with_input(input)?), table: Arc::clone(table) }
            }
            Computed::WithBurn { network, batcher } => {
                Computed::WithBurn { network: Box::new(network.with_input(input)?), batcher: batcher.clone() }
            }
        };
        let graph = Arc::new(self.graph.with_input(input)?);
        Ok(Self { graph, computed, threads: self.threads.clone(), features: None, ..*self })
    }

    /// The outputs for `count` images whose numbers are normalized, as they come out of the network. On a CPU, and in networks without dense layers, large
    /// images are computed by few at a time.
    ///
    /// # Shapes
    ///
    /// - images: `[image, channel, row, column]`
    /// - output: `[image, logit]`, or `[image, channel, row, column]` where the network gives feature maps
    ///
    /// # Panics
    ///
    /// When `images` are not `count` images of the graph's input.
    #[must_use]
    pub fn forward(&self, images: &[f32], count: usize) -> Vec<f32> {
        let input = self.graph.input();
        assert_eq!(images.len(), count * input.size(), "the numbers of {count} images of {input}");
        self.threads.run(|| self.compute(images, count))
    }

    fn compute(&self, images: &[f32], count: usize) -> Vec<f32> {
        let input = self.graph.input();
        match &self.computed {
            Computed::WithoutBurn { model, .. } => model.forward(images, count),
            Computed::WithBurn { network, .. } => {
                let device = &network.devices()[0];
                let most = (NUMBERS / self.graph.largest_features()).max(1);
                let output = |images: &[f32]| {
                    let shape = [images.len() / input.size(), input.channels, input.height, input.width];
                    network.output(Tensor::from_data(TensorData::new(images.to_vec(), shape), device)).numbers()
                };
                images.chunks(most * input.size()).flat_map(output).collect()
            }
        }
    }

    /// The logits of images `[channel, row, column]`, one image after the other. See [`Predictor::with_views`].
    #[must_use]
    pub fn logits(&self, images: &[&[u8]]) -> Vec<f32> {
        self.threads.run(|| {
            if self.views.is_image() {
                self.compute_logits(images)
            } else {
                self.views.mean(images, self.graph.input(), |images| self.compute_logits(images))
            }
        })
    }

    /// As [`Predictor::logits`], for the images of `subset` at `indices`. Images that are not in memory are decoded in pieces, and only where they are needed;
    /// `go_on` is asked after each piece. Returns `None` if it says no.
    pub fn logits_of(&self, subset: &Subset, indices: &[usize], go_on: &mut (dyn FnMut() -> bool + Send)) -> Option<Vec<f32>> {
        let is_streamed = subset.is_streamed();
        let pieces = indices.chunks(if is_streamed { PIECE } else { indices.len().max(1) });
        self.threads.run(|| {
            if let Some((features, rest)) = self.features.as_ref().filter(|_| self.views.is_image()) {
                let mut vectors = Vec::with_capacity(indices.len() * features.length());
                for piece in pieces {
                    vectors.extend(features.of_samples(subset, piece));
                    if is_streamed && !go_on() {
                        return None;
                    }
                }
                return Some(rest.forward(&vectors, indices.len()));
            }
            let mut images: Vec<Cow<[u8]>> = Vec::with_capacity(indices.len());
            for piece in pieces {
                images.extend(subset.pixels_of_all(piece));
                if is_streamed && !go_on() {
                    return None;
                }
            }
            Some(self.logits(&images.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>()))
        })
    }

    fn compute_logits(&self, images: &[&[u8]]) -> Vec<f32> {
        if let Some((features, rest)) = &self.features {
            return rest.forward(&features.of(images), images.len());
        }
        match &self.computed {
            Computed::WithBurn { network, batcher } => network.output(batcher.images(self.graph.input(), images.iter().copied())).numbers(),
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
