//! A session: an experiment with its data, prepared once and trained in memory.
//!
//! A session has threads of its own. Several sessions in one process, side by side or one after another, have the same results as each alone.

mod machine_memory;
mod measurement;
mod memory;
mod summary;
mod warnings;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::module::Module;
use regulus_model::graph::Graph;
use regulus_model::preprocess::{Decoding, FileSteps, Preprocessing};
use regulus_model::{Description, Weights};

pub use memory::TrainingMemory;
pub use summary::{EndedBy, Measured, SplitSummary, Status, Summary};

use machine_memory::machine_memory;

use crate::backend::{self, Opened};
use crate::config::{CheckpointKind, ConfigError, Experiment};
use crate::data::Data;
use crate::error::Error;
use crate::network::{Network, Predictor, Scope};
use crate::objective::{Bound, OwnPenalty, Penalties};
use crate::schedule::RunLength;
use crate::train::{Control, Diverged, Ending, Event, Observer, ParameterOptimizer, Plan, Snapshot, Training, TrainingState};

/// An experiment that is ready to train.
pub struct Session {
    experiment: Experiment,
    data: Data,
    opened: Opened,
    curvature: Scope,
    keep: CheckpointKind,
    memory: TrainingMemory,
    warnings: Vec<String>,
    training: Training,
    /// The network with the lowest validation loss so far.
    best: Option<Best>,
    stop: Arc<AtomicBool>,
}

/// The network with the lowest validation loss so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// Its epoch, from 1.
    pub epoch: u64,
    /// Its weights.
    pub weights: Weights,
    /// λ of each penalty at that time.
    pub lambdas: Vec<f64>,
    /// The constraints of `cpr`, by parameter name.
    pub bounds: BTreeMap<String, Bound>,
}

impl From<&Snapshot> for Best {
    fn from(snapshot: &Snapshot) -> Self {
        let TrainingState { epoch, lambdas, bounds, .. } = snapshot.state.clone();
        Self { epoch, weights: snapshot.measured().clone(), lambdas, bounds }
    }
}

impl Session {
    /// Prepares `experiment` with `data`. Nothing is written. `model.init` is a safetensors file; `launch::prepare` also takes a run.
    ///
    /// # Errors
    ///
    /// When config, backend, data or model do not fit together.
    pub fn new(experiment: Experiment, data: Data) -> Result<Self, Error> {
        Self::initialized(experiment, data, |path| Ok(Weights::from_file(path)?))
    }

    /// As [`Session::new`], with the weights that `read` reads from the path in `model.init`.
    pub(crate) fn initialized(
        experiment: Experiment,
        data: Data,
        read: impl FnOnce(&Path) -> Result<Weights, Error>,
    ) -> Result<Self, Error> {
        let mut prepared = Prepared::new(experiment, data)?;
        let Prepared { experiment, opened, graph, .. } = &prepared;
        let device = opened.device.clone().autodiff();
        let network = match &experiment.model.init {
            None => Network::new(graph, experiment.model.initializer, experiment.seed, &device),
            Some(path) => {
                let network = read(path).and_then(|weights| Ok(Network::blank(graph, &device).with_weights(&weights, path)?));
                network.map_err(|source| Error::InitialWeights(Box::new(source)))?
            }
        };
        let optimizer = ParameterOptimizer::new(&experiment.optimizer.method, opened.device.implementation);
        prepared.experiment.train.keep = Some(prepared.keep);
        let training = prepared.training(network, optimizer);
        Ok(prepared.session(training, None))
    }

    /// Prepares `experiment` with `data` to continue from `last`, a snapshot of an earlier session. `best` is the network with the lowest validation loss so
    /// far.
    ///
    /// # Errors
    ///
    /// As [`Session::new`]; also when the snapshots are of another network or optimizer.
    pub fn resumed(experiment: Experiment, data: Data, last: &Snapshot, best: Option<Best>) -> Result<Self, Error> {
        let prepared = Prepared::new(experiment, data)?;
        let device = prepared.opened.device.clone().autodiff();
        let path = Path::new("the snapshot");
        let network = Network::blank(&prepared.graph, &device).with_weights(&last.weights, path)?;
        let averaged = last.averaged.as_ref().map(|weights| network.valid().with_weights(weights, path)).transpose()?;
        let optimizer = ParameterOptimizer::from_bytes(&prepared.experiment.optimizer.method, &last.optimizer, &prepared.opened.device)
            .map_err(Error::Snapshot)?;
        let training = prepared.training(network, optimizer).resumed(averaged, last.state.clone());
        Ok(prepared.session(training, best))
    }

    /// Adds a penalty that is not built in. To be called before training, and again in the same order after [`Session::resumed`].
    ///
    /// # Errors
    ///
    /// As [`Penalties::add`].
    pub fn add_penalty(&mut self, penalty: OwnPenalty) -> Result<(), ConfigError> {
        self.training.add_penalty(penalty, &self.experiment.optimizer.method)
    }

    /// Stops soon after `flag` is set.
    pub fn stop_by(&mut self, flag: Arc<AtomicBool>) {
        self.stop = flag;
    }

    /// Trains to the end, or until it is stopped. Called again, it continues.
    ///
    /// # Errors
    ///
    /// When training diverges, or `observer` fails.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<Ending, Error> {
        self.run_until(u64::MAX, observer)
    }

    /// Trains until `epoch` epochs are complete. Called again, it continues, to the same bits as without a pause.
    ///
    /// # Errors
    ///
    /// As [`Session::run`].
    pub fn run_until(&mut self, epoch: u64, observer: &mut dyn Observer) -> Result<Ending, Error> {
        let Self { experiment, data, curvature, opened, training, best, stop, .. } = self;
        let device = opened.device.clone().autodiff().device;
        let plan = Plan { experiment, data, curvature, device: &device, until: epoch };
        let mut observer = WithBest { best, observer };
        training.run(&plan, &mut Control::new(stop, &mut observer))
    }

    /// Trains to the end and measures the trained networks. The status is [`Status::Interrupted`] if it was stopped.
    ///
    /// # Errors
    ///
    /// As [`Session::run`]; also when a loss of the trained network is not finite.
    pub fn train(&mut self, observer: &mut dyn Observer) -> Result<Summary, Error> {
        let status = match self.run(observer)? {
            Ending::Completed => Status::Completed,
            Ending::EarlyStopped => Status::EarlyStopped,
            Ending::Interrupted | Ending::Paused => return Ok(self.unmeasured(Status::Interrupted)),
        };
        let summary = self.unmeasured(status);
        Ok(self.measure(summary, observer)?.unwrap_or_else(|| self.unmeasured(Status::Interrupted)))
    }

    /// The experiment.
    #[must_use]
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// The data.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The backend and device.
    #[must_use]
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The network as a graph.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        self.training.network().graph()
    }

    /// The network in training.
    #[must_use]
    pub fn network(&self) -> &Network {
        self.training.network()
    }

    /// The regularization terms with their current λ.
    #[must_use]
    pub fn penalties(&self) -> &Penalties {
        self.training.penalties()
    }

    /// The training state.
    #[must_use]
    pub fn state(&self) -> &TrainingState {
        &self.training.state
    }

    /// The network with the lowest validation loss so far. Returns `None` without a validation split, or before the end of the first epoch.
    #[must_use]
    pub fn best(&self) -> Option<&Best> {
        self.best.as_ref()
    }

    /// The training state, to change before training goes on.
    pub(crate) fn state_mut(&mut self) -> &mut TrainingState {
        &mut self.training.state
    }

    /// The checkpoint that `train.keep` selects.
    #[must_use]
    pub fn keep(&self) -> CheckpointKind {
        self.keep
    }

    /// Selects the checkpoint of a run that was started by an earlier version.
    pub(crate) fn set_keep(&mut self, keep: CheckpointKind) {
        self.keep = keep;
    }

    /// An estimate of the memory that training needs.
    #[must_use]
    pub fn memory(&self) -> &TrainingMemory {
        &self.memory
    }

    /// Warnings about config and data.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Adds warnings about the origin of the initial weights.
    pub(crate) fn add_warnings(&mut self, warnings: impl IntoIterator<Item = String>) {
        self.warnings.extend(warnings);
    }

    /// The complete state of training.
    ///
    /// # Errors
    ///
    /// When a weight is not finite.
    pub fn snapshot(&mut self) -> Result<Snapshot, Diverged> {
        let rate = self.training.state.rate.unwrap_or_default();
        self.training.snapshot(rate)
    }

    /// The weights that `train.keep` selects: those with the lowest validation loss so far, or the current ones.
    #[must_use]
    pub fn weights(&self) -> Weights {
        match (&self.best, self.keep) {
            (Some(best), CheckpointKind::Best) => best.weights.clone(),
            _ => self.training.measured_network().weights(),
        }
    }

    /// What the network is, how its input is made, and what its outputs mean.
    #[must_use]
    pub fn description(&self) -> Description {
        let Self { experiment, data, .. } = self;
        let resize = experiment.data.resize.unwrap_or_default();
        let (normalizer, decoding) = (data.normalizer.clone(), Decoding::Reduced);
        Description {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: self.graph().clone(),
            preprocessing: Preprocessing { normalizer, resize, decoding, steps: FileSteps::default() },
            classes: data.classes.clone(),
        }
    }

    /// Computes outputs with [`Session::weights`].
    #[must_use]
    pub fn predictor(&self) -> Predictor {
        Predictor::new(&Network::of_weights(self.graph(), &self.weights(), &self.opened.device), &self.data.normalizer)
    }
}

/// A checked experiment before its network has weights.
struct Prepared {
    experiment: Experiment,
    data: Data,
    opened: Opened,
    graph: Graph,
    penalties: Penalties,
    curvature: Scope,
    keep: CheckpointKind,
}

impl Prepared {
    fn new(mut experiment: Experiment, data: Data) -> Result<Self, Error> {
        let opened = backend::open(&experiment.backend)?;
        experiment.data.validation.get_or_insert(data.held_out);
        experiment.check_validation(data.validation.is_some())?;
        let keep = experiment.train.selected_checkpoint(data.validation.is_some())?;
        let input = data.train.shape();
        let graph = experiment.model.graph(input, data.classes.len())?;
        experiment.augment.check(input.height, input.width)?;
        experiment.check_batch_norm(&graph, data.train.count())?;
        let penalties = Penalties::new(&experiment.penalty, &graph, RunLength::new(&experiment.train, data.train.count()))?;
        let curvature = penalties.curvature_scope(&graph)?;
        Ok(Self { experiment, data, opened, graph, penalties, curvature, keep })
    }

    fn training(&self, network: Network, optimizer: ParameterOptimizer) -> Training {
        Training::new(network, optimizer, self.penalties.clone(), self.experiment.averaging.0)
    }

    fn session(self, training: Training, best: Option<Best>) -> Session {
        let Self { experiment, data, opened, curvature, keep, .. } = self;
        let graph = training.network().graph();
        let memory = TrainingMemory::of(&experiment, training.network(), &data);
        // The memory of a GPU is not known.
        let available = if experiment.backend.kind.is_cpu() { machine_memory() } else { None };
        let too_much = available.and_then(|available| memory.warning(available, graph));
        let warnings = data.warnings.iter().cloned().chain(experiment.warnings(data.train.count(), graph)).chain(too_much).collect();
        Session { experiment, data, opened, curvature, keep, memory, warnings, training, best, stop: Arc::default() }
    }
}

/// Keeps the network with the lowest validation loss.
struct WithBest<'a> {
    best: &'a mut Option<Best>,
    observer: &'a mut dyn Observer,
}

impl Observer for WithBest<'_> {
    fn on(&mut self, event: &Event) -> Result<ControlFlow<()>, Error> {
        if let Event::Checkpoint { snapshot, best: true } = event {
            *self.best = Some(Best::from(*snapshot));
        }
        self.observer.on(event)
    }
}
