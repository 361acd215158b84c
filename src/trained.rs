//! A trained network, loaded from its run.

use std::path::Path;

use crate::backend::{self, Opened};
use crate::config::{BackendKind, Experiment};
use crate::data::{Batcher, Data};
use crate::error::Error;
use crate::model::{Network, Weights};
use crate::run::{Manifest, RunError, RunFolder, Which};
use crate::train::Position;
use crate::{data, seed::Seed};

/// A trained network with all that is needed to use it.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The network, on its device, without autodiff.
    pub network: Network,
    /// Its weights on the host.
    pub weights: Weights,
    /// What the run is.
    pub manifest: Manifest,
    /// The experiment.
    pub experiment: Experiment,
    /// Makes its input.
    pub batcher: Batcher,
    /// Where training stood when the weights were saved.
    pub position: Position,
    /// The checkpoint it is from.
    pub which: Which,
    /// That an older checkpoint had to be taken.
    pub warning: Option<String>,
}

impl Trained {
    /// Loads the network of a run: the checkpoint asked for, or the one that the run keeps. It computes on
    /// `backend`, or on the run's own; its data are in `data_dir`, if they have moved.
    ///
    /// # Errors
    ///
    /// When the run has no such checkpoint, it is damaged, or the backend can't be used.
    pub fn load(folder: &RunFolder, which: Option<Which>, backend: Option<BackendKind>, data_dir: Option<&Path>) -> Result<Self, Error> {
        let experiment = folder.experiment(data_dir)?;
        let manifest = folder.manifest()?;
        let mut config = experiment.backend.clone();
        if let Some(kind) = backend {
            config.kind = kind;
            config.device = 0;
        }
        let Opened { place, .. } = backend::open(&config)?;
        let loaded = folder.load(which)?;
        manifest.architecture.check().map_err(|(_, problem)| RunError::Damaged {
            path: folder.path().join("manifest.json"),
            problem: format!("its architecture {problem}"),
        })?;
        let position = loaded.snapshot.position.clone();
        let weights = loaded.snapshot.into_measured();
        let network = Network::blank(&manifest.architecture, &place).with_weights(&weights, folder.path())?;
        Ok(Self {
            network,
            weights,
            batcher: Batcher::new(&manifest.normalizer, &place.device),
            manifest,
            experiment,
            position,
            which: loaded.which,
            warning: loaded.warning,
        })
    }

    /// The data the run was trained on, split as then.
    ///
    /// # Errors
    ///
    /// When they are missing, damaged, or no longer the same.
    pub fn data(&self, folder: &RunFolder) -> Result<Data, Error> {
        same_data(&self.experiment, &self.manifest, folder, self.experiment.seed)
    }
}

/// The data of a run, once they are known to be those it began with.
pub(crate) fn same_data(experiment: &Experiment, manifest: &Manifest, folder: &RunFolder, seed: Seed) -> Result<Data, Error> {
    let data = data::load(&experiment.data, seed)?;
    if data.checksum == manifest.dataset.sha256 {
        return Ok(data);
    }
    let expected = manifest.dataset.sha256.clone();
    Err(RunError::OtherData { path: folder.path().to_owned(), expected, found: data.checksum }.into())
}
