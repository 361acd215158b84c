//! Kronecker factors with corrected eigenvalues (EKFAC: George et al. 2018, arXiv 1806.03884).
//!
//! The eigenvectors of the two Kronecker factors of a kernel span its directions; the curvature in direction (j, k) is not the product of the factors'
//! eigenvalues, but the sum over samples and columns of the squares of `(U_G·G·U_Aᵀ)_jk`, with G the gradient of the kernel for one column of H's root.
//!
//! A factor with more than [`FULL`] rows is replaced by [`ROWS`] of the vectors that it is the sum of; the eigenvectors are those of their Gram matrix. The
//! directions outside of it share one number for each output direction: the mean of their squares.

use std::collections::BTreeMap;

use rayon::prelude::*;
use regulus_linalg::product::{Matrix, add_lower_square};
use regulus_model::graph::Op;

use super::eigen::{Basis, Factor, work};
use super::gradients::{LayerBasis, PerDirection};
use super::jacobian::Layer;
use super::pass::{Columns, Gather, Outputs, spread};
use super::progress::{Done, Stopped};
use super::{Curvature, CurvatureInput, Spectrum, Watch};

/// The most rows of a factor that is decomposed as it is: 512 rows take a twentieth of a second.
pub(super) const FULL: usize = 512;
/// The most vectors that stand for a wider factor.
pub(super) const ROWS: usize = 512;
/// The most samples that bases are made of.
const BASIS_SAMPLES: usize = 512;
/// The vectors of the products that a smaller factor is the sum of, at most, up to those of one sample.
const PRODUCTS: usize = 1 << 15;
/// The columns over all samples, at least, where H's root is sampled.
const COLUMNS: usize = 1000;

/// The curvature in the directions of both bases of each layer.
#[derive(Clone, Debug)]
pub(super) struct Corrected {
    /// Σ of the samples' cross-entropy, in nats.
    pub(super) loss: f64,
    /// Each layer with its name.
    pub(super) layers: Vec<CorrectedLayer>,
}

/// One layer.
#[derive(Clone, Debug)]
pub(super) struct CorrectedLayer {
    pub(super) name: String,
    pub(super) basis: LayerBasis,
    /// The curvature in each direction.
    pub(super) curvature: PerDirection<f64>,
}

impl CurvatureInput<'_> {
    /// The corrected eigenvalues over every sample.
    pub(super) fn corrected(&self, watch: &Watch) -> Result<Corrected, Stopped> {
        let samples = self.subset.count();
        let classes = self.network.graph().output_features().size();
        let bases = self.bases(watch)?;
        // Exact where it costs little: the roots of H are as many as the classes.
        let count = COLUMNS.div_ceil(samples.max(1));
        let columns = if 2 * count >= classes { Columns::Roots } else { Columns::Signs(self.seed, count) };
        let (indices, each) = self.sampled(columns.count(classes));
        let done = Done::of("curvature of the loss", indices.len() as u64, watch);
        let begin = |_| SquareSums { bases: &bases, loss: 0.0, sums: bases.iter().map(LayerBasis::zeros).collect() };
        let strips = self.pass(columns).run(&indices, &done, begin)?;
        let mut strips = strips.into_iter().map(|strip| (strip.loss, strip.sums));
        let (mut loss, mut sums) = strips.next().unwrap_or_default();
        for (other_loss, others) in strips {
            loss += other_loss;
            sums.iter_mut().zip(&others).for_each(|(to, from)| to.add(from));
        }
        if indices.len() < samples {
            loss = self.loss(watch)?;
        }
        let graph = self.network.graph();
        let layer = |(basis, curvature): (LayerBasis, PerDirection<f64>)| {
            let mut curvature = curvature.map(|sum| each * sum);
            let [inputs, outputs] = basis.outside_counts();
            curvature.inputs_outside.iter_mut().for_each(|sum| *sum /= inputs.max(1) as f64);
            curvature.outputs_outside /= outputs.max(1) as f64;
            CorrectedLayer { name: graph.nodes()[basis.index].name.clone(), basis, curvature }
        };
        let layers = bases.into_iter().zip(sums).map(layer).collect();
        Ok(Corrected { loss, layers })
    }

    /// The eigenvectors of both factors of each layer.
    fn bases(&self, watch: &Watch) -> Result<Vec<LayerBasis>, Stopped> {
        let graph = self.network.graph();
        let indices = spread(self.subset.count(), BASIS_SAMPLES);
        let done = Done::of("factors of the curvature", indices.len() as u64, watch);
        let begin = |first| FactorSums { first, next: first, samples: indices.len(), layers: BTreeMap::new() };
        let strips = self.pass(Columns::Signs(self.seed, 1)).run(&indices, &done, begin)?;
        let mut strips = strips.into_iter().map(|strip| strip.layers);
        let mut all = strips.next().unwrap_or_default();
        for strip in strips {
            for (index, [inputs, outputs]) in strip {
                if let Some([to_inputs, to_outputs]) = all.get_mut(&index) {
                    to_inputs.join(inputs);
                    to_outputs.join(outputs);
                }
            }
        }
        let sizes = all.values().flatten().map(|sum| work(sum.size())).sum();
        let done = Done::of("eigenvalues", sizes, watch);
        let basis = |(index, [inputs, outputs]): (usize, [FactorSum; 2])| {
            let (inputs, outputs) =
                rayon::join(|| Basis::of(inputs.factor, inputs.width, &done), || Basis::of(outputs.factor, outputs.width, &done));
            let parameters = graph.parameters_of(index);
            let is_dense = matches!(graph.nodes()[index].op, Op::Dense(_));
            Ok(LayerBasis { index, has_bias: parameters.len() > 1, is_dense, inputs: inputs?, outputs: outputs? })
        };
        self.network.threads().run(|| all.into_iter().collect::<Vec<_>>().into_par_iter().map(basis).collect())
    }
}

impl Corrected {
    /// The eigenvalues of each parameter.
    pub(super) fn curvature(&self) -> Curvature {
        let mut spectra = BTreeMap::new();
        for CorrectedLayer { name, basis, curvature } in &self.layers {
            let [inputs, outputs] = basis.outside_counts();
            let inside = curvature.inside.iter().map(|value| (*value, 1));
            let outside = curvature.inputs_outside.iter().map(|value| (*value, inputs));
            let values = inside.chain(outside).chain([(curvature.outputs_outside, outputs)]).filter(|(_, count)| *count > 0);
            spectra.insert(format!("{name}.weight"), Spectrum::Values(values.collect()));
            spectra.insert(format!("{name}.bias"), Spectrum::Values(curvature.bias.iter().map(|value| (*value, 1)).collect()));
        }
        Curvature { loss: self.loss, spectra }
    }
}

impl PerDirection<f64> {
    fn add(&mut self, other: &Self) {
        let add = |to: &mut [f64], from: &[f64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        add(&mut self.inside, &other.inside);
        add(&mut self.inputs_outside, &other.inputs_outside);
        self.outputs_outside += other.outputs_outside;
        add(&mut self.bias, &other.bias);
    }
}

/// Sums of squared gradients over some samples.
struct SquareSums<'a> {
    bases: &'a [LayerBasis],
    loss: f64,
    sums: Vec<PerDirection<f64>>,
}

impl Gather for SquareSums<'_> {
    fn outputs(&mut self, outputs: &Outputs) {
        self.loss += outputs.loss();
    }

    fn layer(&mut self, layer: &Layer) {
        let of_layer = self.bases.iter().zip(&mut self.sums).find(|(basis, _)| basis.index == layer.index);
        if let Some((basis, sums)) = of_layer {
            basis.add_squares(layer, sums);
        }
    }
}

/// The factors of each layer, over some samples.
struct FactorSums {
    /// The place of the first sample of the next batch among all.
    first: usize,
    next: usize,
    samples: usize,
    layers: BTreeMap<usize, [FactorSum; 2]>,
}

impl Gather for FactorSums {
    fn outputs(&mut self, outputs: &Outputs) {
        self.first = self.next;
        self.next += outputs.indices.len();
    }

    fn layer(&mut self, layer: &Layer) {
        let Layer { index, samples, columns, outputs, positions, inputs, vectors } = *layer;
        let width = inputs.len() / (samples * positions);
        let [of_inputs, of_outputs] = self.layers.entry(index).or_insert_with(|| [FactorSum::new(width), FactorSum::new(outputs)]);
        of_inputs.add(inputs, positions, self.first, self.samples);
        of_outputs.add(vectors, positions, self.first * columns, self.samples * columns);
    }
}

/// A factor.
struct FactorSum {
    width: usize,
    factor: Factor,
}

impl FactorSum {
    fn new(width: usize) -> Self {
        let factor = if width <= FULL { Factor::Sum(vec![0.0; width * width]) } else { Factor::Rows(Vec::new()) };
        Self { width, factor }
    }

    /// The rows of the matrix to decompose.
    fn size(&self) -> usize {
        match &self.factor {
            Factor::Sum(_) => self.width,
            Factor::Rows(rows) => rows.len() / self.width,
        }
    }

    /// Adds vectors `[sample, width, position]`. The first sample is at the place `first` of `all`. Many vectors are represented by those of some samples.
    fn add(&mut self, vectors: &[f32], positions: usize, first: usize, all: usize) {
        let width = self.width;
        match &mut self.factor {
            Factor::Sum(sum) => {
                let mut product = vec![0.0_f32; width * width];
                let most = (PRODUCTS / positions).max(1);
                for (place, vectors) in vectors.chunks_exact(width * positions).enumerate() {
                    if is_chosen(first + place, most, all) {
                        add_lower_square(&mut product, Matrix::new(vectors, width));
                    }
                }
                sum.iter_mut().zip(product).for_each(|(sum, number)| *sum += f64::from(number));
            }
            Factor::Rows(rows) => {
                for place in 0..vectors.len() / width {
                    if is_chosen(first * positions + place, ROWS, all * positions) {
                        let sample = &vectors[place / positions * width * positions..][..width * positions];
                        rows.extend(sample.iter().skip(place % positions).step_by(positions));
                    }
                }
            }
        }
    }

    fn join(&mut self, other: Self) {
        match (&mut self.factor, other.factor) {
            (Factor::Sum(to), Factor::Sum(from)) => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
            (Factor::Rows(to), Factor::Rows(from)) => to.extend(from),
            _ => unreachable!("the kind of a factor depends on the layer alone"),
        }
    }
}

/// Whether the one at `place` is among at most `most` of `all`, evenly spread.
fn is_chosen(place: usize, most: usize, all: usize) -> bool {
    let count = most.min(all);
    (place + 1) * count / all > place * count / all
}
