//! A session: an experiment with its data, prepared once and trained in memory.
//!
//! A session has threads of its own. Several sessions in one process, side by side or one after another, have the same results as each alone.

mod criteria;
mod evaluation;
mod machine_memory;
mod measurement;
mod memory;
mod prepared;
mod start;
mod summary;
mod warnings;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::module::Module;
use regulus_model::graph::Graph;
use regulus_model::infer::Views;
use regulus_model::preprocess::{Decoding, FileSteps, Preprocessing};
use regulus_model::{Description, Weights};

pub use criteria::{Criteria, TrainedPosterior};
pub use evaluation::{EvaluatedPicture, EvaluatedSample, Evaluation, MeasuredSplit};
pub use memory::TrainingMemory;
pub use summary::{EndedBy, Measured, SplitSummary, Status, Summary};

pub(crate) use machine_memory::machine_memory;

use crate::backend::{self, Opened};
use crate::config::{Average, CheckpointKind, ConfigError, Experiment};
use crate::data::{Data, FrozenFeatures};
use crate::error::Error;
use crate::network::{Network, Predictor, Scope};
use crate::objective::{OwnPenalty, Penalties};
use crate::task::Task;
pub use crate::train::Best;
use crate::train::{Control, Ending, Observer, ParameterOptimizer, Plan, Snapshot, Training, TrainingState};
use prepared::Prepared;
use start::Start;

/// An experiment that is ready to train.
pub struct Session {
    experiment: Experiment,
    task: Arc<dyn Task>,
    data: Data,
    /// What frozen layers give for the images.
    features: Option<Arc<FrozenFeatures>>,
    opened: Opened,
    curvature: Scope,
    keep: CheckpointKind,
    memory: TrainingMemory,
    warnings: Vec<String>,
    notes: Vec<String>,
    training: Training,
    evaluation: Option<Evaluation>,
    stop: Arc<AtomicBool>,
    /// Whether training has ended with an error: then its state is that of the middle of a step or of the end of an epoch.
    has_failed: bool,
}

impl Session {
    /// Prepares `experiment` with `data`. Nothing is written. `model.init` is a safetensors file; `launch::prepare` also takes a run.
    ///
    /// A session on a GPU must stay on the thread that made it.
    ///
    /// # Errors
    ///
    /// When config, backend, data or model do not fit together.
    pub fn new(experiment: Experiment, data: Data) -> Result<Self, Error> {
        let opened = backend::open(&experiment.backend)?;
        Self::new_on(opened, experiment, data, |path| Ok((Weights::from_file(path)?, Vec::new())))
    }

    /// As [`Session::new`], on an opened device, with the weights that `read` reads from the path in `model.init`, and the classes
    /// they were trained for, if they are known.
    pub(crate) fn new_on(
        opened: Opened,
        experiment: Experiment,
        data: Data,
        read: impl FnOnce(&Path) -> Result<(Weights, Vec<String>), Error>,
    ) -> Result<Self, Error> {
        let mut prepared = Prepared::new(opened, experiment, data)?;
        let Prepared { experiment, opened, graph, penalties, rates, data, .. } = &mut prepared;
        let device = opened.device.clone().autodiff();
        let Start { network, origin, note } = Start::new(experiment, graph, &device, data, read)?;
        let warnings = penalties.start_from(origin.as_ref(), graph, &opened.device.device)?;
        let optimizer = ParameterOptimizer::new(&experiment.optimizer.method, opened.device.implementation).with_rates(rates.clone());
        prepared.experiment.train.keep = Some(prepared.keep);
        let training = prepared.training(network, optimizer);
        let mut session = prepared.session(training);
        session.add_warnings(warnings);
        session.notes.extend(note);
        Ok(session)
    }

    /// Prepares `experiment` with `data` to continue from `last`, a snapshot of an earlier session with the same data. `best` is the best network so
    /// far.
    ///
    /// # Errors
    ///
    /// As [`Session::new`]; also when the snapshot or `best` is of another network, optimizer or `[averaging]`, or `best` is missing.
    pub fn resumed(experiment: Experiment, data: Data, last: &Snapshot, best: Option<Best>) -> Result<Self, Error> {
        let opened = backend::open(&experiment.backend)?;
        Self::resumed_on(opened, experiment, data, last, best)
    }

    /// As [`Session::resumed`], on an opened device.
    pub(crate) fn resumed_on(
        opened: Opened,
        experiment: Experiment,
        data: Data,
        last: &Snapshot,
        best: Option<Best>,
    ) -> Result<Self, Error> {
        let mut prepared = Prepared::new(opened, experiment, data)?;
        prepared.start_again(last.origin.as_ref())?;
        let Prepared { experiment, graph, opened, rates, .. } = &prepared;
        let fits =
            |weights: &Weights, what: &str| weights.check_fit(graph, Path::new(what)).map_err(|error| Error::Snapshot(error.to_string()));
        fits(&last.weights, "weights")?;
        last.averaged.as_ref().map_or(Ok(()), |averaged| fits(averaged, "averaged weights"))?;
        best.as_ref().map_or(Ok(()), |best| fits(&best.weights, "best weights"))?;
        let refuse = |problem: &str| Err(Error::Snapshot(problem.to_owned()));
        if last.averaged.is_some() && experiment.averaging.0 == Average::None {
            return refuse("it has averaged weights, but the experiment has no `[averaging]`");
        }
        if best.is_none() && last.state.best_epoch.is_some() {
            return refuse("it was saved with a best network, which is not given");
        }
        let device = opened.device.clone().autodiff();
        let network = Network::of_weights(graph, &last.weights, &device);
        // Its parameters have the identifiers of the network, by which it is updated.
        let averaged =
            last.averaged.as_ref().map(|weights| network.valid().with_weights(weights, Path::new("averaged weights"))).transpose()?;
        let optimizer =
            ParameterOptimizer::from_bytes(&experiment.optimizer.method, &last.optimizer, &opened.device).map_err(Error::Snapshot)?;
        let optimizer = optimizer.with_rates(rates.clone());
        let training = prepared.training(network, optimizer).resumed(averaged, best, last.state.clone());
        Ok(prepared.session(training))
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
    /// When training diverges, or `observer` fails. Then the session can't go on.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<Ending, Error> {
        self.run_until(u64::MAX, observer)
    }

    /// Trains until `epoch` epochs are complete; an end of an epoch that was stopped is completed first. Called again, it continues, to the same bits as
    /// without a pause.
    ///
    /// # Errors
    ///
    /// As [`Session::run`].
    pub fn run_until(&mut self, epoch: u64, observer: &mut dyn Observer) -> Result<Ending, Error> {
        let stop = Arc::clone(&self.stop);
        self.run_with(epoch, &mut Control::new(&stop, observer))
    }

    fn run_with(&mut self, epoch: u64, control: &mut Control) -> Result<Ending, Error> {
        self.check_penalties()?;
        self.check_failure()?;
        let Self { experiment, task, data, features, curvature, opened, training, .. } = self;
        let device = opened.device.clone().autodiff().device;
        let plan = Plan { experiment, task, data, features: features.as_ref(), curvature, device: &device, until: epoch };
        let ended = training.run(&plan, control);
        self.has_failed = ended.is_err();
        ended
    }

    /// Trains to the end and measures the trained networks. The status is [`Status::Interrupted`] if it was stopped.
    ///
    /// # Errors
    ///
    /// As [`Session::run`]; also when a loss of the trained network is not finite.
    pub fn train(&mut self, observer: &mut dyn Observer) -> Result<Summary, Error> {
        let stop = Arc::clone(&self.stop);
        let mut control = Control::new(&stop, observer);
        let status = match self.run_with(u64::MAX, &mut control)? {
            Ending::Completed => Status::Completed,
            Ending::EarlyStopped => Status::EarlyStopped,
            Ending::Interrupted | Ending::Paused => return Ok(self.unmeasured(Status::Interrupted)),
        };
        let measured = if control.is_stopped() { None } else { self.measure(self.unmeasured(status), &mut control)? };
        let Some((summary, evaluation)) = measured else { return Ok(self.unmeasured(Status::Interrupted)) };
        self.evaluation = Some(evaluation);
        Ok(summary)
    }

    /// Checks that the penalties are those of the snapshot. Version 0.1.0 did not save their λ.
    fn check_penalties(&self) -> Result<(), Error> {
        let (saved, now) = (self.training.state.lambdas.len(), self.penalties().lambdas().len());
        if self.training.state.step == 0 || saved == 0 || saved == now {
            return Ok(());
        }
        let problem =
            format!("it has the λ of {saved} penalties, but the session has {now}; `add_penalty` adds those that are not built in");
        Err(Error::Snapshot(problem))
    }

    fn check_failure(&self) -> Result<(), Error> {
        if self.has_failed {
            return Err(Error::Usage("training has ended with an error; make a new session from a snapshot to go on".to_owned()));
        }
        Ok(())
    }

    /// The experiment.
    #[must_use]
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// The task.
    #[must_use]
    pub fn task(&self) -> &Arc<dyn Task> {
        &self.task
    }

    /// The weight of each class in the data loss of training, in the order of the labels. Returns `None` if every sample counts the same.
    #[must_use]
    pub fn class_weights(&self) -> Option<Vec<f64>> {
        let Self { experiment, data, .. } = self;
        let counts = data.train.class_counts(data.classes.len());
        // They were checked when the session was made.
        experiment.train.class_weights.of_classes(&data.classes, &counts).ok().flatten()
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

    /// The best network so far by `train.best_by`. Returns `None` without a validation split, or before the end of the first epoch.
    #[must_use]
    pub fn best(&self) -> Option<&Best> {
        self.training.best.as_ref()
    }

    /// What reports show of the kept network. Returns `None` before [`Session::train`] has measured it.
    #[must_use]
    pub fn evaluation(&self) -> Option<&Evaluation> {
        self.evaluation.as_ref()
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

    /// What frozen layers give for images, each computed once. Returns `None` where no layers are frozen up to a vector, images are augmented, or operations
    /// are stock.
    #[must_use]
    pub fn features(&self) -> Option<&FrozenFeatures> {
        self.features.as_deref()
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

    /// What else is to be known of the start: a last layer that starts anew.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Adds warnings about the origin of the initial weights.
    pub(crate) fn add_warnings(&mut self, warnings: impl IntoIterator<Item = String>) {
        self.warnings.extend(warnings);
    }

    /// The complete state of training.
    ///
    /// # Errors
    ///
    /// When a weight is not finite, or training has ended with an error.
    pub fn snapshot(&mut self) -> Result<Snapshot, Error> {
        self.check_failure()?;
        let rate = self.training.state.rate.unwrap_or_default();
        Ok(self.training.snapshot(rate)?)
    }

    /// The weights that `train.keep` selects: those of the best epoch so far, or the current ones.
    #[must_use]
    pub fn weights(&self) -> Weights {
        match (&self.training.best, self.keep) {
            (Some(best), CheckpointKind::Best) => best.weights.clone(),
            _ => self.training.measured_network().weights(),
        }
    }

    /// What the network is, how its input is made, and what its outputs mean.
    #[must_use]
    pub fn description(&self) -> Description {
        let Self { experiment, data, .. } = self;
        let (resize, filter) = (experiment.data.resize.unwrap_or_default(), experiment.data.filter.unwrap_or_default());
        let Views { test_flip, test_shift } = experiment.augment.views();
        let (normalizer, decoding, steps) = (data.normalizer.clone(), Decoding::Reduced, FileSteps::default());
        Description {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: self.graph().clone(),
            preprocessing: Preprocessing { normalizer, resize, filter, decoding, test_flip, test_shift, steps },
            classes: data.classes.clone(),
            task: experiment.task.into(),
        }
    }

    /// Computes outputs with [`Session::weights`].
    #[must_use]
    pub fn predictor(&self) -> Predictor {
        self.predictor_of(&Network::of_weights(self.graph(), &self.weights(), &self.opened.device))
    }
}
