//! What frozen layers give for images, computed once for each.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rayon::prelude::*;
use regulus_kernels::algorithm::Algorithm;
use regulus_model::Weights;
use regulus_model::graph::Graph;
use regulus_model::infer::{InferError, Model};
use regulus_model::preprocess::Normalizer;
use sha2::{Digest, Sha256};

/// The vectors that the frozen layers of a network give for images that are not augmented. Each is computed when it is first asked for, on a CPU without Burn,
/// and then kept in memory. An image is known by the SHA-256 of its bytes.
pub struct FrozenFeatures {
    /// The index of the last frozen node that gives a vector.
    node: usize,
    frozen: Model,
    algorithm: Algorithm,
    graph: Graph,
    weights: Weights,
    normalizer: Normalizer,
    table: Vec<[f32; 256]>,
    known: RwLock<HashMap<[u8; 32], Arc<[f32]>>>,
}

impl FrozenFeatures {
    /// No features yet, of the frozen layers of a network with these weights. Returns `Ok(None)` where the network has no such layers; see
    /// [`Graph::last_frozen_vector`].
    ///
    /// # Errors
    ///
    /// As [`Model::new`].
    pub fn new(graph: &Graph, weights: &Weights, normalizer: &Normalizer, algorithm: Algorithm) -> Result<Option<Self>, InferError> {
        let Some(node) = graph.last_frozen_vector() else { return Ok(None) };
        let (frozen, _) = graph.split_after(node);
        let weights = weights.of(&frozen);
        Ok(Some(Self {
            node,
            frozen: Model::with_algorithm(&frozen, &weights, algorithm)?,
            algorithm,
            graph: frozen,
            weights,
            normalizer: normalizer.clone(),
            table: normalizer.table(),
            known: RwLock::default(),
        }))
    }

    /// Whether these are what the frozen layers of another network give.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm
            && (&self.graph, &self.normalizer, &self.weights) == (&other.graph, &other.normalizer, &other.weights)
    }

    /// The node that gives the vectors.
    #[must_use]
    pub const fn node(&self) -> usize {
        self.node
    }

    /// The numbers of a vector.
    #[must_use]
    pub fn length(&self) -> usize {
        self.graph.output_features().size()
    }

    /// The bytes that the vectors for `count` images take.
    #[must_use]
    pub fn bytes_of(&self, count: u64) -> u64 {
        count * (self.length() * size_of::<f32>()) as u64
    }

    /// The vectors for images `[channel, row, column]`, one after the other.
    #[must_use]
    pub fn of(&self, images: &[&[u8]]) -> Vec<f32> {
        let keys: Vec<[u8; 32]> = images.par_iter().map(|image| Sha256::digest(image).into()).collect();
        let mut found = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            keys.iter().map(|key| known.get(key).cloned()).collect::<Vec<Option<Arc<[f32]>>>>()
        };
        let missing: Vec<usize> = (0..images.len()).filter(|index| found[*index].is_none()).collect();
        if !missing.is_empty() {
            let pixels: Vec<f32> = missing.par_iter().flat_map_iter(|index| self.numbers(images[*index])).collect();
            let computed = self.frozen.forward(&pixels, missing.len());
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            for (index, vector) in missing.into_iter().zip(computed.chunks_exact(self.length())) {
                let vector: Arc<[f32]> = vector.into();
                known.insert(keys[index], Arc::clone(&vector));
                found[index] = Some(vector);
            }
        }
        found.iter().flatten().flat_map(|vector| vector.iter().copied()).collect()
    }

    /// The normalized numbers of an image.
    fn numbers<'a>(&'a self, image: &'a [u8]) -> impl Iterator<Item = f32> + 'a {
        let area = image.len() / self.table.len();
        image.chunks_exact(area).zip(&self.table).flat_map(|(plane, table)| plane.iter().map(|pixel| table[usize::from(*pixel)]))
    }
}

impl std::fmt::Debug for FrozenFeatures {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(formatter, "FrozenFeatures of node {} by {:?}", self.node, self.frozen)
    }
}
