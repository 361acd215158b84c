//! The curvature of the summed data loss: the generalized Gauss-Newton matrix Σ Jᵀ·H·J over the samples, J the Jacobian of the logits and
//! H = diag(p) − p·pᵀ the Hessian of cross-entropy in them (Schraudolph 2002; Martens 2020, arXiv 1412.1193, section 8).

mod eigenvalues;
mod jacobian;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use burn::prelude::*;
use burn::tensor::activation::{log_softmax, softmax};
use rayon::prelude::*;

use eigenvalues::{eigenvalues, work};
use jacobian::Layer;
use regulus_model::graph::{Features, Graph, Op, Role};

use super::Network;
use crate::backend::numbers;
use crate::config::{Implementation, Structure};
use crate::data::{Batch, Batcher, Subset};

/// Numbers in the largest tensor of a batch, at most: 64 MiB of float32.
const NUMBERS: usize = 1 << 24;
/// Samples of a batch, at most.
const BATCH: usize = 32;
/// Parts whose sums are made side by side on a CPU. Fixed, so that sums do not depend on threads.
const STRIPS: usize = 4;

/// Long work was asked to stop before its end, and left nothing behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// The layers whose parameters a curvature is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Their indices in the graph.
    layers: Vec<usize>,
}

impl Scope {
    /// The layers of the parameters with these names.
    ///
    /// # Errors
    ///
    /// In words, the node for whose parameters there is no curvature.
    pub fn new(graph: &Graph, names: &BTreeSet<String>) -> Result<Self, String> {
        let mut layers = Vec::new();
        if let Features::Map(_) = graph.output_features()
            && !names.is_empty()
        {
            let output = &graph.nodes()[graph.output()].name;
            return Err(format!(
                "there is no curvature of a network that gives images, as node `{output}` does; choose another penalty than `evidence`"
            ));
        }
        for (index, node) in graph.nodes().iter().enumerate() {
            if !graph.parameters_of(index).iter().any(|parameter| names.contains(&parameter.name)) {
                continue;
            }
            let problem = match &node.op {
                Op::Conv(conv) if conv.groups > 1 => "a convolution in groups",
                Op::Conv(_) | Op::Dense(_) => {
                    layers.push(index);
                    continue;
                }
                Op::BatchNorm(_) => "a normalization",
                _ => "an operation that it does not know",
            };
            return Err(format!("there is no curvature for node `{}`, {problem}; leave its parameters out of the scope", node.name));
        }
        Ok(Self { layers })
    }

    /// The most inputs or outputs of a layer; an input of a convolution is a channel and a position in the kernel.
    #[must_use]
    pub fn widest(&self, graph: &Graph) -> usize {
        let kernels = self.layers.iter().flat_map(|index| graph.parameters_of(*index)).filter(|parameter| parameter.role == Role::Kernel);
        kernels.flat_map(|kernel| [kernel.shape[0], kernel.fans()[0]]).max().unwrap_or(1)
    }
}

/// The eigenvalues of one parameter's block: the products of every number of `left` with every one of `right`, in float64.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    /// One of the factors.
    pub left: Vec<f64>,
    /// The other.
    pub right: Vec<f64>,
}

impl Spectrum {
    /// Σ of `term` over the eigenvalues.
    pub fn sum(&self, term: impl Fn(f64) -> f64) -> f64 {
        // Rounding may leave an eigenvalue below 0; NaN stays NaN.
        let product = |left: &f64, right: &f64| if left * right < 0.0 { 0.0 } else { left * right };
        self.left.iter().map(|left| self.right.iter().map(|right| term(product(left, right))).sum::<f64>()).sum()
    }
}

/// The curvature around some weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Curvature {
    /// Σ of the samples' cross-entropy, in nats.
    pub loss: f64,
    /// The eigenvalues of each parameter's block, by its name.
    pub spectra: BTreeMap<String, Spectrum>,
}

impl Curvature {
    /// The curvature in the parameters of the layers in `scope`, over every sample of `subset`, without dropout. `network` and `batcher` are on a device without autodiff.
    /// A diagonal is exact. A kernel's Kronecker product is (Σ g·gᵀ) ⊗ (Σ a·aᵀ)/(samples · positions), with sums over samples, positions and the
    /// columns g of H's root: the `expand` setting of Eschenhagen et al. 2023, arXiv 2311.00636. A bias has Σ g·gᵀ.
    ///
    /// # Errors
    ///
    /// When `watch` returns false.
    pub fn of(
        network: &Network,
        scope: &Scope,
        subset: &Subset,
        batcher: &Batcher,
        structure: Structure,
        watch: &Watch,
    ) -> Result<Self, Stopped> {
        let indices: Vec<u32> = (0..u32::try_from(subset.count()).unwrap_or(u32::MAX)).collect();
        let strips: Vec<&[u32]> = indices.chunks(indices.len().div_ceil(STRIPS)).collect();
        let done = Done::of("curvature of the loss", subset.count() as u64, watch);
        let pass = Pass { network, scope, subset, batcher, structure, done: &done };
        let summed = |strip: &&[u32]| pass.strip(strip);
        // A GPU's queue belongs to one thread.
        let strips: Result<Vec<Strip>, Stopped> = network.threads().run(|| match network.implementation() {
            Implementation::Fused => strips.par_iter().map(summed).collect(),
            Implementation::Stock => strips.iter().map(summed).collect(),
        });
        let mut all = Strip::default();
        strips?.into_iter().for_each(|strip| all.join(strip));
        let done = Done::of("eigenvalues", all.layers.values().map(|sums| sums.work(structure)).sum(), watch);
        let spectra = all.layers.into_par_iter().map(|(name, sums)| sums.spectra(structure, &name, subset.count(), &done));
        let spectra: Vec<[(String, Spectrum); 2]> = spectra.collect::<Result<_, Stopped>>()?;
        Ok(Self { loss: all.loss, spectra: spectra.into_iter().flatten().collect() })
    }
}

/// Called from several threads with the name of a phase, how much of it is done, and how much there is; returns whether to go on.
pub type Watch<'a> = dyn Fn(&'static str, u64, u64) -> bool + Sync + 'a;

/// How much of a phase is done.
struct Done<'a> {
    name: &'static str,
    so_far: AtomicU64,
    all: u64,
    watch: &'a Watch<'a>,
}

impl<'a> Done<'a> {
    fn of(name: &'static str, all: u64, watch: &'a Watch<'a>) -> Self {
        Self { name, so_far: AtomicU64::new(0), all, watch }
    }

    /// Adds what was done; whether to go on.
    fn add(&self, work: u64) -> bool {
        let done = self.so_far.fetch_add(work, Ordering::Relaxed) + work;
        (self.watch)(self.name, done, self.all)
    }
}

/// Sums over some samples.
#[derive(Default)]
struct Strip {
    loss: f64,
    layers: BTreeMap<String, Sums>,
}

/// What all strips read.
struct Pass<'a> {
    network: &'a Network,
    scope: &'a Scope,
    subset: &'a Subset,
    batcher: &'a Batcher,
    structure: Structure,
    done: &'a Done<'a>,
}

impl Pass<'_> {
    fn strip(&self, indices: &[u32]) -> Result<Strip, Stopped> {
        let graph = self.network.graph();
        let mut strip = Strip::default();
        for chunk in indices.chunks((NUMBERS / self.largest()).clamp(1, BATCH)) {
            let Batch { images, targets } = self.batcher.batch(self.subset, chunk);
            let labels = targets.labels();
            let loss = &mut strip.loss;
            let vectors = |logits: Tensor<2>| {
                let losses = log_softmax(logits.clone(), 1).gather(1, labels.unsqueeze_dim(1)).neg();
                *loss += losses.into_data().iter::<f64>().sum::<f64>();
                roots(logits)
            };
            self.network.linearized(&images, &self.scope.layers, vectors, |layer| {
                strip.layers.entry(graph.nodes()[layer.index].name.clone()).or_default().add(self.structure, layer);
            });
            if !self.done.add(chunk.len() as u64) {
                return Err(Stopped);
            }
        }
        Ok(strip)
    }

    /// The numbers in the largest tensor that one sample becomes: a vector for each class, or a patch for each position.
    fn largest(&self) -> usize {
        let graph = self.network.graph();
        let kernels = graph.nodes().iter().filter_map(|node| match &node.op {
            Op::Conv(conv) => Some(conv.kernel[0] * conv.kernel[1]),
            _ => None,
        });
        let kernel = kernels.max().unwrap_or(1);
        graph.largest_features() * graph.output_features().size().max(kernel)
    }
}

impl Strip {
    fn join(&mut self, other: Self) {
        self.loss += other.loss;
        for (name, sums) in other.layers {
            match self.layers.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(sums);
                }
                Entry::Occupied(mut entry) => {
                    let to = entry.get_mut();
                    to.first.iter_mut().zip(sums.first).for_each(|(to, from)| *to += from);
                    to.second.iter_mut().zip(sums.second).for_each(|(to, from)| *to += from);
                }
            }
        }
    }
}

/// The columns of a root of diag(p) − p·pᵀ: for each class √p·(e − p), with its own p before the bracket and e its unit vector.
///
/// # Shapes
///
/// - logits: `[sample, class]`
/// - output: `[sample, column, class]`
fn roots(logits: Tensor<2>) -> Tensor<3> {
    let device = logits.device();
    let [batch, classes] = logits.dims();
    let p = softmax(logits, 1);
    let identity = Tensor::<2>::eye(classes, &device).unsqueeze::<3>().repeat_dim(0, batch);
    (identity - p.clone().unsqueeze_dim::<3>(1)) * p.sqrt().unsqueeze_dim::<3>(2)
}

/// Sums over the samples of one layer. For a diagonal, of the squared gradients of kernel and bias; else the two factors.
#[derive(Default)]
struct Sums {
    first: Vec<f64>,
    second: Vec<f64>,
    positions: usize,
}

impl Sums {
    fn add(&mut self, structure: Structure, layer: Layer) {
        let Layer { inputs, vectors, .. } = layer;
        let [samples, count, outputs, positions] = vectors.dims();
        let width = inputs.dims()[1];
        self.positions = positions;
        match structure {
            Structure::Diagonal if positions == 1 => {
                let squares = vectors.square().sum_dim(1).reshape([samples, outputs]);
                add(&mut self.first, squares.clone().transpose().matmul(inputs.reshape([samples, width]).square()));
                add(&mut self.second, squares.sum_dim(0));
            }
            Structure::Diagonal => {
                let gradients = vectors.clone().reshape([samples, count * outputs, positions]).matmul(inputs.swap_dims(1, 2));
                add(&mut self.first, gradients.square().reshape([samples * count, outputs * width]).sum_dim(0));
                let biases = vectors.sum_dim(3).square();
                add(&mut self.second, biases.reshape([samples * count, outputs]).sum_dim(0));
            }
            Structure::Kronecker => {
                let inputs = inputs.swap_dims(1, 2).reshape([samples * positions, width]);
                let vectors = vectors.swap_dims(2, 3).reshape([samples * count * positions, outputs]);
                add(&mut self.first, vectors.clone().transpose().matmul(vectors));
                add(&mut self.second, inputs.clone().transpose().matmul(inputs));
            }
        }
    }

    /// How much work the spectra are.
    fn work(&self, structure: Structure) -> u64 {
        match structure {
            Structure::Diagonal => 0,
            Structure::Kronecker => [&self.first, &self.second].iter().map(|factor| work(factor.len().isqrt())).sum(),
        }
    }

    /// The spectra of kernel and bias.
    fn spectra(self, structure: Structure, layer: &str, samples: usize, done: &Done) -> Result<[(String, Spectrum); 2], Stopped> {
        let [kernel, bias] = match structure {
            Structure::Diagonal => [self.first, self.second].map(|left| Spectrum { left, right: vec![1.0] }),
            Structure::Kronecker => {
                let left = eigenvalues(self.first, |work| done.add(work))?;
                let right = eigenvalues(self.second, |work| done.add(work))?;
                let right = right.iter().map(|value| value / (samples * self.positions) as f64).collect();
                [Spectrum { left: left.clone(), right }, Spectrum { left, right: vec![1.0] }]
            }
        };
        Ok([(format!("{layer}.weight"), kernel), (format!("{layer}.bias"), bias)])
    }
}

/// Adds a tensor's numbers to float64 sums.
fn add<const D: usize>(sums: &mut Vec<f64>, tensor: Tensor<D>) {
    let numbers = numbers(tensor);
    sums.resize(numbers.len(), 0.0);
    sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += f64::from(number));
}
