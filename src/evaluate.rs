//! Measuring a trained network on a part of its data.

use crate::data::Part;
use crate::error::Error;
use crate::metrics::{Measures, measure};
use crate::run::RunFolder;
use crate::trained::Trained;

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The part trained on.
    Train,
    /// The part held out.
    Validation,
    /// The test set.
    Test,
}

impl Split {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Measures `trained` on `split`.
///
/// # Errors
///
/// When the data are missing or changed, or have no such part.
pub fn evaluate(trained: &Trained, folder: &RunFolder, split: Split) -> Result<Measures, Error> {
    let data = trained.data(folder)?;
    let part: Option<&Part> = match split {
        Split::Train => Some(&data.train),
        Split::Validation => data.validation.as_ref(),
        Split::Test => data.test.as_ref(),
    };
    let part = part.ok_or_else(|| {
        let why = match split {
            Split::Validation => "`data.validation` is 0",
            _ => "its data source names no test set",
        };
        Error::Usage(format!("run `{}` has no {} part: {why}", folder.path().display(), split.name()))
    })?;
    Ok(measure(&trained.network, part, &trained.batcher))
}
