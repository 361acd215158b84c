//! New, resumed and extended runs.

mod extend;
mod final_measurement;
mod machine_memory;
mod memory;
mod prepare;
mod warnings;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::module::Module;
use regulus_model::preprocess::Decoding;

use crate::backend::ComputeDevice;
use crate::checksum::sha256;
use crate::clock;
use crate::config::Experiment;
use crate::config::number::Count;
use crate::data::{Data, Progress, Subset};
use crate::error::Error;
use crate::network::Scope;
use crate::run::{
    CheckpointKind, DatasetManifest, EndedBy, Extension, LoadedCheckpoint, Manifest, Recorder, RunError, RunFolder, Status, Summary,
};
use crate::train::{Ending, Event, Observer, ParameterOptimizer, Plan, Snapshot, Training};
use crate::trained::same_data;

use extend::Extending;
pub use memory::TrainingMemory;
use prepare::prepare_with;
pub use prepare::{Prepared, prepare};

/// A run that is ready to train.
pub struct Launch {
    /// The experiment.
    pub experiment: Experiment,
    /// The run folder.
    pub folder: RunFolder,
    /// The manifest.
    pub manifest: Manifest,
    /// An estimate of the memory that training needs.
    pub memory: TrainingMemory,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// Notes about an extension to more epochs.
    pub notes: Vec<String>,
    keep: CheckpointKind,
    data: Data,
    device: ComputeDevice,
    curvature: Scope,
    training: Training,
}

impl Launch {
    /// Creates a new run of `experiment`, in `dir` or in a folder named after the time. Config, backend, data and model are checked before anything is
    /// written. `progress` is called for each decoded image file.
    ///
    /// # Errors
    ///
    /// When one of them can't be used, or the folder can't be written to.
    pub fn new(experiment: Experiment, dir: Option<&Path>, progress: Progress) -> Result<Self, Error> {
        let prepared = prepare(experiment, progress)?;
        let training = prepared.training();
        let manifest = manifest(&prepared);
        let Prepared { experiment, opened, data, curvature, keep, memory, warnings, .. } = prepared;
        let folder = RunFolder::create(&experiment, dir, &manifest)?;
        let device = opened.device.autodiff();
        Ok(Self { experiment, folder, manifest, memory, warnings, notes: Vec::new(), keep, data, device, curvature, training })
    }

    /// Resumes the run in `path` from its last checkpoint, or from the start if it has none. With `epochs` it is extended to this total number of epochs,
    /// also if it has ended. `data_dir`: the new folder of the data, if they were moved. `progress` is called for each decoded image file. Returns `None`
    /// if the run has ended and is not extended.
    ///
    /// # Errors
    ///
    /// When `path` is not a run folder, the run is in use, diverged or damaged, its data have changed, or it has completed `epochs` epochs.
    pub fn resume(path: &Path, data_dir: Option<&Path>, epochs: Option<Count>, progress: Progress) -> Result<Option<Self>, Error> {
        let mut folder = RunFolder::open(path)?;
        folder.lock()?;
        let mut experiment = folder.experiment(data_dir)?;
        let ended = match folder.summary()?.map(|summary| summary.status) {
            Some(Status::Diverged) => return Err(RunError::Diverged { path: path.to_owned() }.into()),
            Some(Status::Completed | Status::EarlyStopped) => true,
            Some(Status::Interrupted) | None => false,
        };
        let epochs = epochs.filter(|epochs| ended || *epochs != experiment.train.epochs);
        if ended && epochs.is_none() {
            return Ok(None);
        }
        let mut manifest = folder.manifest()?;
        // A run of version 0.1.0 continues with stock operations, to the same bits.
        experiment.backend.kernels = manifest.kernels;
        let loaded = match folder.load(Some(CheckpointKind::Last)) {
            Err(RunError::NoCheckpoint { .. }) if !ended => None,
            loaded => Some(loaded?),
        };
        let extending = match epochs {
            None => None,
            Some(epochs) => {
                let state = loaded.as_ref().map(|loaded| &loaded.snapshot.state);
                let extending = Extending::new(path, &experiment, &manifest, state, epochs)?;
                experiment = experiment.with_epochs(epochs)?;
                Some(extending)
            }
        };
        let mut prepared = prepare_with(experiment, |experiment| same_data(experiment, &manifest, &folder, progress))?;
        let mut initial_warning = None;
        let mut training = if let Some(LoadedCheckpoint { snapshot, .. }) = &loaded {
            resumed(&prepared, snapshot, path)?
        } else {
            initial_warning = prepared.initialize()?;
            prepared.training()
        };
        // Also if it was extended and interrupted before the next epoch.
        let total = prepared.experiment.train.epochs.get() as u64;
        let extended = |last: &Extension| last.from_epoch == training.state.epoch && last.to_epoch == total;
        if extending.is_some() || manifest.extended.last().is_some_and(extended) {
            training.state.stopping.reset();
        }
        let notes = extending.as_ref().map_or_else(Vec::new, |extending| extending.notes(&prepared, &training));
        let prefix = loaded.as_ref().and_then(|loaded| loaded.metrics.clone());
        let mut warnings = resume_warnings(loaded, &manifest, prepared.opened.simd);
        warnings.extend(initial_warning);
        if let Some(extending) = extending {
            extending.record(&folder, &mut manifest)?;
            warnings.append(&mut prepared.warnings);
        }
        folder.truncate_metrics(prefix.as_ref(), training.state.epoch)?;
        let keep = manifest.keep.unwrap_or(prepared.keep);
        let Prepared { experiment, opened, data, curvature, memory, .. } = prepared;
        let device = opened.device.autodiff();
        Ok(Some(Self { experiment, folder, manifest, memory, warnings, notes, keep, data, device, curvature, training }))
    }

    /// The number of completed steps.
    #[must_use]
    pub fn steps_done(&self) -> u64 {
        self.training.state.step
    }

    /// Trains the network, records the run, and measures the result. Stops soon after `stop` is set.
    ///
    /// # Errors
    ///
    /// When training diverges, or a file can't be written.
    pub fn run(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Summary, Error> {
        let ended = self.train_and_measure(stop, observer);
        match &ended {
            Ok(summary) => self.folder.write_summary(summary)?,
            Err(Error::Diverged(diverged)) => {
                let summary = Summary { steps: diverged.step, ..self.unmeasured(Status::Diverged) };
                self.folder.write_summary(&summary)?;
            }
            Err(_) => {}
        }
        ended
    }

    fn train_and_measure(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Summary, Error> {
        let plan = Plan { experiment: &self.experiment, data: &self.data, curvature: &self.curvature, device: &self.device.device, stop };
        let mut both = Both(Recorder(&self.folder), observer);
        let status = match self.training.run(&plan, &mut both)? {
            Ending::Completed => Status::Completed,
            Ending::EarlyStopped => Status::EarlyStopped,
            Ending::Interrupted => return Ok(self.unmeasured(Status::Interrupted)),
        };
        both.on(&Event::Measuring)?;
        let Some(summary) = self.measured(self.unmeasured(status), stop, &mut both)? else {
            return Ok(self.unmeasured(Status::Interrupted));
        };
        if summary.is_finite() {
            return Ok(summary);
        }
        let (state, rate) = (&self.training.state, self.experiment.optimizer.learning_rate.get());
        Err(self.training.diverged("the loss of the trained network", state.step, state.epoch, rate).into())
    }

    fn unmeasured(&self, status: Status) -> Summary {
        let (state, train) = (&self.training.state, &self.experiment.train);
        let all = (train.epochs.get() as u64).saturating_mul(train.steps_per_epoch(self.data.train.count()));
        let ended_by = if train.max_steps > 0 && train.max_steps < all { EndedBy::MaxSteps } else { EndedBy::Epochs };
        Summary {
            status,
            ended_by: (status == Status::Completed).then_some(ended_by),
            epochs: state.epoch,
            steps: state.step,
            seconds: state.seconds + state.sums.seconds,
            images_per_second: Summary::median_speed(&state.speeds),
            kept: None,
            train: None,
            validation: None,
            test: None,
            penalty: None,
            lambda: None,
            lambdas: Vec::new(),
            weight_norm_squared: None,
            zero_weights: None,
            zero_channels: None,
            best_epoch: state.best_epoch,
            best: None,
            last: None,
            warnings: Vec::new(),
            parameters: self.manifest.parameters,
            backend: self.manifest.backend.clone(),
        }
    }
}

/// Sends events to the recorder first, so that files are written before the observer is called.
struct Both<'a>(Recorder<'a>, &'a mut dyn Observer);

impl Observer for Both<'_> {
    fn on(&mut self, event: &Event) -> Result<(), Error> {
        self.0.on(event)?;
        self.1.on(event)
    }
}

/// The training run of a checkpoint of the run in `path`.
fn resumed(prepared: &Prepared, snapshot: &Snapshot, path: &Path) -> Result<Training, Error> {
    let network = prepared.network.clone().with_weights(&snapshot.weights, path)?;
    let device = prepared.opened.device.clone();
    let optimizer = ParameterOptimizer::from_bytes(&prepared.experiment.optimizer.method, &snapshot.optimizer, &device)
        .map_err(|problem| RunError::Damaged { path: path.join("checkpoints/last/optimizer.bpk"), problem })?;
    let averaged = snapshot.averaged.as_ref().map(|weights| network.valid().with_weights(weights, path)).transpose()?;
    let training = Training::new(network, optimizer, prepared.penalties.clone(), prepared.experiment.averaging.0);
    Ok(training.resumed(averaged, snapshot.state.clone()))
}

fn resume_warnings(loaded: Option<LoadedCheckpoint>, manifest: &Manifest, simd: Option<&str>) -> Vec<String> {
    let no_checkpoint = || Some("there is no checkpoint yet: the run begins anew".to_owned());
    let mut warnings: Vec<String> = loaded.map_or_else(no_checkpoint, |loaded| loaded.warning).into_iter().collect();
    if let (Some(before), Some(now)) = (&manifest.simd, simd)
        && before != now
    {
        warnings.push(format!("the run began with {before} instructions and goes on with {now}, which round differently"));
    }
    warnings
}

fn manifest(prepared: &Prepared) -> Manifest {
    let Prepared { experiment, opened, data, network, .. } = prepared;
    Manifest {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config_sha256: sha256(experiment.to_toml().as_bytes()),
        started: clock::now(),
        backend: experiment.backend.kind.name().to_owned(),
        device: opened.name.clone(),
        threads: opened.threads,
        kernels: opened.device.implementation,
        simd: opened.simd.map(str::to_owned),
        dataset: DatasetManifest {
            source: experiment.data.source.name().to_owned(),
            sha256: data.checksum.clone(),
            train: data.train.count(),
            validation: data.validation.as_ref().map_or(0, Subset::count),
            test: data.test.as_ref().map_or(0, Subset::count),
            left_out: data.left_out.counts(),
        },
        normalizer: data.normalizer.clone(),
        resize: experiment.data.resize.unwrap_or_default(),
        decoding: Decoding::Reduced,
        classes: data.classes.clone(),
        keep: Some(prepared.keep),
        penalties: prepared.penalties.labels(),
        extended: Vec::new(),
        graph: network.graph().clone(),
        parameters: network.graph().parameter_count(),
    }
}
