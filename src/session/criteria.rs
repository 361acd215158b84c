//! What the curvature at the end of training says: measures by which λ can be chosen without validation data, and how the weights change with λ.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use regulus_model::Weights;

use super::Session;
use crate::data::Subset;
use crate::error::Error;
use crate::network::{CurvatureInput, Determinant, LeaveOneOut, Network, Posterior, Scope};

/// Measures of a trained network on its training data, which can be compared between trainings with different λ. They are those of the network linearized at its
/// weights, at the minimum of its objective.
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

/// A trained network with the posterior of its weights.
pub struct TrainedPosterior<'a> {
    session: &'a Session,
    network: Network,
    weights: Weights,
    scope: Scope,
    /// λ of each penalized parameter.
    lambdas: BTreeMap<String, f64>,
    posterior: Option<Posterior>,
}

impl Session {
    /// The posterior for the network after the last step, or for its average if there is one. Returns `None` if it was stopped by the flag of
    /// [`Session::stop_by`].
    ///
    /// # Errors
    ///
    /// When the network gives images, or classes have weights: the likelihood is that of samples which all count the same.
    pub fn posterior(&self) -> Result<Option<TrainedPosterior<'_>>, Error> {
        if let Some(key) = self.experiment.reweighting_key() {
            let problem = format!("`{key}` is set, but a posterior is that of training images which all count the same; leave it out");
            return Err(Error::Usage(problem));
        }
        let network = self.training.measured_network();
        let scope = Scope::all(network.graph()).map_err(Error::Usage)?;
        let lambdas = self.penalties().precisions(self.experiment.train.batch(self.data.train.count()));
        let weights = network.weights();
        let mut trained = TrainedPosterior { session: self, network, weights, scope, lambdas, posterior: None };
        let found = trained.on(&self.data.train, |input, watch| input.posterior(&trained.lambdas, &watch));
        self.data.train.check_decoded()?;
        let Ok(posterior) = found else { return Ok(None) };
        trained.posterior = posterior;
        Ok(Some(trained))
    }

    /// The criteria of [`TrainedPosterior::criteria`]. Returns `None` if it was stopped.
    ///
    /// # Errors
    ///
    /// As [`Session::posterior`].
    pub fn criteria(&self) -> Result<Option<Criteria>, Error> {
        Ok(self.posterior()?.map(|trained| trained.criteria()))
    }
}

impl TrainedPosterior<'_> {
    /// Calls `compute` with the network on some samples, and with what says whether to go on.
    fn on<R>(&self, subset: &Subset, compute: impl FnOnce(&CurvatureInput, &(dyn Fn(&'static str, u64, u64) -> bool + Sync)) -> R) -> R {
        let Session { data, experiment, stop, .. } = self.session;
        let Self { network, weights, scope, .. } = self;
        let input = CurvatureInput { network, weights, scope, subset, normalizer: &data.normalizer, seed: experiment.seed };
        compute(&input, &|_, _, _| !stop.load(Ordering::Relaxed))
    }

    /// The measures by which λ can be chosen.
    #[must_use]
    pub fn criteria(&self) -> Criteria {
        let none = Criteria { log_evidence: None, gamma: None, gammas: BTreeMap::new(), leave_one_out: None };
        let Some(posterior) = &self.posterior else { return none };
        let leave_one_out = self.network.threads().run(|| posterior.leave_one_out());
        let Some(Determinant { log_ratio, gammas }) = posterior.determinant() else { return none };
        let of_penalty = |(name, lambda): (&String, &f64)| {
            let weights = posterior.weights().get(name).map(|values| values.numbers.as_slice()).unwrap_or_default();
            lambda * weights.iter().map(|number| f64::from(*number) * f64::from(*number)).sum::<f64>()
        };
        let penalty: f64 = self.lambdas.iter().map(of_penalty).sum();
        let log_evidence = -posterior.loss() - 0.5 * (penalty + log_ratio);
        let gamma = gammas.values().sum();
        Criteria { log_evidence: Some(log_evidence), gamma: Some(gamma), gammas, leave_one_out: Some(leave_one_out) }
    }

    /// The weights that training is expected to end with when every λ is multiplied by `factor`. Returns `None` if no L2 penalty has a λ above 0, or a
    /// number is not finite.
    #[must_use]
    pub fn predicted_weights(&self, factor: f64) -> Option<Weights> {
        self.posterior.as_ref()?.predicted_weights(&self.weights, factor)
    }

    /// The derivative of the validation loss with the logarithm of a factor of every λ: λ·dL/dλ for one penalty. Returns `None` without a validation split, if no
    /// L2 penalty has a λ above 0, or if it was stopped.
    #[must_use]
    pub fn validation_slope(&self) -> Option<f64> {
        let (posterior, validation) = (self.posterior.as_ref()?, self.session.data.validation.as_ref()?);
        let gradient = self.on(validation, |input, watch| input.gradient(&watch)).ok()?;
        Some(posterior.slope_by_log_lambda(&self.weights, &gradient))
    }
}
