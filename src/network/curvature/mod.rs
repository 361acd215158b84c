//! The curvature of the summed data loss: the generalized Gauss-Newton matrix Σ Jᵀ·H·J over the samples, J the Jacobian of the logits and
//! H = diag(p) − p·pᵀ the Hessian of cross-entropy in them (Schraudolph 2002; Martens 2020, arXiv 1412.1193, section 8).

mod blocks;
mod corrected;
mod determinant;
mod eigen;
mod gradients;
mod inverse;
mod jacobian;
#[cfg(test)]
mod laplace_torch;
mod leave_one_out;
mod memory;
mod minimum;
mod pass;
mod posterior;
mod progress;
mod scope;
mod sensitivity;
mod spectrum;
mod tiny;
mod transpose;
mod vectors;
mod windows;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use determinant::Determinant;
pub use leave_one_out::LeaveOneOut;
pub use posterior::Posterior;
pub use progress::{Stopped, Watch};
pub use scope::Scope;
pub use spectrum::Spectrum;

use blocks::Blocks;
use pass::{Columns, Outputs, Pass, spread};
use progress::Done;

use regulus_model::Weights;

use super::{Network, Predictor};
use crate::config::Structure;
use crate::data::{Normalizer, Subset};
use crate::seed::Seed;

/// The most samples that corrected eigenvalues and a posterior are computed of. More samples are represented by this many, evenly spread, and the curvature is
/// multiplied by the ratio.
const SAMPLES: usize = 1 << 14;
/// The most vectors that are sent back from the output for them.
const VECTORS: usize = 1 << 16;
/// The images whose loss is computed at once.
const BATCH: usize = 1024;

/// The curvature around some weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Curvature {
    /// Σ of the samples' cross-entropy, in nats.
    pub loss: f64,
    /// The eigenvalues of each parameter's block, by its name.
    pub spectra: BTreeMap<String, Spectrum>,
}

/// What a curvature is computed of.
#[derive(Clone, Copy)]
pub struct CurvatureInput<'a> {
    /// The network. It is linearized without dropout.
    pub network: &'a Network,
    /// Its weights.
    pub weights: &'a Weights,
    /// The layers.
    pub scope: &'a Scope,
    /// The samples.
    pub subset: &'a Subset,
    /// Normalizes them.
    pub normalizer: &'a Normalizer,
    /// Of what is sampled.
    pub seed: Seed,
}

impl<'a> CurvatureInput<'a> {
    /// The curvature in the parameters of the layers, over every sample.
    ///
    /// # Errors
    ///
    /// When `watch` returns false.
    pub fn curvature(&self, structure: Structure, watch: &Watch) -> Result<Curvature, Stopped> {
        match structure {
            Structure::Diagonal => Blocks::Diagonal.curvature(&self.pass(Columns::Roots), watch),
            Structure::Kronecker => Blocks::Kronecker.curvature(&self.pass(Columns::Roots), watch),
            Structure::Ekfac => Ok(self.corrected(watch)?.curvature()),
        }
    }

    /// The samples that represent all where so many vectors are sent back for each, and how many samples each of them stands for.
    fn sampled(&self, columns: usize) -> (Vec<u32>, f64) {
        let all = self.subset.count();
        let indices = spread(all, SAMPLES.min(VECTORS / columns.max(1)));
        let each = all as f64 / indices.len().max(1) as f64;
        (indices, each)
    }

    /// Σ of the cross-entropy of all samples, in nats.
    fn loss(&self, watch: &Watch) -> Result<f64, Stopped> {
        let predictor = Predictor::new(self.network, self.normalizer);
        let done = Done::of("loss", self.subset.count() as u64, watch);
        let mut loss = 0.0;
        for indices in spread(self.subset.count(), self.subset.count()).chunks(BATCH) {
            let places: Vec<usize> = indices.iter().map(|index| *index as usize).collect();
            let images: Vec<Cow<[u8]>> = self.subset.pixels_of_all(&places);
            let images: Vec<&[u8]> = images.iter().map(AsRef::as_ref).collect();
            let labels = indices.iter().map(|index| self.subset.label(*index as usize) as usize).collect();
            loss += Outputs { indices: indices.to_vec(), logits: predictor.logits(&images), labels }.loss();
            done.add(indices.len() as u64)?;
        }
        Ok(loss)
    }

    fn pass(&self, columns: Columns) -> Pass<'a> {
        let Self { network, weights, scope, subset, normalizer, .. } = *self;
        Pass { network, weights, layers: scope.layers(), subset, tables: normalizer.table(), columns }
    }
}
