//! A pass over samples in which vectors are sent back from the output.

use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::activation::softmax;
use rand::RngExt;
use rayon::prelude::*;
use regulus_model::graph::Op;

use super::jacobian::Layer;
use super::progress::{Done, Stopped};
use crate::backend::numbers;
use crate::config::Implementation;
use crate::data::{Batch, Batcher, Subset};
use crate::network::Network;
use crate::seed::Seed;

/// Numbers in the largest tensor of a batch, at most: 64 MiB of float32.
const NUMBERS: usize = 1 << 24;
/// Samples of a batch, at most.
const BATCH: usize = 32;
/// Parts whose sums are made side by side on a CPU. Fixed, so that sums do not depend on threads.
const STRIPS: usize = 4;

/// The vectors that are sent back for each sample.
#[derive(Clone, Copy, Debug)]
pub(super) enum Columns {
    /// The columns of a root of H = diag(p) − p·pᵀ: for each class √p·(e − p), with its own p before the bracket and e its unit vector.
    Roots,
    /// So many sums of the roots with random signs, divided by the root of their number: the mean of their outer products is H.
    Signs(Seed, usize),
    /// An orthonormal basis of the logits whose sum is 0, see [`contrasts`].
    Contrasts,
}

impl Columns {
    /// How many there are for a sample of so many classes.
    pub(super) fn count(self, classes: usize) -> usize {
        match self {
            Self::Roots => classes,
            Self::Signs(_, count) => count,
            Self::Contrasts => classes - 1,
        }
    }

    /// The vectors for logits `[sample, class]`, `[sample, column, class]`. `first` is the index of the first sample.
    fn vectors(self, logits: Tensor<2>, first: u32) -> Tensor<3> {
        let device = logits.device();
        let [batch, classes] = logits.dims();
        match self {
            Self::Roots => roots(logits),
            Self::Signs(seed, count) => {
                let mut chance = seed.stream("curvature", u64::from(first));
                let size = (count as f32).sqrt().recip();
                let signs: Vec<f32> = (0..batch * count * classes).map(|_| if chance.random::<bool>() { size } else { -size }).collect();
                let signs = Tensor::<3>::from_data(TensorData::new(signs, [batch, count, classes]), &device);
                signs.matmul(roots(logits))
            }
            Self::Contrasts => {
                let contrasts = TensorData::new(contrasts(classes), [1, classes - 1, classes]);
                Tensor::<3>::from_data(contrasts, &device).repeat_dim(0, batch)
            }
        }
    }
}

/// Helmert's contrasts: row k is (1, …, 1, −k, 0, …)/√(k·(k + 1)) with k ones, `[classes − 1, classes]`.
pub(super) fn contrasts(classes: usize) -> Vec<f32> {
    let row = |k: usize| {
        let scale = ((k * (k + 1)) as f32).sqrt().recip();
        (0..classes).map(move |class| {
            if class < k {
                scale
            } else if class == k {
                -(k as f32) * scale
            } else {
                0.0
            }
        })
    };
    (1..classes).flat_map(row).collect()
}

/// The columns of a root of diag(p) − p·pᵀ, `[sample, column, class]` of logits `[sample, class]`.
fn roots(logits: Tensor<2>) -> Tensor<3> {
    let device = logits.device();
    let [batch, classes] = logits.dims();
    let p = softmax(logits, 1);
    let identity = Tensor::<2>::eye(classes, &device).unsqueeze::<3>().repeat_dim(0, batch);
    (identity - p.clone().unsqueeze_dim::<3>(1)) * p.sqrt().unsqueeze_dim::<3>(2)
}

/// The outputs for some samples.
pub(super) struct Outputs {
    /// The samples.
    pub(super) indices: Vec<u32>,
    /// `[sample, class]`.
    pub(super) logits: Vec<f32>,
    /// `[sample]`.
    pub(super) labels: Vec<usize>,
}

impl Outputs {
    /// ln p and the label of each sample.
    pub(super) fn log_probabilities(&self) -> impl Iterator<Item = (Vec<f64>, usize)> {
        let classes = self.logits.len() / self.labels.len().max(1);
        self.logits
            .chunks_exact(classes)
            .zip(&self.labels)
            .map(|(logits, label)| (log_softmax(logits.iter().map(|logit| f64::from(*logit))), *label))
    }

    /// Σ of the cross-entropy, in nats.
    pub(super) fn loss(&self) -> f64 {
        self.log_probabilities().map(|(logarithms, label)| -logarithms[label]).sum()
    }
}

/// ln softmax of logits.
pub(super) fn log_softmax(logits: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let largest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.clone().map(|logit| (logit - largest).exp()).sum();
    logits.map(|logit| logit - largest - sum.ln()).collect()
}

/// What is gathered over the samples of a strip.
pub(super) trait Gather: Send {
    /// The outputs for the next samples.
    fn outputs(&mut self, outputs: Outputs);
    /// What reaches a layer for these samples.
    fn layer(&mut self, layer: Layer);
    /// All layers were shown.
    fn end(&mut self) {}
}

/// What all strips read.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) network: &'a Network,
    pub(super) layers: &'a [usize],
    pub(super) subset: &'a Subset,
    pub(super) batcher: &'a Batcher,
    pub(super) columns: Columns,
}

impl Pass<'_> {
    /// Gathers over the samples at `indices`, in strips; `begin` begins a strip with its first sample's place among the indices.
    pub(super) fn run<G: Gather>(&self, indices: &[u32], done: &Done, begin: impl Fn(usize) -> G + Sync) -> Result<Vec<G>, Stopped> {
        let length = indices.len().div_ceil(STRIPS).max(1);
        let strips: Vec<&[u32]> = indices.chunks(length).collect();
        let gathered = |(strip, indices): (usize, &&[u32])| self.strip(indices, done, begin(strip * length));
        // A GPU's queue belongs to one thread.
        self.network.threads().run(|| match self.network.implementation() {
            Implementation::Fused => strips.par_iter().enumerate().map(gathered).collect(),
            Implementation::Stock => strips.iter().enumerate().map(gathered).collect(),
        })
    }

    fn strip<G: Gather>(&self, indices: &[u32], done: &Done, mut gather: G) -> Result<G, Stopped> {
        for chunk in indices.chunks((NUMBERS / self.largest()).clamp(1, BATCH)) {
            let Batch { images, .. } = self.batcher.batch(self.subset, chunk);
            let labels = chunk.iter().map(|index| self.subset.label(*index as usize) as usize).collect();
            let vectors = |logits: Tensor<2>| {
                gather.outputs(Outputs { indices: chunk.to_vec(), logits: numbers(logits.clone()), labels });
                self.columns.vectors(logits, chunk[0])
            };
            let mut layers = Vec::new();
            self.network.linearized(&images, self.layers, vectors, |layer| layers.push(layer));
            layers.into_iter().for_each(|layer| gather.layer(layer));
            gather.end();
            done.add(chunk.len() as u64)?;
        }
        Ok(gather)
    }

    /// The numbers in the largest tensor that one sample becomes: a vector for each column, or a patch for each position.
    fn largest(&self) -> usize {
        let graph = self.network.graph();
        let kernels = graph.nodes().iter().filter_map(|node| match &node.op {
            Op::Conv(conv) => Some(conv.kernel[0] * conv.kernel[1]),
            _ => None,
        });
        let kernel = kernels.max().unwrap_or(1);
        graph.largest_features() * self.columns.count(graph.output_features().size()).max(kernel)
    }
}

/// The indices of at most `count` of `all` samples, evenly spread.
pub(super) fn spread(all: usize, count: usize) -> Vec<u32> {
    let count = count.min(all);
    (0..count).map(|place| u32::try_from(place * all / count.max(1)).unwrap_or(u32::MAX)).collect()
}
