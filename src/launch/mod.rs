//! Launching an experiment, and going on with one.

mod closing;
mod extend;
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
use crate::run::{CheckpointKind, DatasetManifest, EndedBy, Extension, Loaded, Manifest, Recorder, RunError, RunFolder, Status, Summary};
use crate::train::{Ending, Event, Observer, ParameterOptimizer, Plan, Snapshot, Training};
use crate::trained::same_data;

use extend::Extending;
use prepare::prepare_with;
pub use prepare::{Prepared, prepare};

/// An experiment with its run folder, ready to train.
pub struct Launch {
    /// The experiment.
    pub experiment: Experiment,
    /// Where it is recorded.
    pub folder: RunFolder,
    /// What the run is.
    pub manifest: Manifest,
    /// What the user should know before it goes on.
    pub warnings: Vec<String>,
    /// What is different from now on, where it is trained on to more epochs than it had.
    pub notes: Vec<String>,
    keep: CheckpointKind,
    data: Data,
    device: ComputeDevice,
    curvature: Scope,
    training: Training,
}

impl Launch {
    /// Makes a new run of `experiment`, in `dir` or in a folder named after the time. Nothing is written before config, backend, data and
    /// model are known to be good. `progress` hears of image files that are decoded.
    ///
    /// # Errors
    ///
    /// When any of them can't be used, or the folder can't be written to.
    pub fn new(experiment: Experiment, dir: Option<&Path>, progress: Progress) -> Result<Self, Error> {
        let prepared = prepare(experiment, progress)?;
        let training = prepared.training();
        let manifest = manifest(&prepared);
        let Prepared { experiment, opened, data, curvature, keep, warnings, .. } = prepared;
        let folder = RunFolder::create(&experiment, dir, &manifest)?;
        let device = opened.device.autodiff();
        Ok(Self { experiment, folder, manifest, warnings, notes: Vec::new(), keep, data, device, curvature, training })
    }

    /// Goes on with the run in `path` from its last checkpoint, or from the start if it was cut off before the first; none if it ended
    /// already. With `epochs` it is trained on to so many in all, also where it ended. Its data are in `data_dir`, if they have moved; `progress` hears
    /// of image files that are decoded.
    ///
    /// # Errors
    ///
    /// When it is no run folder, is in use, diverged, is damaged, its data have changed, or it has done so many epochs already.
    pub fn resume(path: &Path, data_dir: Option<&Path>, epochs: Option<Count>, progress: Progress) -> Result<Option<Self>, Error> {
        let mut folder = RunFolder::open(path)?;
        folder.lock()?;
        let mut experiment = folder.experiment(data_dir)?;
        let ended = match folder.summary()?.map(|summary| summary.status) {
            Some(Status::Diverged) => return Err(RunError::Ended { path: path.to_owned() }.into()),
            Some(Status::Completed | Status::EarlyStopped) => true,
            Some(Status::Interrupted) | None => false,
        };
        let epochs = epochs.filter(|epochs| ended || *epochs != experiment.train.epochs);
        if ended && epochs.is_none() {
            return Ok(None);
        }
        let mut manifest = folder.manifest()?;
        // A run that began before there were kernels goes on without them, to the same bits.
        experiment.backend.kernels = manifest.kernels;
        let loaded = match folder.load(Some(CheckpointKind::Last)) {
            Err(RunError::NoCheckpoint { .. }) if !ended => None,
            loaded => Some(loaded?),
        };
        let extending = match epochs {
            None => None,
            Some(epochs) => {
                let position = loaded.as_ref().map(|loaded| &loaded.snapshot.position);
                let extending = Extending::new(path, &experiment, &manifest, position, epochs)?;
                experiment = experiment.with_epochs(epochs)?;
                Some(extending)
            }
        };
        let mut prepared = prepare_with(experiment, |experiment| same_data(experiment, &manifest, &folder, progress))?;
        let mut training = if let Some(Loaded { snapshot, .. }) = &loaded {
            resumed(&prepared, snapshot, path)?
        } else {
            prepared.network = prepared.initial_network()?;
            prepared.training()
        };
        // Also where it was extended, and cut off before it had done another epoch.
        let all = prepared.experiment.train.epochs.get() as u64;
        let extended = |last: &Extension| last.from_epoch == training.position.epoch && last.to_epoch == all;
        if extending.is_some() || manifest.extended.last().is_some_and(extended) {
            training.position.stopping.rest();
        }
        let notes = extending.as_ref().map_or_else(Vec::new, |extending| extending.notes(&prepared, &training));
        let mark = loaded.as_ref().and_then(|loaded| loaded.metrics.clone());
        let mut warnings = warnings_of_going_on(loaded, &manifest, prepared.opened.simd);
        if let Some(extending) = extending {
            extending.record(&folder, &mut manifest)?;
            warnings.append(&mut prepared.warnings);
        }
        folder.keep_metrics(mark.as_ref(), training.position.epoch)?;
        let keep = manifest.keep.unwrap_or(prepared.keep);
        let Prepared { experiment, opened, data, curvature, .. } = prepared;
        let device = opened.device.autodiff();
        Ok(Some(Self { experiment, folder, manifest, warnings, notes, keep, data, device, curvature, training }))
    }

    /// Steps done so far.
    #[must_use]
    pub fn steps_done(&self) -> u64 {
        self.training.position.step
    }

    /// Trains, records, and measures the network at the end. `stop`, raised from outside, ends it within a moment.
    ///
    /// # Errors
    ///
    /// When training diverges, or something can't be recorded.
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
        let (position, rate) = (&self.training.position, self.experiment.optimizer.learning_rate.get());
        Err(self.training.diverged("the loss of the trained network", position.step, position.epoch, rate).into())
    }

    fn unmeasured(&self, status: Status) -> Summary {
        let (position, train) = (&self.training.position, &self.experiment.train);
        let all = (train.epochs.get() as u64).saturating_mul(train.steps_per_epoch(self.data.train.count()));
        let ended_by = if train.max_steps > 0 && train.max_steps < all { EndedBy::MaxSteps } else { EndedBy::Epochs };
        Summary {
            status,
            ended_by: (status == Status::Completed).then_some(ended_by),
            epochs: position.epoch,
            steps: position.step,
            seconds: position.seconds + position.sums.seconds,
            images_per_second: Summary::median_speed(&position.speeds),
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
            best_epoch: position.best_epoch,
            best: None,
            last: None,
            warnings: Vec::new(),
            parameters: self.manifest.parameters,
            backend: self.manifest.backend.clone(),
        }
    }
}

/// The recorder first, so that what a watcher hears is on disk.
struct Both<'a>(Recorder<'a>, &'a mut dyn Observer);

impl Observer for Both<'_> {
    fn on(&mut self, event: &Event) -> Result<(), Error> {
        self.0.on(event)?;
        self.1.on(event)
    }
}

/// A training as a checkpoint of the run in `path` left it.
fn resumed(prepared: &Prepared, snapshot: &Snapshot, path: &Path) -> Result<Training, Error> {
    let network = prepared.network.clone().with_weights(&snapshot.weights, path)?;
    let device = prepared.opened.device.clone();
    let optimizer = ParameterOptimizer::from_bytes(&prepared.experiment.optimizer.method, &snapshot.optimizer, &device)
        .map_err(|problem| RunError::Damaged { path: path.join("checkpoints/last/optimizer.bpk"), problem })?;
    let averaged = snapshot.averaged.as_ref().map(|weights| network.valid().with_weights(weights, path)).transpose()?;
    let training = Training::new(network, optimizer, prepared.penalties.clone(), prepared.experiment.averaging.0);
    Ok(training.resumed(averaged, snapshot.position.clone()))
}

fn warnings_of_going_on(loaded: Option<Loaded>, manifest: &Manifest, simd: Option<&str>) -> Vec<String> {
    let begins_anew = || Some("there is no checkpoint yet: the run begins anew".to_owned());
    let mut warnings: Vec<String> = loaded.map_or_else(begins_anew, |loaded| loaded.warning).into_iter().collect();
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
