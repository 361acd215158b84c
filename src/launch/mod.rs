//! Runs: sessions that are recorded in a run folder. New, resumed and extended ones.

mod extend;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use regulus_model::Description;
use regulus_model::preprocess::{Decoding, Normalizer, Preprocessing};

use crate::backend::{self, Opened};
use crate::checksum::sha256;
use crate::clock;
use crate::config::number::Count;
use crate::config::{Experiment, Normalization};
use crate::data::{self, Data, Loading, Progress, Subset};
use crate::error::Error;
use crate::objective::OwnPenalty;
use crate::run::{CheckpointKind, DatasetManifest, Extension, LoadedCheckpoint, Manifest, Recorder, RunError, RunFolder};
use crate::session::{Best, Session, Status, Summary};
use crate::tensorboard::EventFile;
use crate::train::{Event, Observer, Row};
use crate::trained::{InitialWeights, checked_data, initial_weights, same_data};

use extend::Extending;

/// A run that is ready to train.
pub struct Launch {
    session: Session,
    /// The run folder.
    pub folder: RunFolder,
    /// The manifest.
    pub manifest: Manifest,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// Notes about the start, or about an extension to more epochs.
    pub notes: Vec<String>,
    /// Whether the run writes an event file for TensorBoard.
    has_events: bool,
}

/// Options of [`Launch::resume`].
pub struct ResumeOptions<'a> {
    /// The new folder of the data, if they were moved.
    pub data_dir: Option<PathBuf>,
    /// The new total number of epochs: the run is extended, also if it has ended.
    pub epochs: Option<Count>,
    /// The data, if they are in memory.
    pub data: Option<Data>,
    /// The penalties that are not built in, as they were added to the session of the run.
    pub penalties: Vec<OwnPenalty>,
    /// Called for each decoded image file.
    pub progress: Progress<'a>,
}

impl Default for ResumeOptions<'_> {
    fn default() -> Self {
        Self { data_dir: None, epochs: None, data: None, penalties: Vec::new(), progress: &|_, _| {} }
    }
}

/// Loads the data of `experiment` and prepares a session. The backend is checked before images are decoded. `progress` is called for each decoded image file.
///
/// # Errors
///
/// When config, backend, data or model can't be used.
pub fn prepare(experiment: Experiment, progress: Progress) -> Result<Session, Error> {
    let opened = backend::open(&experiment.backend)?;
    let data = data::load_as(&experiment, Loading { decoding: Decoding::Reduced, is_trained_on: true, normalizer: None, progress })?;
    new_session(opened, experiment, data)
}

/// A new session with data that are loaded. `model.init` is a safetensors file or a run.
pub(crate) fn session_of(experiment: Experiment, data: Data) -> Result<Session, Error> {
    new_session(backend::open(&experiment.backend)?, experiment, data)
}

/// A new session. `model.init` is a safetensors file or a run.
fn new_session(opened: Opened, experiment: Experiment, data: Data) -> Result<Session, Error> {
    let (mut warning, mut trained_with) = (None, None);
    let mut session = Session::new_on(opened, experiment, data, |path| {
        let InitialWeights { weights, warning: older, description } = initial_weights(path)?;
        warning = older;
        let (normalizer, classes) = description.map(|description| (description.preprocessing.normalizer, description.classes)).unzip();
        trained_with = normalizer;
        Ok((weights, classes.unwrap_or_default()))
    })?;
    let foreign = trained_with.and_then(|normalizer| foreign_normalization(&session, &normalizer));
    session.add_warnings(warning.into_iter().chain(foreign));
    Ok(session)
}

/// A warning if pixels are normalized clearly otherwise than for the initial weights: by a mean that is more than half a deviation away, or by a deviation
/// half as large again.
fn foreign_normalization(session: &Session, trained_with: &Normalizer) -> Option<String> {
    let here = &session.data().normalizer;
    let mut channels = trained_with.mean.iter().zip(&trained_with.deviation).zip(here.mean.iter().zip(&here.deviation));
    let is_near = |((mean, deviation), (mean_here, deviation_here)): ((&f64, &f64), (&f64, &f64))| {
        (mean - mean_here).abs() <= deviation / 2.0 && deviation.max(*deviation_here) <= 1.5 * deviation.min(*deviation_here)
    };
    let differs = !channels.all(is_near);
    let numbers = |Normalizer { mean, deviation }: &Normalizer| format!("the mean {mean:.3?} and the deviation {deviation:.3?}");
    differs.then(|| match data::named(trained_with).map(Normalization::name) {
        Some(name) => format!(
            "the network of `model.init` was trained with `data.normalization` = \"{name}\", and here it is another; set it to \"{name}\""
        ),
        None => format!(
            "the network of `model.init` was trained on pixels normalized by {}, and here they are normalized by {}",
            numbers(trained_with),
            numbers(here)
        ),
    })
}

impl Launch {
    /// Creates a new run of `experiment`, in `dir` or in a folder named after the time. Config, backend, data and model are checked before anything is
    /// written. `progress` is called for each decoded image file.
    ///
    /// # Errors
    ///
    /// When one of them can't be used, or the folder can't be written to.
    pub fn new(experiment: Experiment, dir: Option<&Path>, progress: Progress) -> Result<Self, Error> {
        Self::of(prepare(experiment, progress)?, dir)
    }

    /// Creates a new run that records `session`, in `dir` or in a folder named after the time.
    ///
    /// # Errors
    ///
    /// When the session has been trained, or the folder can't be written to.
    pub fn of(session: Session, dir: Option<&Path>) -> Result<Self, Error> {
        let steps = session.state().step;
        if steps > 0 {
            let problem =
                format!("the session has been trained for {steps} steps, which no run folder has; record it before the first step");
            return Err(Error::Usage(problem));
        }
        let manifest = manifest(&session);
        let folder = RunFolder::create(session.experiment(), dir, &manifest)?;
        let (warnings, notes) = (session.warnings().to_vec(), session.notes().to_vec());
        Ok(Self { session, folder, manifest, warnings, notes, has_events: true })
    }

    /// Resumes the run in `path` from its last checkpoint, or from the start if it has none. Returns `None` if the run has ended and is not extended.
    ///
    /// # Errors
    ///
    /// When `path` is not a run folder, the run is in use, diverged or damaged, its data or penalties are others, or it has completed
    /// `options.epochs` epochs.
    pub fn resume(path: &Path, options: ResumeOptions) -> Result<Option<Self>, Error> {
        let ResumeOptions { data_dir, epochs, data, penalties, progress } = options;
        let mut folder = RunFolder::open(path)?;
        folder.lock()?;
        let mut experiment = folder.experiment(data_dir.as_deref())?;
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
        let opened = backend::open(&experiment.backend)?;
        let data = match data {
            Some(data) => checked_data(data.for_experiment(&experiment)?, &manifest, &folder)?,
            None => same_data(&experiment, &manifest, &folder, progress)?,
        };
        let (mut session, older_best) = resumed_session(opened, experiment, data, &folder, loaded.as_ref())?;
        penalties.into_iter().try_for_each(|penalty| session.add_penalty(penalty))?;
        check_penalties(&session, &manifest, path)?;
        session.set_keep(manifest.keep.unwrap_or(session.keep()));
        // Also if it was extended and interrupted before the next epoch.
        let total = session.experiment().train.epochs.get() as u64;
        let extended = |last: &Extension| last.from_epoch == session.state().epoch && last.to_epoch == total;
        if extending.is_some() || manifest.extended.last().is_some_and(extended) {
            session.state_mut().stopping.reset();
        }
        let notes = extending.as_ref().map_or_else(Vec::new, |extending| extending.notes(&session));
        let prefix = loaded.as_ref().and_then(|loaded| loaded.metrics.clone());
        let begins = loaded.is_none() || extending.is_some();
        let mut warnings = resume_warnings(loaded, &manifest, session.opened().simd);
        warnings.extend(older_best);
        warnings.extend(session.warnings().iter().filter(|_| begins).cloned());
        if let Some(extending) = extending {
            extending.record(&folder, &mut manifest)?;
        }
        folder.truncate_metrics(prefix.as_ref(), session.state().epoch)?;
        warnings.extend(folder.truncate_weights(session.state().epoch)?);
        Ok(Some(Self { session, folder, manifest, warnings, notes, has_events: true }))
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Stops soon after `flag` is set.
    pub fn stop_by(&mut self, flag: Arc<AtomicBool>) {
        self.session.stop_by(flag);
    }

    /// Sets whether the run writes an event file for TensorBoard, which it does by default.
    #[must_use]
    pub fn with_tensorboard(self, has_events: bool) -> Self {
        Self { has_events, ..self }
    }

    /// Trains the network, records the run, and measures the result.
    ///
    /// # Errors
    ///
    /// When training diverges, or a file can't be written.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<Summary, Error> {
        let mut recorder = Recorder::new(&self.folder, self.session.graph().clone())?;
        if self.session.state().step == 0 {
            recorder.record_weights(0, &self.session.network().weights())?;
        }
        let events = if self.has_events { Some(EventFile::open(&self.folder)?) } else { None };
        let mut recording = Recording { recorder, events, rows: Vec::new(), observer };
        let ended = self.session.train(&mut recording);
        let mut events = recording.events;
        let mut end_events = |summary: &Summary| {
            let evaluation = self.session.evaluation();
            events.as_mut().map_or(Ok(()), |events| events.end(summary, evaluation))
        };
        match &ended {
            Ok(summary) => {
                self.session.evaluation().map_or(Ok(()), |evaluation| self.folder.write_evaluation(evaluation))?;
                end_events(summary)?;
                self.folder.write_summary(summary)?;
            }
            Err(Error::Diverged(diverged)) => {
                let summary = Summary { steps: diverged.step, ..self.session.unmeasured(Status::Diverged) };
                end_events(&summary)?;
                self.folder.write_summary(&summary)?;
            }
            Err(_) => {}
        }
        ended
    }
}

/// Checks that the penalties are those of the run. Version 0.1.0 did not record them.
fn check_penalties(session: &Session, manifest: &Manifest, path: &Path) -> Result<(), RunError> {
    let (Some(expected), found) = (&manifest.penalties, session.penalties().labels()) else { return Ok(()) };
    if *expected == found {
        let state = session.state();
        let changed = session.penalties().changed_lambda(&state.lambdas, state.step);
        return changed.map_or(Ok(()), |problem| Err(RunError::OtherLambda { path: path.to_owned(), problem }));
    }
    let listed = |labels: &[String]| if labels.is_empty() { "none".to_owned() } else { format!("`{}`", labels.join("`, `")) };
    Err(RunError::OtherPenalties { path: path.to_owned(), expected: listed(expected), found: listed(&found) })
}

/// The session that continues from the checkpoint `loaded`, or begins anew without one. Also returns a warning if an older best checkpoint is used.
fn resumed_session(
    opened: Opened,
    experiment: Experiment,
    data: Data,
    folder: &RunFolder,
    loaded: Option<&LoadedCheckpoint>,
) -> Result<(Session, Option<String>), Error> {
    let Some(LoadedCheckpoint { snapshot, .. }) = loaded else { return Ok((new_session(opened, experiment, data)?, None)) };
    let best = match snapshot.state.best_epoch {
        Some(_) => Some(folder.load(Some(CheckpointKind::Best))?),
        None => None,
    };
    let (best, older) = best.map(|best| (Best::from(&best.snapshot), best.warning)).unzip();
    let session = Session::resumed_on(opened, experiment, data, snapshot, best);
    session.map(|session| (session, older.flatten())).map_err(|error| match error {
        Error::Snapshot(problem) => RunError::Damaged { path: folder.path().join("checkpoints/last/optimizer.bpk"), problem }.into(),
        other => other,
    })
}

/// Writes the files of a run before the observer is called.
struct Recording<'a> {
    recorder: Recorder<'a>,
    events: Option<EventFile>,
    /// The rows of the last epoch, until its checkpoint is saved.
    rows: Vec<Row>,
    observer: &'a mut dyn Observer,
}

impl Observer for Recording<'_> {
    fn on(&mut self, event: &Event) -> Result<ControlFlow<()>, Error> {
        let _ = self.recorder.on(event)?;
        match (event, &mut self.events) {
            (Event::Epoch(rows), Some(_)) => self.rows = rows.to_vec(),
            (Event::Checkpoint { snapshot, .. }, Some(events)) if snapshot.state.batch == 0 => {
                events.add(&std::mem::take(&mut self.rows), self.recorder.weights())?;
            }
            _ => {}
        }
        self.observer.on(event)
    }
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

fn manifest(session: &Session) -> Manifest {
    let (experiment, opened, data) = (session.experiment(), session.opened(), session.data());
    let Description { version, graph, preprocessing, classes, task } = session.description();
    let Preprocessing { normalizer, resize, filter, decoding, test_flip, test_shift, .. } = preprocessing;
    Manifest {
        version,
        config_sha256: sha256(experiment.to_toml().as_bytes()),
        started: clock::now(),
        backend: experiment.backend.kind.name().to_owned(),
        device: opened.name.clone(),
        threads: opened.device.threads.count(),
        kernels: opened.device.implementation,
        precision: experiment.backend.precision,
        simd: opened.simd.map(str::to_owned),
        dataset: DatasetManifest {
            source: experiment.data.source.name().to_owned(),
            sha256: data.checksum.clone(),
            train: data.train.count(),
            validation: data.validation.as_ref().map_or(0, Subset::count),
            test: data.test.as_ref().map_or(0, Subset::count),
            left_out: data.left_out.counts(),
        },
        normalizer,
        resize,
        filter,
        decoding,
        test_flip,
        test_shift,
        classes,
        task,
        keep: Some(session.keep()),
        best_by: experiment.train.best_by,
        class_weights: session.class_weights(),
        penalties: Some(session.penalties().labels()),
        extended: Vec::new(),
        parameters: graph.parameter_count(),
        graph,
    }
}
