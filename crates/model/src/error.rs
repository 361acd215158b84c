//! What can be wrong with a model or its weights.

use std::path::{Path, PathBuf};

/// Weights that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file that can't be read.
    #[error("cannot read weights `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is not safetensors, or damaged.
    #[error("`{}` is not a safetensors file: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A safetensors file that does not say which network it is of.
    #[error("`{}` cannot be used as a model: {problem}; expected a file written by `regulus export --format safetensors`", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What its metadata lack.
        problem: String,
    },
    /// Weights for another network.
    #[error("weights `{}` do not fit the model: {problem}", path.display())]
    Fit {
        /// The file.
        path: PathBuf,
        /// The first tensor that is missing, extra or of another shape.
        problem: String,
    },
}

impl ModelError {
    pub(crate) fn format(path: &Path, problem: &impl ToString) -> Self {
        Self::Format { path: path.to_owned(), problem: problem.to_string() }
    }
}
