//! A trained network: of a session, a run or an exported file.

use std::path::{Path, PathBuf};

use regulus_model::{Artifact, Description, ModelError, Weights};

use crate::backend::{self, ComputeDevice, Opened};
use crate::config::{Backend, BackendKind, Experiment, Precision};
use crate::data::{self, Data, DataError, Loading, Progress};
use crate::error::Error;
use crate::network::{Network, Predictor};
use crate::run::{CheckpointKind, Manifest, RunError, RunFolder};
use crate::session::Session;
use crate::train::TrainingState;

/// A trained network with everything that inference needs.
#[derive(Debug)]
pub struct Trained {
    /// Computes the logits.
    pub predictor: Predictor,
    /// The weights.
    pub weights: Weights,
    /// The graph, the preprocessing and the class names.
    pub description: Description,
    /// The device, without autodiff.
    pub device: ComputeDevice,
    run: Option<Box<TrainedRun>>,
}

/// The run a network was trained in.
#[derive(Debug)]
pub struct TrainedRun {
    /// The run folder.
    pub folder: RunFolder,
    /// The manifest.
    pub manifest: Manifest,
    /// The experiment.
    pub experiment: Experiment,
    /// The training state of the checkpoint.
    pub state: TrainingState,
    /// The checkpoint the weights were loaded from.
    pub checkpoint: CheckpointKind,
    /// Set if the checkpoint is damaged or missing and the one before it was loaded.
    pub warning: Option<String>,
}

/// Options for loading a trained network.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The checkpoint of a run; `None`: the one that `train.keep` selects.
    pub checkpoint: Option<CheckpointKind>,
    /// The backend; `None`: the backend of the run, or the default for a file.
    pub backend: Option<BackendKind>,
    /// The precision; `None`: that of the run. Files have none.
    pub precision: Option<Precision>,
    /// The new folder of the data of a run, if they were moved.
    pub data_dir: Option<PathBuf>,
}

impl Trained {
    /// Loads the network at `path`: a run folder, or a safetensors file written by `regulus export`.
    ///
    /// # Errors
    ///
    /// When `path` is neither, the file is damaged, the run has no such checkpoint, or the backend can't be used.
    pub fn open(path: &Path, options: &LoadOptions) -> Result<Self, Error> {
        if path.is_dir() {
            return Self::from_run(path, options);
        }
        if !path.exists() {
            let hint = "expected a run folder, or a .safetensors file written by `regulus export`".to_owned();
            return Err(DataError::Missing { path: path.to_owned(), hint }.into());
        }
        refuse_burnpack(path)?;
        let run_only = |option: &str| {
            let problem = format!("`{option}` is for run folders, but `{}` is a file; leave it out", path.display());
            Err(Error::Usage(problem))
        };
        match options {
            LoadOptions { checkpoint: Some(_), .. } => run_only("--checkpoint"),
            LoadOptions { data_dir: Some(_), .. } => run_only("--data-dir"),
            _ => Self::from_file(path, options.backend),
        }
    }

    fn from_run(path: &Path, options: &LoadOptions) -> Result<Self, Error> {
        let folder = RunFolder::open(path)?;
        let experiment = folder.experiment(options.data_dir.as_deref())?;
        let manifest = folder.manifest()?;
        let mut config = experiment.backend.clone();
        if let Some(kind) = options.backend {
            config.kind = kind;
            config.device = 0;
            if !kind.is_cpu() {
                config.precision = Precision::F32;
            }
        }
        if let Some(precision) = options.precision {
            config.precision = precision;
        }
        let loaded = folder.load(options.checkpoint)?;
        let state = loaded.snapshot.state.clone();
        let weights = loaded.snapshot.into_measured();
        let description = Description::from(&manifest);
        let run = TrainedRun { folder, manifest, experiment, state, checkpoint: loaded.kind, warning: loaded.warning };
        Self::new(path, &config, weights, description, Some(Box::new(run)))
    }

    fn from_file(path: &Path, backend: Option<BackendKind>) -> Result<Self, Error> {
        let Artifact { description, weights } = Artifact::open(path)?;
        let default = Backend::default();
        let config = Backend { kind: backend.unwrap_or(default.kind), ..default };
        Self::new(path, &config, weights, description, None)
    }

    fn new(
        path: &Path,
        backend: &Backend,
        weights: Weights,
        description: Description,
        run: Option<Box<TrainedRun>>,
    ) -> Result<Self, Error> {
        let Opened { device, .. } = backend::open(backend)?;
        let network = Network::blank(&description.graph, &device).with_weights(&weights, path)?;
        let predictor = Predictor::new(&network, &description.preprocessing.normalizer).with_views(description.preprocessing.views());
        Ok(Self { predictor, weights, description, device, run })
    }

    /// The network of a session with the weights that `train.keep` selects, on the same threads.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let (description, device) = (session.description(), session.opened().device.clone());
        Self { predictor: session.predictor(), weights: session.weights(), description, device, run: None }
    }

    /// The network as a Burn module.
    #[must_use]
    pub fn network(&self) -> Network {
        Network::of_weights(&self.description.graph, &self.weights, &self.device)
    }

    /// The run it was loaded from. Returns `None` for an exported file and for a session.
    #[must_use]
    pub fn run(&self) -> Option<&TrainedRun> {
        self.run.as_deref()
    }
}

impl TrainedRun {
    /// The data of the run, with the same split as in training.
    ///
    /// # Errors
    ///
    /// When the data are missing, damaged or changed.
    pub fn data(&self, progress: Progress) -> Result<Data, Error> {
        same_data(&self.experiment, &self.manifest, &self.folder, progress)
    }
}

/// Weights from which a new run starts.
pub(crate) struct InitialWeights {
    pub(crate) weights: Weights,
    /// Set if the checkpoint is damaged or missing and the one before it was loaded.
    pub(crate) warning: Option<String>,
    /// What they were trained for, where that is known: not for files of other programs.
    pub(crate) description: Option<Description>,
}

/// The weights at `path`, from which a new run starts: those of a run, from the checkpoint that [`Trained::open`] loads, or of a safetensors file.
///
/// # Errors
///
/// When `path` is neither, or a file is damaged.
pub(crate) fn initial_weights(path: &Path) -> Result<InitialWeights, Error> {
    if path.is_dir() {
        let folder = RunFolder::open(path)?;
        let (loaded, description) = (folder.load(None)?, Description::from(&folder.manifest()?));
        return Ok(InitialWeights { weights: loaded.snapshot.into_measured(), warning: loaded.warning, description: Some(description) });
    }
    refuse_burnpack(path)?;
    let bytes = std::fs::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
    let (weights, metadata) = Weights::with_metadata(path, &bytes)?;
    Ok(InitialWeights { weights, warning: None, description: Description::from_metadata(&metadata).ok() })
}

/// Refuses an exported file in Burn's format, which this program writes and does not read.
fn refuse_burnpack(path: &Path) -> Result<(), Error> {
    if path.extension().is_none_or(|extension| extension != "bpk") {
        return Ok(());
    }
    let problem = "it is for Burn programs; expected a run folder, or a .safetensors file written by `regulus export`".to_owned();
    Err(ModelError::Format { path: path.to_owned(), problem }.into())
}

/// Loads the data of a run and compares their checksum with the manifest.
pub(crate) fn same_data(experiment: &Experiment, manifest: &Manifest, folder: &RunFolder, progress: Progress) -> Result<Data, Error> {
    let loading = Loading { decoding: manifest.decoding, is_trained_on: false, normalizer: Some(&manifest.normalizer), progress };
    let data = data::load_as(experiment, loading)?;
    checked_data(data, manifest, folder)
}

/// Compares the checksum of `data` with the manifest.
pub(crate) fn checked_data(data: Data, manifest: &Manifest, folder: &RunFolder) -> Result<Data, Error> {
    if data.checksum == manifest.dataset.sha256 {
        return Ok(data);
    }
    let expected = manifest.dataset.sha256.clone();
    Err(RunError::OtherData { path: folder.path().to_owned(), expected, found: data.checksum }.into())
}
