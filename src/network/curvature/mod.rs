//! The curvature of the summed data loss: the generalized Gauss-Newton matrix Σ Jᵀ·H·J over the samples, J the Jacobian of the logits and
//! H = diag(p) − p·pᵀ the Hessian of cross-entropy in them (Schraudolph 2002; Martens 2020, arXiv 1412.1193, section 8).

mod blocks;
mod corrected;
mod eigen;
mod gradients;
mod inverse;
mod jacobian;
#[cfg(test)]
mod laplace_torch;
mod leave_one_out;
mod pass;
mod posterior;
mod progress;
mod scope;
mod sensitivity;
mod spectrum;
mod transpose;
mod windows;

use std::collections::BTreeMap;

pub use leave_one_out::LeaveOneOut;
pub use posterior::Posterior;
pub use progress::{Stopped, Watch};
pub use scope::Scope;
pub use spectrum::Spectrum;

use blocks::Blocks;
use pass::{Columns, Pass};

use regulus_model::Weights;

use super::Network;
use crate::config::Structure;
use crate::data::{Batcher, Subset};
use crate::seed::Seed;

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
    pub batcher: &'a Batcher,
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

    fn pass(&self, columns: Columns) -> Pass<'a> {
        let Self { network, weights, scope, subset, batcher, .. } = *self;
        Pass { network, weights, layers: scope.layers(), subset, batcher, columns }
    }
}
