//! `regulus evaluate`.

use std::path::Path;

use serde_json::json;

use super::args::{BackendArg, CheckpointArg, EvaluateArgs, RunArgs, SplitArg};
use super::print;
use super::table::{grouped, percent, table};
use crate::error::Error;
use crate::evaluate::{Split, evaluate as measure};
use crate::metrics::Measures;
use crate::run::{RunFolder, Which};
use crate::trained::Trained;

pub(super) fn evaluate(args: &EvaluateArgs) -> Result<(), Error> {
    let (folder, trained) = load(&args.run, args.data_dir.as_deref())?;
    let split = match args.split {
        SplitArg::Train => Split::Train,
        SplitArg::Validation => Split::Validation,
        SplitArg::Test => Split::Test,
    };
    let measures = measure(&trained, &folder, split)?;
    if args.json {
        let mut line = json!(measures);
        line["run"] = json!(folder.path().display().to_string());
        line["split"] = json!(split.name());
        line["checkpoint"] = json!(trained.which.name());
        line["epoch"] = json!(trained.position.epoch);
        line["step"] = json!(trained.position.step);
        line["class_names"] = json!(trained.manifest.classes);
        return print::json(&line);
    }
    let (epoch, step) = (trained.position.epoch, trained.position.step);
    print::out(format_args!("checkpoint {}: the weights after epoch {epoch}, step {step}", trained.which.name()))?;
    tell(&measures, split, &trained.manifest.classes)
}

/// Opens the run and loads its network, passing on a warning.
pub(super) fn load(args: &RunArgs, data_dir: Option<&Path>) -> Result<(RunFolder, Trained), Error> {
    let folder = RunFolder::open(&args.run)?;
    let which = args.checkpoint.map(|which| match which {
        CheckpointArg::Last => Which::Last,
        CheckpointArg::Best => Which::Best,
    });
    let trained = Trained::load(&folder, which, args.backend.map(|BackendArg(kind)| kind), data_dir)?;
    if let Some(warning) = &trained.warning {
        print::warning(warning);
    }
    Ok((folder, trained))
}

fn tell(measures: &Measures, split: Split, names: &[String]) -> Result<(), Error> {
    let Measures { count, data_loss, accuracy, calibration_error, .. } = measures;
    print::out(format_args!(
        "{}: {} samples, data loss {data_loss:.4}, accuracy {}, calibration error {calibration_error:.4}\n",
        split.name(),
        grouped(*count),
        percent(*accuracy)
    ))?;
    let shown = |fraction: Option<f64>| fraction.map_or("-".to_owned(), percent);
    let classes = names
        .iter()
        .zip(&measures.classes)
        .map(|(name, class)| vec![name.clone(), grouped(class.count), shown(class.precision), shown(class.recall)]);
    print::out(table(&["class", "samples", "precision", "recall"], classes))?;
    let labels: Vec<String> = (0..names.len()).map(|label| label.to_string()).collect();
    let header: Vec<&str> = std::iter::once("actual \\ predicted").chain(labels.iter().map(String::as_str)).collect();
    let rows = names.iter().zip(&measures.confusion).enumerate().map(|(label, (name, row))| {
        let title = if *name == label.to_string() { name.clone() } else { format!("{label} {name}") };
        std::iter::once(title).chain(row.iter().map(ToString::to_string)).collect()
    });
    print::out(format_args!("\n{}", table(&header, rows)))
}
