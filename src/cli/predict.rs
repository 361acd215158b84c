//! `regulus predict`.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;

use super::args::PredictArgs;
use super::bar::Work;
use super::evaluate::open;
use super::print;
use super::table::{counted, grouped, one_line, percent};
use crate::data::DataError;
use crate::error::Error;
use crate::predict::{ImageList, PredictOptions, Prediction, predict as predict_all};

pub(super) fn predict(args: &PredictArgs) -> Result<(), Error> {
    let trained = open(&args.model, None)?;
    let images = ImageList::of(&args.images);
    images.warnings.iter().for_each(print::warning);
    let options = PredictOptions { top: args.top as usize, invert: args.invert };
    // Results on the terminal replace the progress bar.
    let work = (!std::io::stdout().is_terminal()).then(|| Work::of("predicting", images.paths.len() as u64));
    let folders = images.failed.len();
    let mut bad = 0;
    for (path, error) in images.failed {
        report(&path, error, args.json)?;
    }
    predict_all(&trained, &images.paths, options, &mut |path, predicted| {
        work.iter().for_each(Work::advance);
        match predicted {
            Ok(prediction) if args.json => print::json(&prediction)?,
            Ok(prediction) => print::out(line(&prediction))?,
            Err(error) => {
                bad += 1;
                report(path, error, args.json)?;
            }
        }
        Ok(if print::reader_gone() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    drop(work);
    let images = (bad > 0).then(|| format!("{} of {}", grouped(bad), counted(images.paths.len() as u64, "image")));
    let folders = (folders > 0).then(|| counted(folders as u64, "folder"));
    let failed: Vec<String> = images.into_iter().chain(folders).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(DataError::Dataset(format!("{} could not be predicted", failed.join(" and "))).into())
}

/// Reports an image or a folder that could not be predicted.
fn report(path: &Path, error: DataError, json: bool) -> Result<(), Error> {
    if json {
        let error = [vec![error.to_string()], print::causes(&error)].concat().join(": ");
        return print::json(&Failed { image: path.display().to_string(), error });
    }
    print::error(&error.into());
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
