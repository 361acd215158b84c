//! `regulus predict`.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use regulus_model::Task;
use serde::Serialize;

use super::args::PredictArgs;
use super::bar::Work;
use super::evaluate::open;
use super::print;
use super::table::{counted, grouped, one_line, percent};
use crate::data::DataError;
use crate::error::Error;
use crate::predict::{ImageList, PredictOptions, Prediction, predict as predict_classes, predict_pictures};

/// The number of classes that are printed.
const TOP: u32 = 3;

pub(super) fn predict(args: &PredictArgs) -> Result<(), Error> {
    let trained = open(&args.model, None)?;
    let output = match (trained.description.task, &args.output) {
        (Task::Denoise { .. }, None) => {
            return Err(Error::Usage("the network gives pictures; name a folder to write them to with `--output DIR`".to_owned()));
        }
        (Task::Classify, Some(_)) => {
            return Err(Error::Usage("`--output` is for networks that give pictures, but this one gives classes; leave it out".to_owned()));
        }
        (Task::Denoise { .. }, Some(_)) if args.top.is_some() || args.invert => {
            return Err(Error::Usage(
                "`--top` and `--invert` are for classifiers, but this network gives pictures; leave them out".to_owned(),
            ));
        }
        (Task::Denoise { .. }, Some(output)) => Some(output),
        (Task::Classify, None) => None,
    };
    let mut images = ImageList::of(&args.images);
    images.warnings.iter().for_each(print::warning);
    if let Some(output) = output
        && let Some(folder) = args.images.iter().find(|folder| folder.is_dir() && lies_in(output, folder))
    {
        let problem =
            format!("`{}` lies in `{}`, whose pictures are read; write to a folder outside of it", output.display(), folder.display());
        return Err(Error::Usage(problem));
    }
    // Results on the terminal replace the progress bar.
    let work = (!std::io::stdout().is_terminal()).then(|| Work::of("predicting", images.images.len() as u64));
    let folders = images.failed.len();
    let mut bad = 0;
    for (path, error) in std::mem::take(&mut images.failed) {
        report(&path, &error.into(), args.json)?;
    }
    if let Some(output) = output {
        predict_pictures(&trained, &images.images, output, &mut |path, predicted| {
            let predicted = predicted.map(|picture| (format!("{}: {}", one_line(&picture.image), one_line(&picture.output)), picture));
            each(path, predicted, &mut bad, work.as_ref(), args.json)
        })?;
    } else {
        let options = PredictOptions { top: args.top.unwrap_or(TOP) as usize, invert: args.invert };
        let paths: Vec<PathBuf> = images.images.iter().map(|image| image.path.clone()).collect();
        predict_classes(&trained, &paths, options, &mut |path, predicted| {
            let predicted = predicted.map(|prediction| (line(&prediction), prediction)).map_err(Error::from);
            each(path, predicted, &mut bad, work.as_ref(), args.json)
        })?;
    }
    drop(work);
    let images = (bad > 0).then(|| format!("{} of {}", grouped(bad), counted(images.images.len() as u64, "image")));
    let folders = (folders > 0).then(|| counted(folders as u64, "folder"));
    let failed: Vec<String> = images.into_iter().chain(folders).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(DataError::Dataset(format!("{} could not be predicted", failed.join(" and "))).into())
}

/// Whether a path, which need not exist, is a folder or in it.
fn lies_in(path: &Path, folder: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
    real(path).starts_with(real(folder))
}

/// Prints a result, its line or JSON.
fn each(
    path: &Path,
    predicted: Result<(String, impl Serialize), Error>,
    bad: &mut u64,
    work: Option<&Work>,
    json: bool,
) -> Result<ControlFlow<()>, Error> {
    work.into_iter().for_each(Work::advance);
    match predicted {
        Ok((_, prediction)) if json => print::json(&prediction)?,
        Ok((line, _)) => print::out(line)?,
        // A full disk stays full.
        Err(error @ Error::Write(_)) => return Err(error),
        Err(error) => {
            *bad += 1;
            report(path, &error, json)?;
        }
    }
    Ok(if print::reader_gone() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
}

/// Reports an image or a folder that could not be predicted.
fn report(path: &Path, error: &Error, json: bool) -> Result<(), Error> {
    if json {
        let error = [vec![error.to_string()], print::causes(error)].concat().join(": ");
        return print::json(&Failed { image: path.display().to_string(), error });
    }
    print::error(error);
    Ok(())
}

/// A line of JSON on an image that could not be predicted.
#[derive(Serialize)]
struct Failed {
    image: String,
    error: String,
}

fn line(prediction: &Prediction) -> String {
    let classes: Vec<String> =
        prediction.classes.iter().map(|class| format!("{} {}", one_line(&class.class), percent(class.probability))).collect();
    format!("{}: {}", one_line(&prediction.image), classes.join(", "))
}
