//! What frozen layers give for images, computed once for each.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rayon::prelude::*;
use regulus_kernels::algorithm::Algorithm;
use regulus_model::Weights;
use regulus_model::graph::Graph;
use regulus_model::infer::{InferError, Model};
use regulus_model::preprocess::Normalizer;
use sha2::{Digest, Sha256};

use super::Subset;

/// The vectors that the frozen layers of a network give for images that are not augmented. Each is computed when it is first asked for, on a CPU without Burn,
/// and then kept in memory. An image is known by the SHA-256 of its bytes, or, if it is decoded when it is needed, by its file: it is then decoded once, too.
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
        self.vectors(&keys, |missing| missing.iter().map(|index| Cow::Borrowed(images[*index])).collect(), || true)
    }

    /// The vectors for the images of `subset` at `indices`, one after the other. Images that are not in memory are decoded if their vectors are not known.
    #[must_use]
    pub fn of_samples(&self, subset: &Subset, indices: &[usize]) -> Vec<f32> {
        let Some(keys) = subset.keys(indices) else {
            let images = subset.pixels_of_all(indices);
            return self.of(&images.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>());
        };
        let images = |missing: &[usize]| subset.pixels_of_all(&missing.iter().map(|place| indices[*place]).collect::<Vec<_>>());
        // After a failure an image may be black.
        self.vectors(&keys, images, || subset.check_decoded().is_ok())
    }

    /// The vectors for images with these keys, one after the other. `images` gives those at some places; what is computed for them is kept if `is_whole`.
    fn vectors<'a>(
        &self,
        keys: &[[u8; 32]],
        images: impl FnOnce(&[usize]) -> Vec<Cow<'a, [u8]>>,
        is_whole: impl FnOnce() -> bool,
    ) -> Vec<f32> {
        let mut found = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            keys.iter().map(|key| known.get(key).cloned()).collect::<Vec<Option<Arc<[f32]>>>>()
        };
        let missing: Vec<usize> = (0..keys.len()).filter(|index| found[*index].is_none()).collect();
        if !missing.is_empty() {
            let images = images(&missing);
            let pixels: Vec<f32> = images.par_iter().flat_map_iter(|image| self.numbers(image)).collect();
            let computed = self.frozen.forward(&pixels, missing.len());
            let mut known = is_whole().then(|| self.known.write().unwrap_or_else(PoisonError::into_inner));
            for (index, vector) in missing.into_iter().zip(computed.chunks_exact(self.length())) {
                let vector: Arc<[f32]> = vector.into();
                if let Some(known) = &mut known {
                    known.insert(keys[index], Arc::clone(&vector));
                }
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

#[cfg(test)]
mod tests {
    use regulus_model::Values;
    use regulus_model::graph::{Layer, Parameter, Shape};
    use regulus_model::networks::layers;
    use regulus_model::preprocess::{Decoding, Filter, Preprocess, Resize};

    use super::*;
    use crate::data::Images;
    use crate::data::streamed::Streamed;

    fn features(shape: Shape) -> FrozenFeatures {
        let lines: Vec<Layer> =
            ["conv 3 3x3", "relu", "global_average_pool", "dense classes"].iter().map(|line| Layer::new(line).unwrap()).collect();
        let graph = layers(&lines, shape, 2).unwrap().frozen(|parameter| parameter.name.starts_with("conv"));
        let values = |parameter: &Parameter| {
            let numbers = (0..parameter.size()).map(|index| (index % 7) as f32 * 0.1 - 0.2).collect();
            (parameter.name.clone(), Values { shape: parameter.shape.clone(), numbers })
        };
        let weights = graph.parameters().map(values).collect();
        FrozenFeatures::new(&graph, &weights, &Normalizer { mean: vec![0.0], deviation: vec![1.0] }, Algorithm::default()).unwrap().unwrap()
    }

    #[test]
    fn an_image_that_is_not_in_memory_is_decoded_once() {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape { channels: 1, height: 5, width: 5 };
        let picture = |index: u32| image::GrayImage::from_fn(5, 5, |x, y| image::Luma([u8::try_from(index * 60 + x * 7 + y * 3).unwrap()]));
        let files: Vec<_> = (0..3).map(|index| folder.path().join(format!("{index}.png"))).collect();
        (0..3).zip(&files).for_each(|(index, file)| picture(index).save(file).unwrap());
        let preprocess = Preprocess { shape, resize: Resize::Stretch, filter: Filter::Bilinear, decoding: Decoding::Reduced };
        let streamed = Images::streamed(shape, Streamed::new(preprocess, Arc::default(), Vec::new(), Vec::new()), vec![0, 1, 0])
            .of_files(files.clone());
        let subset = Subset::all(Arc::new(streamed));
        let in_memory = Images::new(shape, (0..3).flat_map(|index| picture(index).into_raw()).collect(), vec![0, 1, 0]);
        let in_memory = Subset::all(Arc::new(in_memory));

        let (features, expected) = (features(shape), features(shape).of_samples(&in_memory, &[0, 1, 2]));
        let expected: Vec<&[f32]> = expected.chunks_exact(features.length()).collect();
        assert!(expected[0] != expected[1] && expected[1] != expected[2]);
        assert_eq!(features.of_samples(&subset, &[2, 0]), [expected[2], expected[0]].concat());
        files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
        assert_eq!(features.of_samples(&subset, &[0, 2, 0]), [expected[0], expected[2], expected[0]].concat());
        subset.check_decoded().unwrap();
        // The black image in place of one that is missing is not kept.
        assert!(features.of_samples(&subset, &[1]) != expected[1]);
        subset.check_decoded().unwrap_err();
        picture(1).save(&files[1]).unwrap();
        assert_eq!(features.of_samples(&subset, &[1]), expected[1]);
    }
}
