//! A pass over samples in which vectors are sent back from the output.

use std::cmp::Ordering;

use rand::RngExt;
use rayon::prelude::*;
use regulus_linalg::product::{Matrix, multiply};
use regulus_model::Weights;

use super::jacobian::{Layer, Linearized};
use super::progress::{Done, Stopped};
use crate::data::Subset;
use crate::network::Network;
use crate::seed::Seed;

/// Numbers of the largest list of a batch, at most: 4 MiB of float32, which stay in a processor's cache.
const NUMBERS: usize = 1 << 20;
/// Samples of a batch, at most.
const BATCH: usize = 16;
/// Parts whose sums are made side by side. Fixed, so that sums do not depend on threads.
pub(super) const STRIPS: usize = 4;

/// The vectors that are sent back for each sample.
#[derive(Clone, Copy, Debug)]
pub(super) enum Columns {
    /// The columns of a root of H = diag(p) − p·pᵀ: for each class √p·(e − p), with its own p before the bracket and e its unit vector.
    Roots,
    /// So many sums of the roots with random signs, divided by the root of their number: the mean of their outer products is H.
    Signs(Seed, usize),
    /// An orthonormal basis of the logits whose sum is 0, see [`contrasts`].
    Contrasts,
    /// p − y: one, the gradient of the cross-entropy.
    Errors,
}

impl Columns {
    /// How many there are for a sample of so many classes.
    pub(super) fn count(self, classes: usize) -> usize {
        match self {
            Self::Roots => classes,
            Self::Signs(_, count) => count,
            Self::Contrasts => classes - 1,
            Self::Errors => 1,
        }
    }

    /// The vectors for some outputs, `[sample, column, class]`.
    fn vectors(self, outputs: &Outputs) -> Vec<f32> {
        let classes = outputs.classes();
        match self {
            Self::Roots => outputs.log_probabilities().flat_map(|(logarithms, _)| roots(&logarithms)).collect(),
            Self::Signs(seed, count) => {
                let size = (count as f32).sqrt().recip();
                let mut chance = seed.stream("curvature", u64::from(outputs.indices[0]));
                let of_sample = |(logarithms, _): (Vec<f64>, usize)| {
                    let signs: Vec<f32> = (0..count * classes).map(|_| if chance.random::<bool>() { size } else { -size }).collect();
                    let mut vectors = vec![0.0; count * classes];
                    multiply(&mut vectors, Matrix::new(&signs, count), Matrix::new(&roots(&logarithms), classes));
                    vectors
                };
                outputs.log_probabilities().flat_map(of_sample).collect()
            }
            Self::Contrasts => contrasts(classes).repeat(outputs.labels.len()),
            Self::Errors => outputs.log_probabilities().flat_map(|(logarithms, label)| errors(&logarithms, label)).collect(),
        }
    }
}

/// Helmert's contrasts: row k is (1, …, 1, −k, 0, …)/√(k·(k + 1)) with k ones, `[classes − 1, classes]`.
pub(super) fn contrasts(classes: usize) -> Vec<f32> {
    let row = |k: usize| {
        let scale = ((k * (k + 1)) as f32).sqrt().recip();
        (0..classes).map(move |class| match class.cmp(&k) {
            Ordering::Less => scale,
            Ordering::Equal => -(k as f32) * scale,
            Ordering::Greater => 0.0,
        })
    };
    (1..classes).flat_map(row).collect()
}

/// The columns √p·(e − p) of a root of diag(p) − p·pᵀ, `[column, class]`, for ln p.
#[expect(clippy::cast_possible_truncation, reason = "vectors of float32 numbers")]
fn roots(logarithms: &[f64]) -> Vec<f32> {
    let p: Vec<f64> = logarithms.iter().map(|logarithm| logarithm.exp()).collect();
    let column = |(place, own): (usize, &f64)| {
        let root = own.sqrt();
        p.iter().enumerate().map(|(class, p)| (root * (f64::from(u8::from(class == place)) - p)) as f32).collect::<Vec<f32>>()
    };
    p.iter().enumerate().flat_map(column).collect()
}

/// p − y, for ln p.
#[expect(clippy::cast_possible_truncation, reason = "vectors of float32 numbers")]
fn errors(logarithms: &[f64], label: usize) -> Vec<f32> {
    logarithms.iter().enumerate().map(|(class, logarithm)| (logarithm.exp() - f64::from(u8::from(class == label))) as f32).collect()
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
    fn classes(&self) -> usize {
        self.logits.len() / self.labels.len().max(1)
    }

    /// ln p and the label of each sample.
    pub(super) fn log_probabilities(&self) -> impl Iterator<Item = (Vec<f64>, usize)> {
        log_probabilities(&self.logits, &self.labels)
    }

    /// Σ of the cross-entropy, in nats.
    pub(super) fn loss(&self) -> f64 {
        self.log_probabilities().map(|(logarithms, label)| -logarithms[label]).sum()
    }
}

/// ln p and the label of each sample, for logits `[sample, class]`.
pub(super) fn log_probabilities(logits: &[f32], labels: &[usize]) -> impl Iterator<Item = (Vec<f64>, usize)> {
    let classes = (logits.len() / labels.len().max(1)).max(1);
    let of_sample = |(logits, label): (&[f32], &usize)| (log_softmax(logits.iter().map(|logit| f64::from(*logit))), *label);
    logits.chunks_exact(classes).zip(labels).map(of_sample)
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
    fn outputs(&mut self, outputs: &Outputs);
    /// What reaches a layer for these samples.
    fn layer(&mut self, layer: &Layer);
    /// All layers were shown.
    fn end(&mut self, _outputs: Outputs) {}
}

/// What all strips read.
pub(super) struct Pass<'a> {
    pub(super) network: &'a Network,
    /// Those of the network.
    pub(super) weights: &'a Weights,
    pub(super) layers: &'a [usize],
    pub(super) subset: &'a Subset,
    /// The normalized number of each byte, channel by channel.
    pub(super) tables: Vec<[f32; 256]>,
    pub(super) columns: Columns,
}

impl Pass<'_> {
    /// Gathers over the samples at `indices`, in strips; `begin` begins a strip with its first sample's place among the indices.
    pub(super) fn run<G: Gather>(&self, indices: &[u32], done: &Done, begin: impl Fn(usize) -> G + Sync) -> Result<Vec<G>, Stopped> {
        let length = indices.len().div_ceil(STRIPS).max(1);
        let strips: Vec<&[u32]> = indices.chunks(length).collect();
        let gathered = |(strip, indices): (usize, &&[u32])| self.strip(indices, done, begin(strip * length));
        self.network.threads().run(|| strips.par_iter().enumerate().map(gathered).collect())
    }

    fn strip<G: Gather>(&self, indices: &[u32], done: &Done, mut gather: G) -> Result<G, Stopped> {
        let linearized = Linearized::new(self.network.graph(), self.weights);
        for chunk in indices.chunks((NUMBERS / linearized.largest(self.columns.count(self.classes()))).clamp(1, BATCH)) {
            let mut forward = linearized.forward(&self.images(chunk));
            let labels = chunk.iter().map(|index| self.subset.label(*index as usize) as usize).collect();
            let outputs = Outputs { indices: chunk.to_vec(), logits: std::mem::take(&mut forward.outputs), labels };
            gather.outputs(&outputs);
            let vectors = self.columns.vectors(&outputs);
            linearized.backward(&forward, vectors, self.layers, |layer| gather.layer(layer));
            gather.end(outputs);
            done.add(chunk.len() as u64)?;
        }
        Ok(gather)
    }

    /// The normalized images of some samples, `[sample, channel, row, column]`.
    fn images(&self, indices: &[u32]) -> Vec<f32> {
        let area = self.subset.shape().height * self.subset.shape().width;
        let mut images = Vec::with_capacity(indices.len() * self.subset.shape().size());
        for index in indices {
            for (plane, table) in self.subset.pixels(*index as usize).chunks_exact(area).zip(&self.tables) {
                images.extend(plane.iter().map(|pixel| table[usize::from(*pixel)]));
            }
        }
        images
    }

    fn classes(&self) -> usize {
        self.network.graph().output_features().size()
    }
}

/// The indices of at most `count` of `all` samples, evenly spread.
pub(super) fn spread(all: usize, count: usize) -> Vec<u32> {
    let count = count.min(all);
    (0..count).map(|place| u32::try_from(place * all / count.max(1)).unwrap_or(u32::MAX)).collect()
}
