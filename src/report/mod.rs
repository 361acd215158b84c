//! Reports: one HTML file about a run, a sweep, or several runs side by side, made of the files in their folders. It needs no network and has no scripts.
//!
//! Figures are SVG that this module writes: their colours are those of the style sheet, for light and dark, and each has a text alternative.

mod classes;
mod comparison_page;
mod confusion;
mod curves;
mod images;
mod layers;
mod legend;
mod measures;
mod page;
mod parallel;
mod plot;
mod run_files;
mod run_page;
mod scale;
mod sweep_figures;
mod sweep_files;
mod sweep_page;

use std::path::{Path, PathBuf};

use maud::PreEscaped;

use crate::atomic;
use crate::comparison::RunComparison;
use crate::data::DataError;
use crate::error::{Error, WriteError};
use crate::run::{RunError, RunFolder};
use crate::search::SweepFolder;

/// The name of the file in the folder.
const NAME: &str = "report.html";

/// The report of the run or sweep in `path`.
///
/// # Errors
///
/// When it is neither, or a file in it is damaged.
pub fn html(path: &Path) -> Result<String, Error> {
    if !path.exists() {
        let hint = "expected a run folder, such as `regulus train` makes, or the folder of a sweep".to_owned();
        return Err(DataError::Missing { path: path.to_owned(), hint }.into());
    }
    if SweepFolder::is_sweep(path) {
        return Ok(sweep_page::sweep_page(path)?.into_string());
    }
    run_page::run_page(path).map(PreEscaped::into_string).map_err(|error| match error {
        Error::Run(RunError::NotARun { path, missing }) => RunError::Neither { path, missing }.into(),
        error => error,
    })
}

/// Writes the report of the run or sweep in `path` to `output`, or to `report.html` in the folder. Returns the path of the file.
///
/// # Errors
///
/// As [`html`]; also when the file can't be written, or is one of the run.
pub fn write(path: &Path, output: Option<&Path>) -> Result<PathBuf, Error> {
    let text = html(path)?;
    let output = output.map_or_else(|| path.join(NAME), Path::to_owned);
    if SweepFolder::is_sweep(path) {
        SweepFolder::open_shared(path)?.0.refuse_own(&output)?;
    } else {
        RunFolder::open(path)?.refuse_own(&output)?;
    }
    write_page(&output, &text)?;
    Ok(output)
}

/// The page that compares runs.
#[must_use]
pub fn comparison_html(compared: &RunComparison) -> String {
    comparison_page::comparison_page(compared).into_string()
}

/// Writes the page that compares runs to `output`.
///
/// # Errors
///
/// When the file can't be written, or is one of a run.
pub fn write_comparison(compared: &RunComparison, output: &Path) -> Result<(), Error> {
    for run in &compared.runs {
        RunFolder::open(&run.path)?.refuse_own(output)?;
    }
    Ok(write_page(output, &comparison_html(compared))?)
}

fn write_page(output: &Path, text: &str) -> Result<(), WriteError> {
    if let Some(folder) = output.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(WriteError::at(folder))?;
    }
    atomic::write(output, text.as_bytes())
}
