//! An experiment that has been checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use regulus_kernels::algorithm::Algorithm;
use regulus_model::graph::Graph;
use regulus_model::{Values, Weights};

use super::{Session, TrainingMemory, machine_memory};
use crate::backend::Opened;
use crate::config::{Augment, CheckpointKind, Experiment};
use crate::data::{Data, FrozenFeatures};
use crate::error::Error;
use crate::network::{Network, Scope};
use crate::objective::Penalties;
use crate::schedule::RunLength;
use crate::task::{self, Task};
use crate::train::{ParameterOptimizer, Training};

/// A checked experiment before its network has weights.
pub(super) struct Prepared {
    pub(super) experiment: Experiment,
    pub(super) task: Arc<dyn Task>,
    pub(super) data: Data,
    pub(super) opened: Opened,
    pub(super) graph: Graph,
    pub(super) penalties: Penalties,
    /// The factors of the learning rate by name of parameter.
    pub(super) rates: BTreeMap<String, f64>,
    pub(super) curvature: Scope,
    pub(super) keep: CheckpointKind,
}

impl Prepared {
    pub(super) fn new(opened: Opened, mut experiment: Experiment, data: Data) -> Result<Self, Error> {
        data.check_experiment(&experiment)?;
        data.check_memory(experiment.train.samples_at_once(data.train.count()))?;
        experiment.data.validation.get_or_insert(data.held_out);
        experiment.check_validation(data.validation.is_some())?;
        let keep = experiment.train.selected_checkpoint(data.validation.is_some())?;
        let input = data.train.shape();
        experiment.check_task()?;
        let task = task::of(&experiment, &data)?;
        let graph = experiment.model.graph_to(input, task.output(input, data.classes.len()))?;
        [&data.validation, &data.test].into_iter().flatten().try_for_each(|subset| task.check_subset(&graph, subset))?;
        experiment.augment.check(input)?;
        experiment.check_batch_norm(&graph, data.train.count())?;
        let penalties = Penalties::new(&experiment.penalty, &graph, RunLength::new(&experiment.train, data.train.count()))?;
        let curvature = penalties.curvature_scope(&graph)?;
        let rates = experiment.optimizer.rates(&graph)?;
        Ok(Self { experiment, task, data, opened, graph, penalties, rates, curvature, keep })
    }

    /// Gives the penalties the starting point of a snapshot.
    pub(super) fn start_again(&mut self, origin: Option<&Weights>) -> Result<(), Error> {
        let refuse = |problem: &str| Err(Error::Snapshot(problem.to_owned()));
        let fits = |(name, values): (&String, &Values)| self.graph.parameters().any(|own| own.name == *name && own.shape == values.shape);
        match origin {
            None if self.penalties.need_origin() => return refuse("it has no starting point for the penalty `l2_sp`"),
            Some(origin) if !origin.iter().all(fits) => return refuse("its starting point is of another network"),
            _ => {}
        }
        self.penalties.start_from(origin, &self.graph, &self.opened.device.device)?;
        Ok(())
    }

    pub(super) fn training(&self, network: Network, optimizer: ParameterOptimizer) -> Training {
        Training::new(network, optimizer, self.penalties.clone(), self.experiment.averaging.0)
    }

    /// What frozen layers of `network` give for images, if it fits into `data.memory`. Augmented images are others in every epoch.
    fn features(&self, network: &Network) -> Option<Arc<FrozenFeatures>> {
        let algorithm = network.algorithm()?;
        if self.experiment.augment != Augment::default() {
            return None;
        }
        let features = self.data.frozen_features(&self.graph, &network.weights(), algorithm);
        let features = features.unwrap_or_else(|error| unreachable!("a device is open, and the weights are the network's: {error}"));
        features.filter(|features| features.bytes_of(self.data.count()) <= self.experiment.data.memory())
    }

    pub(super) fn session(self, training: Training) -> Session {
        let features = self.features(training.network());
        let Self { experiment, task, data, opened, curvature, keep, .. } = self;
        let graph = training.network().graph();
        let memory = TrainingMemory::of(&experiment, training.network(), &curvature, &data, features.as_deref());
        // The memory of a GPU is not known.
        let available = if experiment.backend.kind.is_cpu() { machine_memory() } else { None };
        let too_much = available.and_then(|available| memory.warning(available, graph));
        let rounds_none = rounds_none(training.network());
        let warnings = data.warnings.iter().cloned().chain(experiment.warnings(data.train.count(), graph));
        let warnings = warnings.chain(too_much).chain(rounds_none).collect();
        let (evaluation, stop) = (None, Arc::default());
        Session {
            experiment,
            task,
            data,
            features,
            opened,
            curvature,
            keep,
            memory,
            warnings,
            notes: Vec::new(),
            training,
            evaluation,
            stop,
            has_failed: false,
        }
    }
}

/// A warning if bfloat16 is asked for and no convolution multiplies it.
fn rounds_none(network: &Network) -> Option<String> {
    let is_asked = matches!(network.algorithm(), Some(Algorithm::Bf16(_)));
    (is_asked && !network.stages().iter().any(|stage| network.is_rounded(stage))).then(|| {
        "`backend.precision` is \"bf16\" and changes nothing here: it is for convolutions with one group that no ReLU and 2×2 max-pool follow; leave it out".to_owned()
    })
}
