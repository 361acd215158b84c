//! Laplace's approximation of the posterior: a Gaussian around the trained weights with the precision P = (curvature of the summed data loss) + (that of the
//! penalty).
//!
//! In the directions of [`Corrected`] P is nearly diagonal. The directions in which the data say most about a weight, measured by s/λ, are *selected*: among
//! them P is the exact Gauss-Newton matrix, elsewhere its diagonal s + λ. With all directions selected it is exact. Directions that no sample reaches have the
//! variance 1/λ.
//!
//! Kernels without a penalty are constants, as they are for the evidence. Biases without one are nearly free: their precision is [`FREE`] times the smallest λ.

use std::collections::BTreeMap;

use regulus_linalg::eigen::Eigen;
use regulus_linalg::product::{Matrix, add_lower_square, multiply};
use regulus_model::Weights;

use super::corrected::Corrected;
use super::gradients::{PerDirection, Terms};
use super::inverse::{Inverse, variances};
use super::jacobian::Layer;
use super::minimum::Minimum;
use super::pass::{Columns, Gather, Outputs, contrasts, log_probabilities};
use super::progress::{Done, Stopped};
use super::{Curvature, CurvatureInput, Watch};

/// The precision of a bias without a penalty, as a part of the smallest λ.
const FREE: f64 = 1e-3;
/// The most selected directions.
pub(super) const SELECTED: usize = 1024;
/// Rows whose outer products are added at once.
const ROWS: usize = 512;

/// The posterior of the weights.
pub struct Posterior {
    pub(super) corrected: Corrected,
    /// λ of kernel and bias of each layer.
    pub(super) lambdas: Vec<[f64; 2]>,
    /// λ of each penalized parameter, by name.
    pub(super) penalized: BTreeMap<String, f64>,
    pub(super) selection: Selection,
    /// The Gauss-Newton matrix among the selected directions, of which the lower triangle is read.
    pub(super) block: Vec<f64>,
    pub(super) inverse: Inverse,
    pub(super) samples: Vec<Linearized>,
    /// How many samples each of them stands for.
    pub(super) each: f64,
    minimum: Minimum,
}

/// The selected directions of each layer, and where they begin among all.
pub(super) struct Selection {
    pub(super) of_layers: Vec<Vec<usize>>,
    pub(super) places: Vec<usize>,
    pub(super) count: usize,
}

/// What leave-one-out needs of a batch of samples.
pub(super) struct Linearized {
    pub(super) outputs: Outputs,
    /// The Jacobian of the contrasts of the logits in the selected directions, `[sample, contrast, direction]`.
    pub(super) features: Vec<f32>,
    /// J·Σ·Jᵀ in the other directions, `[sample, contrast, contrast]`.
    pub(super) products: Vec<f64>,
}

impl CurvatureInput<'_> {
    /// The posterior with the given λ of the penalized parameters, by name. Where the samples are many it is computed of some of them, which are kept for
    /// leave-one-out: at most 256 MiB of float32. Returns `None` if none has a λ above 0, or a number is not finite.
    ///
    /// # Errors
    ///
    /// When `watch` returns false.
    pub fn posterior(&self, lambdas: &BTreeMap<String, f64>, watch: &Watch) -> Result<Option<Posterior>, Stopped> {
        let smallest = lambdas.values().copied().filter(|lambda| *lambda > 0.0).fold(f64::INFINITY, f64::min);
        if !smallest.is_finite() || self.scope.layers().is_empty() {
            return Ok(None);
        }
        let mut corrected = self.corrected(watch)?;
        let lambda = |name: &str, leaf: &str| lambdas.get(&format!("{name}.{leaf}")).copied().filter(|lambda| *lambda > 0.0);
        corrected.layers.retain(|layer| lambda(&layer.name, "weight").is_some());
        let of_layer = |name: &str| [lambda(name, "weight").unwrap_or(smallest), lambda(name, "bias").unwrap_or(FREE * smallest)];
        let own: Vec<[f64; 2]> = corrected.layers.iter().map(|layer| of_layer(&layer.name)).collect();
        let selection = Selection::of(&corrected, &own);
        let variances = variances(&corrected, &own, &selection);
        let columns = Columns::Contrasts;
        let (indices, each) = self.sampled(columns.count(self.network.graph().output_features().size()));
        let done = Done::of("leave-one-out", indices.len() as u64, watch);
        let begin = |_| Strip {
            corrected: &corrected,
            selection: &selection,
            variances: &variances,
            block: vec![0.0; selection.count * selection.count],
            roots: Vec::new(),
            weighted: Vec::new(),
            current: None,
            linearized: Vec::new(),
        };
        let layers: Vec<usize> = corrected.layers.iter().map(|layer| layer.basis.index).collect();
        let mut pass = self.pass(columns);
        pass.layers = &layers;
        let strips = pass.run(&indices, &done, begin)?;
        let mut block = vec![0.0; selection.count * selection.count];
        let mut linearized = Vec::new();
        for mut strip in strips {
            strip.add_weighted();
            block.iter_mut().zip(strip.block).for_each(|(to, from)| *to += each * from);
            linearized.extend(strip.linearized);
        }
        let names: Vec<String> =
            corrected.layers.iter().flat_map(|layer| ["weight", "bias"].map(|leaf| format!("{}.{leaf}", layer.name))).collect();
        let penalized = lambdas.iter().filter(|(name, _)| names.contains(name)).map(|(name, lambda)| (name.clone(), *lambda)).collect();
        let Some(inverse) = Inverse::of(&block, &corrected, &own, &selection) else { return Ok(None) };
        let minimum = Minimum { weights: self.weights.clone(), logits: Vec::new() };
        let lambdas = own;
        let mut posterior = Posterior { corrected, lambdas, penalized, selection, block, inverse, samples: linearized, each, minimum };
        posterior.minimum = self.minimum(&posterior, watch)?;
        Ok(Some(posterior))
    }
}

impl Posterior {
    /// The curvature of the data loss, with the eigenvalues of each parameter.
    #[must_use]
    pub fn curvature(&self) -> Curvature {
        self.corrected.curvature()
    }

    /// The weights at the minimum of the objective of the linearized network.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.minimum.weights
    }

    /// Σ of the cross-entropy of all samples there, in nats.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.each * self.at_minimum().flatten().map(|(logarithms, label)| -logarithms[label]).sum::<f64>()
    }

    /// ln p and the label of each sample there, in the batches of the samples.
    pub(super) fn at_minimum(&self) -> impl Iterator<Item = Vec<(Vec<f64>, usize)>> {
        let mut begin = 0;
        self.samples.iter().map(move |samples| {
            let Outputs { logits, labels, .. } = &samples.outputs;
            let own = &self.minimum.logits[begin..][..logits.len()];
            begin += logits.len();
            log_probabilities(own, labels).collect()
        })
    }
}

impl Selection {
    /// All biases if they are few, and the kernels' directions with the largest s/λ.
    fn of(corrected: &Corrected, lambdas: &[[f64; 2]]) -> Self {
        let mut of_layers = vec![Vec::new(); corrected.layers.len()];
        let biases: usize = corrected.layers.iter().map(|layer| layer.curvature.bias.len()).sum();
        let with_biases = biases <= SELECTED / 2;
        let mut ratios = Vec::new();
        for (place, (layer, [lambda, _])) in corrected.layers.iter().zip(lambdas).enumerate() {
            let largest = layer.curvature.inside.iter().copied().enumerate().filter(|(_, value)| *value > 0.0);
            ratios.extend(largest.map(|(direction, value)| (value / lambda, place, direction)));
        }
        ratios.sort_by(|one, other| other.0.total_cmp(&one.0).then((one.1, one.2).cmp(&(other.1, other.2))));
        let room = SELECTED - if with_biases { biases } else { 0 };
        for (_, place, direction) in ratios.into_iter().take(room) {
            of_layers[place].push(direction);
        }
        let mut places = Vec::new();
        let mut count = 0;
        for (directions, layer) in of_layers.iter_mut().zip(&corrected.layers) {
            directions.sort_unstable();
            let inside = layer.curvature.inside.len();
            if with_biases {
                directions.extend(inside..inside + layer.curvature.bias.len());
            }
            places.push(count);
            count += directions.len();
        }
        Self { of_layers, places, count }
    }

    /// λ of each selected direction.
    pub(super) fn lambdas(&self, corrected: &Corrected, lambdas: &[[f64; 2]]) -> Vec<f64> {
        let of_layers = self.of_layers.iter().zip(&corrected.layers).zip(lambdas);
        let all = of_layers.flat_map(|((directions, layer), [kernel, bias])| {
            let inside = layer.curvature.inside.len();
            directions.iter().map(move |direction| if *direction < inside { *kernel } else { *bias })
        });
        all.collect()
    }
}

/// The Gauss-Newton matrix among the selected directions over some samples, and what leave-one-out needs of them.
struct Strip<'a> {
    corrected: &'a Corrected,
    selection: &'a Selection,
    variances: &'a [PerDirection<f32>],
    block: Vec<f64>,
    /// The root of Qᵀ·H·Q of each sample, Q the contrasts.
    roots: Vec<f32>,
    /// The features times the roots, `[sample and contrast, direction]`: rows whose outer products are not added yet.
    weighted: Vec<f32>,
    current: Option<Linearized>,
    linearized: Vec<Linearized>,
}

impl Strip<'_> {
    /// Adds the outer products of the rows so far to the block.
    fn add_weighted(&mut self) {
        let size = self.selection.count;
        let weighted = std::mem::take(&mut self.weighted);
        if weighted.is_empty() {
            return;
        }
        let rows = Matrix::new(&weighted, weighted.len() / size.max(1));
        let mut product = vec![0.0_f32; size * size];
        add_lower_square(&mut product, rows.transpose());
        self.block.iter_mut().zip(product).for_each(|(to, number)| *to += f64::from(number));
    }
}

impl Gather for Strip<'_> {
    fn outputs(&mut self, outputs: &Outputs) {
        let samples = outputs.labels.len();
        let contrasts = outputs.logits.len() / samples - 1;
        #[expect(clippy::cast_possible_truncation, reason = "weights of float32 sums")]
        let roots = outputs.log_probabilities().flat_map(|(logarithms, _)| root(&logarithms)).map(|number| number as f32);
        self.roots = roots.collect();
        self.current = Some(Linearized {
            outputs: Outputs { indices: Vec::new(), logits: Vec::new(), labels: Vec::new() },
            features: vec![0.0; samples * contrasts * self.selection.count],
            products: vec![0.0; samples * contrasts * contrasts],
        });
    }

    fn layer(&mut self, layer: &Layer) {
        let place = self.corrected.layers.iter().position(|corrected| corrected.basis.index == layer.index);
        if let (Some(place), Some(Linearized { features, products, .. })) = (place, &mut self.current) {
            let (variances, selected) = (&self.variances[place], self.selection.of_layers[place].as_slice());
            let mut terms = Terms { variances, selected, products, features, place: self.selection.places[place] };
            self.corrected.layers[place].basis.add_terms(layer, &mut terms);
        }
    }

    fn end(&mut self, outputs: Outputs) {
        let Some(linearized) = self.current.take() else { return };
        let linearized = Linearized { outputs, ..linearized };
        let (samples, size) = (linearized.outputs.labels.len(), self.selection.count);
        let rows = linearized.features.len() / size.max(1);
        let contrasts = rows / samples;
        let begin = self.weighted.len();
        self.weighted.resize(begin + linearized.features.len(), 0.0);
        let of_sample = (contrasts * size).max(1);
        let of_samples = self.weighted[begin..].chunks_exact_mut(of_sample).zip(linearized.features.chunks_exact(of_sample));
        for ((to, features), root) in of_samples.zip(self.roots.chunks_exact(contrasts * contrasts)) {
            multiply(to, Matrix::new(root, contrasts), Matrix::new(features, contrasts));
        }
        if self.weighted.len() > ROWS * size {
            self.add_weighted();
        }
        self.linearized.push(linearized);
    }
}

/// The symmetric root of Qᵀ·(diag(p) − p·pᵀ)·Q, Q the contrasts, for ln p.
pub(super) fn root(logarithms: &[f64]) -> Vec<f64> {
    let curvature = of_contrasts(logarithms);
    let size = logarithms.len() - 1;
    let Eigen { values, vectors } = Eigen::of(&curvature);
    let weighted: Vec<f64> = vectors
        .chunks_exact(size)
        .zip(&values)
        .flat_map(|(vector, value)| vector.iter().map(|number| number * value.max(0.0).sqrt()).collect::<Vec<f64>>())
        .collect();
    let mut root = vec![0.0; size * size];
    multiply(&mut root, Matrix::new(&weighted, size).transpose(), Matrix::new(&vectors, size));
    root
}

/// Qᵀ·(diag(p) − p·pᵀ)·Q.
fn of_contrasts(logarithms: &[f64]) -> Vec<f64> {
    let classes = logarithms.len();
    let q: Vec<f64> = contrasts(classes).into_iter().map(f64::from).collect();
    let p: Vec<f64> = logarithms.iter().map(|logarithm| logarithm.exp()).collect();
    let weighted: Vec<f64> = q
        .chunks_exact(classes)
        .flat_map(|row| {
            let mean: f64 = row.iter().zip(&p).map(|(number, p)| number * p).sum();
            row.iter().zip(&p).map(|(number, p)| p * (number - mean)).collect::<Vec<f64>>()
        })
        .collect();
    let mut product = vec![0.0; (classes - 1) * (classes - 1)];
    multiply(&mut product, Matrix::new(&weighted, classes - 1), Matrix::new(&q, classes - 1).transpose());
    product
}
