//! Preparation of an experiment: config, backend, data, network and penalties are loaded and checked. Nothing is written.

use regulus_model::Weights;

use crate::backend::{self, Opened};
use crate::config::{CheckpointKind, Experiment};
use crate::data::{self, Data, Decoding, Progress};
use crate::error::Error;
use crate::network::{Network, Scope};
use crate::objective::Penalties;
use crate::schedule::RunLength;
use crate::train::{ParameterOptimizer, Training};

/// A checked experiment.
pub struct Prepared {
    /// The experiment.
    pub experiment: Experiment,
    /// The backend and device.
    pub opened: Opened,
    /// The data.
    pub data: Data,
    /// The network before the first step, with autodiff.
    pub network: Network,
    /// The regularization terms.
    pub penalties: Penalties,
    /// The layers whose curvature evidence needs.
    pub curvature: Scope,
    /// The checkpoint that `train.keep` selects.
    pub keep: CheckpointKind,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// Prepares a new run. `progress` is called for each decoded image file.
///
/// # Errors
///
/// When config, backend, data, model or penalties can't be used.
pub fn prepare(experiment: Experiment, progress: Progress) -> Result<Prepared, Error> {
    let load = |experiment: &Experiment| Ok(data::load_with(&experiment.data, experiment.seed, Decoding::Reduced, progress)?);
    let mut prepared = prepare_with(experiment, load)?;
    prepared.network = prepared.initial_network()?;
    prepared.experiment.train.keep = Some(prepared.keep);
    Ok(prepared)
}

/// Prepares an experiment with the data of `load` and an uninitialized network.
pub(super) fn prepare_with(mut experiment: Experiment, load: impl FnOnce(&Experiment) -> Result<Data, Error>) -> Result<Prepared, Error> {
    let opened = backend::open(&experiment.backend)?;
    let data = load(&experiment)?;
    experiment.data.validation.get_or_insert(data.held_out);
    experiment.check_validation(data.validation.is_some())?;
    let keep = experiment.train.selected_checkpoint(data.validation.is_some())?;
    let input = data.train.shape();
    let graph = experiment.model.graph(input, data.classes.len())?;
    experiment.augment.check(input.height, input.width)?;
    experiment.check_batch_norm(&graph, data.train.count())?;
    let network = Network::blank(&graph, &opened.device.clone().autodiff());
    let penalties = Penalties::new(&experiment.penalty, &graph, RunLength::new(&experiment.train, data.train.count()))?;
    let curvature = penalties.curvature_scope(&graph)?;
    let warnings = data.warnings.iter().cloned().chain(experiment.warnings(data.train.count())).collect();
    Ok(Prepared { experiment, opened, data, network, penalties, curvature, keep, warnings })
}

impl Prepared {
    /// The network before the first step.
    pub(super) fn initial_network(&self) -> Result<Network, Error> {
        let (graph, model) = (self.network.graph(), &self.experiment.model);
        Ok(match &model.init {
            None => Network::new(graph, model.initializer, self.experiment.seed, &self.opened.device.clone().autodiff()),
            Some(path) => self.network.clone().with_weights(&Weights::from_file(path)?, path)?,
        })
    }

    /// A new training run of the network.
    pub(super) fn training(&self) -> Training {
        let optimizer = ParameterOptimizer::new(&self.experiment.optimizer.method, self.opened.device.implementation);
        Training::new(self.network.clone(), optimizer, self.penalties.clone(), self.experiment.averaging.0)
    }
}
