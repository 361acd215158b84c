//! The curvature as a diagonal, or as a Kronecker product for each kernel.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rayon::prelude::*;
use regulus_linalg::product::{Matrix, multiply, multiply_add};

use super::eigen::{decomposed, work};
use super::gradients::sum;
use super::jacobian::Layer;
use super::pass::{Gather, Outputs, Pass};
use super::progress::{Done, Stopped};
use super::{Curvature, Spectrum, Watch};

/// Whether only the diagonal is wanted.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Blocks {
    Diagonal,
    Kronecker,
}

impl Blocks {
    /// The curvature over every sample. A diagonal is exact. A kernel's Kronecker product is (Σ g·gᵀ) ⊗ (Σ a·aᵀ)/(samples · positions), with sums over
    /// samples, positions and the columns g of H's root: the `expand` setting of Eschenhagen et al. 2023, arXiv 2311.00636. A bias has Σ g·gᵀ.
    pub(super) fn curvature(self, pass: &Pass, watch: &Watch) -> Result<Curvature, Stopped> {
        let samples = pass.subset.count();
        let indices: Vec<u32> = (0..u32::try_from(samples).unwrap_or(u32::MAX)).collect();
        let done = Done::of("curvature of the loss", samples as u64, watch);
        let strips = pass.run(&indices, &done, |_| Strip { blocks: self, samples, loss: 0.0, layers: BTreeMap::new() })?;
        let mut all = Strip { blocks: self, samples, loss: 0.0, layers: BTreeMap::new() };
        strips.into_iter().for_each(|strip| all.join(strip));
        let done = Done::of("eigenvalues", all.layers.values().map(|sums| sums.work(self)).sum(), watch);
        let layers: Vec<(usize, Sums)> = all.layers.into_iter().collect();
        let spectra = pass.network.threads().run(|| {
            let of_layer = |(index, sums): (usize, Sums)| sums.spectra(self, &pass.network.graph().nodes()[index].name, samples, &done);
            layers.into_par_iter().map(of_layer).collect::<Result<Vec<_>, Stopped>>()
        })?;
        Ok(Curvature { loss: all.loss, spectra: spectra.into_iter().flatten().collect() })
    }
}

/// Sums over some samples.
struct Strip {
    blocks: Blocks,
    samples: usize,
    loss: f64,
    layers: BTreeMap<usize, Sums>,
}

impl Gather for Strip {
    fn outputs(&mut self, outputs: &Outputs) {
        self.loss += outputs.loss();
    }

    fn layer(&mut self, layer: &Layer) {
        self.layers.entry(layer.index).or_default().add(self.blocks, layer, self.samples);
    }
}

impl Strip {
    fn join(&mut self, other: Self) {
        self.loss += other.loss;
        for (index, sums) in other.layers {
            match self.layers.entry(index) {
                Entry::Vacant(entry) => {
                    entry.insert(sums);
                }
                Entry::Occupied(mut entry) => {
                    let to = entry.get_mut();
                    to.first.iter_mut().zip(sums.first).for_each(|(to, from)| *to += from);
                    to.second.iter_mut().zip(sums.second).for_each(|(to, from)| *to += from);
                    to.rows.extend(sums.rows);
                }
            }
        }
    }
}

/// Sums over the samples of one layer. For a diagonal, of the squared gradients of kernel and bias; else the two factors.
#[derive(Default)]
struct Sums {
    first: Vec<f64>,
    second: Vec<f64>,
    /// In place of the second factor, the inputs of all samples where those are fewer than the inputs of the layer: the eigenvalues of a·aᵀ are those of
    /// aᵀ·a and 0.
    rows: Vec<f32>,
    positions: usize,
    width: usize,
}

impl Sums {
    fn add(&mut self, blocks: Blocks, layer: &Layer, all_samples: usize) {
        let Layer { samples, columns, outputs, positions, inputs, vectors, .. } = *layer;
        let width = inputs.len() / (samples * positions);
        (self.positions, self.width) = (positions, width);
        let of_sample = |sample: usize| Matrix::new(&inputs[sample * width * positions..][..width * positions], width);
        match blocks {
            Blocks::Diagonal => {
                let [mut kernel, mut bias] = [vec![0.0_f32; outputs * width], vec![0.0_f32; outputs]];
                let mut gradient = vec![0.0_f32; outputs * width];
                for (row, vectors) in vectors.chunks_exact(outputs * positions).enumerate() {
                    multiply(&mut gradient, Matrix::new(vectors, outputs), of_sample(row / columns).transpose());
                    kernel.iter_mut().zip(&gradient).for_each(|(to, number)| *to += number * number);
                    let sums = vectors.chunks_exact(positions).map(sum);
                    bias.iter_mut().zip(sums).for_each(|(to, number)| *to += number * number);
                }
                add(&mut self.first, &kernel);
                add(&mut self.second, &bias);
            }
            Blocks::Kronecker => {
                let mut product = vec![0.0_f32; outputs * outputs];
                for vectors in vectors.chunks_exact(outputs * positions) {
                    multiply_add(&mut product, Matrix::new(vectors, outputs), Matrix::new(vectors, outputs).transpose());
                }
                add(&mut self.first, &product);
                if all_samples * positions < width {
                    // `[sample, position, width]`.
                    let place = |place: usize, input: usize| inputs[(place / positions * width + input) * positions + place % positions];
                    self.rows.extend((0..samples * positions).flat_map(|at| (0..width).map(move |input| place(at, input))));
                } else {
                    let mut product = vec![0.0_f32; width * width];
                    if positions == 1 {
                        multiply(&mut product, Matrix::new(inputs, samples).transpose(), Matrix::new(inputs, samples));
                    } else {
                        (0..samples).for_each(|sample| multiply_add(&mut product, of_sample(sample), of_sample(sample).transpose()));
                    }
                    add(&mut self.second, &product);
                }
            }
        }
    }

    /// The sizes of the matrices to decompose.
    fn sizes(&self) -> [usize; 2] {
        let rows = self.rows.len().checked_div(self.width).unwrap_or(0);
        [self.first.len().isqrt(), if rows > 0 { rows } else { self.second.len().isqrt() }]
    }

    /// How much work the spectra are.
    fn work(&self, blocks: Blocks) -> u64 {
        match blocks {
            Blocks::Diagonal => 0,
            Blocks::Kronecker => self.sizes().into_iter().map(work).sum(),
        }
    }

    /// The spectra of kernel and bias.
    fn spectra(self, blocks: Blocks, layer: &str, samples: usize, done: &Done) -> Result<[(String, Spectrum); 2], Stopped> {
        let [kernel, bias] = match blocks {
            Blocks::Diagonal => [self.first, self.second].map(|left| Spectrum::Products { left, right: vec![1.0] }),
            Blocks::Kronecker => {
                let [_, size] = self.sizes();
                let second = if self.rows.is_empty() { self.second } else { gram(self.rows, size) };
                let (left, right) = rayon::join(|| decomposed(self.first, false, done), || decomposed(second, false, done));
                let (left, mut right) = (left?.values, right?.values);
                right.iter_mut().for_each(|value| *value /= (samples * self.positions) as f64);
                right.resize(self.width, 0.0);
                let bias = Spectrum::Products { left: left.clone(), right: vec![1.0] };
                [Spectrum::Products { left, right }, bias]
            }
        };
        Ok([(format!("{layer}.weight"), kernel), (format!("{layer}.bias"), bias)])
    }
}

/// a·aᵀ of `count` rows.
fn gram(rows: Vec<f32>, count: usize) -> Vec<f64> {
    let rows: Vec<f64> = rows.into_iter().map(f64::from).collect();
    let mut gram = vec![0.0; count * count];
    multiply(&mut gram, Matrix::new(&rows, count), Matrix::new(&rows, count).transpose());
    gram
}

/// Adds numbers to float64 sums.
fn add(sums: &mut Vec<f64>, numbers: &[f32]) {
    sums.resize(numbers.len(), 0.0);
    sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += f64::from(*number));
}
