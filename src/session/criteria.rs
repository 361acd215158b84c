//! Measures of a trained network by which λ can be chosen without validation data.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::Session;
use crate::data::Batcher;
use crate::error::Error;
use crate::network::{CurvatureInput, LeaveOneOut, Scope};
use crate::objective::Evidence;

/// Measures of a trained network on its training data, without λ-dependent constants left out: they can be compared between trainings with different λ.
#[derive(Clone, Debug, PartialEq)]
pub struct Criteria {
    /// ln p(data | λ) in Laplace's approximation, in nats. `None` if no L2 penalty has a λ above 0.
    pub log_evidence: Option<f64>,
    /// γ, the effective number of parameters, summed over the penalized parameters. `None` as above.
    pub gamma: Option<f64>,
    /// γ of each penalized parameter.
    pub gammas: BTreeMap<String, f64>,
    /// The leave-one-out loss. `None` as above.
    pub leave_one_out: Option<LeaveOneOut>,
}

impl Session {
    /// The criteria for the network after the last step, or its average if there is one. Returns `None` if it was stopped by the flag of
    /// [`Session::stop_by`].
    ///
    /// # Errors
    ///
    /// When the network gives images.
    pub fn criteria(&self) -> Result<Option<Criteria>, Error> {
        let network = self.training.measured_network();
        let scope = Scope::all(network.graph()).map_err(Error::Usage)?;
        let subset = &self.data.train;
        let batcher = Batcher::new(&self.data.normalizer, &self.opened.device.clone().inner().device);
        let input = CurvatureInput { network: &network, scope: &scope, subset, batcher: &batcher, seed: self.experiment.seed };
        let lambdas = self.penalties().precisions(self.experiment.train.batch(subset.count()));
        let watch = |_: &'static str, _, _| !self.stop.load(Ordering::Relaxed);
        let Ok(posterior) = input.posterior(&lambdas, &watch) else { return Ok(None) };
        let Some(posterior) = posterior else {
            return Ok(Some(Criteria { log_evidence: None, gamma: None, gammas: BTreeMap::new(), leave_one_out: None }));
        };
        let leave_one_out = network.threads().run(|| posterior.leave_one_out());
        let (curvature, weights) = (posterior.curvature(), network.weights());
        let mut log_evidence = -curvature.loss;
        let mut gammas = BTreeMap::new();
        for (name, spectrum) in &curvature.spectra {
            let (Some(lambda), Some(values)) = (lambdas.get(name), weights.get(name)) else { continue };
            let squared_norm = values.numbers.iter().map(|number| f64::from(*number) * f64::from(*number)).sum();
            let evidence = Evidence::of(*lambda, &[spectrum], squared_norm);
            log_evidence += evidence.log_evidence;
            gammas.insert(name.clone(), evidence.gamma);
        }
        let gamma = gammas.values().sum();
        Ok(Some(Criteria { log_evidence: Some(log_evidence), gamma: Some(gamma), gammas, leave_one_out: Some(leave_one_out) }))
    }
}
