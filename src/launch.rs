//! Launching an experiment, and going on with one.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use burn::module::Module;

use crate::backend::{self, Opened, Place};
use crate::checksum::sha256;
use crate::config::Experiment;
use crate::data::{self, Batcher, Data, Decoding, Part};
use crate::error::Error;
use crate::metrics::measure;
use crate::model::{Architecture, Network, Parameter, Weights};
use crate::objective::{Penalties, Sparsity};
use crate::run::{DatasetManifest, Loaded, Manifest, Recorder, RunError, RunFolder, Status, Summary, Which};
use crate::train::{Ending, Event, Observer, ParameterOptimizer, Plan, Snapshot, Training};
use crate::trained::same_data;

/// An experiment with its run folder, ready to train.
pub struct Launch {
    /// The experiment.
    pub experiment: Experiment,
    /// Where it is recorded.
    pub folder: RunFolder,
    /// What the run is.
    pub manifest: Manifest,
    /// Something the user should know before it goes on.
    pub warning: Option<String>,
    /// Something the user should know about the network that was measured at the end.
    pub closing_warning: Option<String>,
    data: Data,
    place: Place,
    training: Training,
}

impl Launch {
    /// Makes a new run of `experiment`, in `dir` or in a folder named after the time. Nothing is written before config, backend, data and
    /// model are known to be good.
    ///
    /// # Errors
    ///
    /// When any of them can't be used, or the folder can't be written to.
    pub fn new(experiment: Experiment, dir: Option<&Path>) -> Result<Self, Error> {
        let opened = backend::open(&experiment.backend)?;
        let data = data::load(&experiment.data, experiment.seed)?;
        let architecture = Architecture::new(&experiment.model, data.train.shape(), data.classes.len())?;
        experiment.augment.check(architecture.input.height, architecture.input.width)?;
        let place = opened.place.clone().autodiff();
        let training = fresh(&experiment, &architecture, &data, &place)?;
        let manifest = manifest(&experiment, &opened, &data, training.network());
        let folder = RunFolder::create(&experiment, dir, &manifest)?;
        let warning = experiment.unreached(data.train.count());
        Ok(Self { experiment, folder, manifest, warning, closing_warning: None, data, place, training })
    }

    /// Goes on with the run in `path` from its last checkpoint, or from the start if it was cut off before the first; none if it ended
    /// already. Its data are in `data_dir`, if they have moved.
    ///
    /// # Errors
    ///
    /// When it is no run folder, is in use, diverged, is damaged, or its data have changed.
    pub fn resume(path: &Path, data_dir: Option<&Path>) -> Result<Option<Self>, Error> {
        let mut folder = RunFolder::open(path)?;
        folder.lock()?;
        let mut experiment = folder.experiment(data_dir)?;
        match folder.summary()?.map(|summary| summary.status) {
            Some(Status::Completed | Status::EarlyStopped) => return Ok(None),
            Some(Status::Diverged) => return Err(RunError::Ended { path: path.to_owned() }.into()),
            Some(Status::Interrupted) | None => {}
        }
        let manifest = folder.manifest()?;
        // A run that began before there were kernels goes on without them, to the same bits.
        experiment.backend.kernels = manifest.kernels;
        let opened = backend::open(&experiment.backend)?;
        let data = same_data(&experiment, &manifest, &folder, experiment.seed)?;
        let (place, simd) = (opened.place.autodiff(), opened.simd);
        let architecture = Architecture::new(&experiment.model, data.train.shape(), data.classes.len())?;
        let loaded = match folder.load(Some(Which::Last)) {
            Err(RunError::NoCheckpoint { .. }) => None,
            loaded => Some(loaded?),
        };
        let training = match &loaded {
            None => fresh(&experiment, &architecture, &data, &place)?,
            Some(Loaded { snapshot, .. }) => resumed(&experiment, &architecture, &data, &place, snapshot, path)?,
        };
        folder.keep_metrics(training.position.epoch)?;
        let begins_anew = || Some("there is no checkpoint yet: the run begins anew".to_owned());
        let mut warning = loaded.map_or_else(begins_anew, |loaded| loaded.warning);
        if let (Some(before), Some(now)) = (&manifest.simd, simd)
            && before != now
        {
            let other = format!("the run began with {before} instructions and goes on with {now}, which round differently");
            warning = Some(warning.map_or_else(|| other.clone(), |warning| format!("{warning}; {other}")));
        }
        Ok(Some(Self { experiment, folder, manifest, warning, closing_warning: None, data, place, training }))
    }

    /// Steps done so far.
    #[must_use]
    pub fn steps_done(&self) -> u64 {
        self.training.position.step
    }

    /// Trains, records, and measures the network at the end. `stop`, raised from outside, ends it at the next step.
    ///
    /// # Errors
    ///
    /// When training diverges, or something can't be recorded.
    pub fn run(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Summary, Error> {
        let plan = Plan { experiment: &self.experiment, data: &self.data, device: &self.place.device, stop };
        let mut both = Both(Recorder(&self.folder), observer);
        let trained = self.training.run(&plan, &mut both);
        if matches!(trained, Ok(Ending::Completed | Ending::EarlyStopped)) {
            both.on(&Event::Measuring)?;
        }
        let position = &self.training.position;
        let mut closing_warning = None;
        let ended = trained.and_then(|ending| {
            let status = match ending {
                Ending::Completed => Status::Completed,
                Ending::EarlyStopped => Status::EarlyStopped,
                Ending::Interrupted => return Ok(self.unmeasured(Status::Interrupted)),
            };
            let Some((summary, warning)) = self.measured(status, self.experiment.train.batch(self.data.train.count()), stop)? else {
                return Ok(self.unmeasured(Status::Interrupted));
            };
            closing_warning = warning;
            if [summary.train, summary.validation, summary.test].iter().flatten().all(|part| part.data_loss.is_finite()) {
                Ok(summary)
            } else {
                let rate = self.experiment.optimizer.learning_rate.get();
                Err(self.training.diverged("the loss of the trained network", position.step, position.epoch, rate).into())
            }
        });
        match &ended {
            Ok(summary) => self.folder.write_summary(summary)?,
            Err(Error::Diverged(diverged)) => {
                let summary = Summary { steps: diverged.step, ..self.unmeasured(Status::Diverged) };
                self.folder.write_summary(&summary)?;
            }
            Err(_) => {}
        }
        self.closing_warning = closing_warning;
        ended
    }

    fn unmeasured(&self, status: Status) -> Summary {
        let position = &self.training.position;
        Summary {
            status,
            epochs: position.epoch,
            steps: position.step,
            seconds: position.seconds + position.sums.seconds,
            images_per_second: Summary::median_speed(&position.speeds),
            train: None,
            validation: None,
            test: None,
            penalty: None,
            lambda: None,
            weight_norm_squared: None,
            zero_weights: None,
            zero_channels: None,
            best_epoch: position.best_epoch,
            parameters: self.manifest.parameters,
            backend: self.manifest.backend.clone(),
        }
    }

    /// The summary of the network a command would load: the best, or, where there was no validation part, the last. None if `stop` is raised
    /// before all is measured. The warning tells that the best checkpoint was damaged.
    fn measured(&self, status: Status, batch: usize, stop: &AtomicBool) -> Result<Option<(Summary, Option<String>)>, Error> {
        let place = self.place.clone().inner();
        let batcher = Batcher::new(&self.data.normalizer, &place.device);
        let mut summary = self.unmeasured(status);
        let mut warning = None;
        // With the λ that was known when the network was as it is measured: evidence may just have found it.
        let mut penalties = self.training.penalties().clone();
        let (network, weights) = if self.data.validation.is_some() {
            let loaded = self.folder.load(Some(Which::Best))?;
            summary.best_epoch = Some(loaded.snapshot.position.epoch);
            warning = loaded.warning;
            penalties.set(loaded.snapshot.position.lambdas.iter().copied().map(Some));
            let weights = loaded.snapshot.into_measured();
            let network = Network::blank(&self.manifest.architecture, &place).with_weights(&weights, self.folder.path())?;
            (network, weights)
        } else {
            let network = self.training.measured_network();
            let weights = Weights::of(&network);
            (network, weights)
        };
        let split = |part: &Part| (!stop.load(Ordering::Relaxed)).then(|| (&measure(&network, part, &batcher)).into());
        summary.validation = self.data.validation.as_ref().and_then(split);
        summary.test = self.data.test.as_ref().and_then(split);
        summary.train = split(&self.data.train);
        summary.lambda = penalties.lambda();
        summary.penalty = Some(penalties.value(&weights, batch));
        summary.weight_norm_squared = Some(penalties.weight_norm_squared(&weights));
        let zeros = Sparsity::of(&weights);
        (summary.zero_weights, summary.zero_channels) = (Some(zeros.weights), Some(zeros.channels));
        Ok(summary.train.is_some().then_some((summary, warning)))
    }
}

/// The recorder first, so that what a watcher hears is on disk.
struct Both<'a>(Recorder<'a>, &'a mut dyn Observer);

impl Observer for Both<'_> {
    fn on(&mut self, event: &crate::train::Event) -> Result<(), Error> {
        self.0.on(event)?;
        self.1.on(event)
    }
}

/// A training that has not begun.
fn fresh(experiment: &Experiment, architecture: &Architecture, data: &Data, place: &Place) -> Result<Training, Error> {
    let network = match &experiment.model.init {
        None => Network::new(architecture, experiment.model.initializer, experiment.seed, place),
        Some(path) => Network::blank(architecture, place).with_weights(&Weights::from_file(path)?, path)?,
    };
    let optimizer = ParameterOptimizer::new(&experiment.optimizer.method, place.kernels);
    begun(experiment, network, optimizer, data)
}

/// A training of `network` from now on.
fn begun(experiment: &Experiment, network: Network, optimizer: ParameterOptimizer, data: &Data) -> Result<Training, Error> {
    let penalties = Penalties::new(&experiment.penalty, &Parameter::of(&network), data.train.count())?;
    penalties.check_curvature(network.architecture())?;
    Ok(Training::new(network, optimizer, penalties, experiment.averaging.0))
}

/// A training as a checkpoint of the run in `path` left it.
fn resumed(
    experiment: &Experiment,
    architecture: &Architecture,
    data: &Data,
    place: &Place,
    snapshot: &Snapshot,
    path: &Path,
) -> Result<Training, Error> {
    let network = Network::blank(architecture, place).with_weights(&snapshot.weights, path)?;
    let optimizer = ParameterOptimizer::from_bytes(&experiment.optimizer.method, &snapshot.optimizer, &place.clone().inner())
        .map_err(|problem| RunError::Damaged { path: path.join("checkpoints/last/optimizer.bpk"), problem })?;
    let averaged = snapshot.averaged.as_ref().map(|weights| network.valid().with_weights(weights, path)).transpose()?;
    Ok(begun(experiment, network, optimizer, data)?.resumed(averaged, snapshot.position.clone()))
}

fn manifest(experiment: &Experiment, opened: &Opened, data: &Data, network: &Network) -> Manifest {
    Manifest {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config_sha256: sha256(experiment.to_toml().as_bytes()),
        started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        backend: experiment.backend.kind.name().to_owned(),
        device: opened.name.clone(),
        threads: opened.threads,
        kernels: opened.place.kernels,
        simd: opened.simd.map(str::to_owned),
        dataset: DatasetManifest {
            source: experiment.data.source.name().to_owned(),
            sha256: data.checksum.clone(),
            train: data.train.count(),
            validation: data.validation.as_ref().map_or(0, Part::count),
            test: data.test.as_ref().map_or(0, Part::count),
            left_out: data.left_out.counts(),
        },
        normalizer: data.normalizer.clone(),
        resize: experiment.data.resize.unwrap_or_default(),
        decoding: Decoding::Reduced,
        classes: data.classes.clone(),
        architecture: network.architecture().clone(),
        parameters: network.num_params(),
    }
}
