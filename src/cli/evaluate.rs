//! `regulus evaluate`.

use std::io::IsTerminal;
use std::path::Path;

use console::Term;
use serde_json::json;

use super::args::{BackendArg, CheckpointArg, EvaluateArgs, ModelArgs, SplitArg};
use super::bar::Work;
use super::table::{counted, grouped, loss, metrics_listed, percent, shortened, table};
use super::{confusion, print};
use crate::error::Error;
use crate::evaluate::{PredictionsFile, Samples, Split, evaluate as measure};
use crate::metrics::{ClassMeasures, Classification, Means, Measures};
use crate::run::CheckpointKind;
use crate::trained::{LoadOptions, Trained};

/// The largest number of classes in the table.
const LISTED_CLASSES: usize = 20;

pub(super) fn evaluate(args: &EvaluateArgs) -> Result<(), Error> {
    print::reserve("--predictions", args.predictions.as_deref(), args.json)?;
    let trained = open(&args.model, args.data_dir.as_deref())?;
    if let (Some(run), Some(path)) = (trained.run(), &args.predictions) {
        run.folder.refuse_own(path)?;
    }
    let mut predictions = args.predictions.as_deref().map(PredictionsFile::new).transpose()?;
    let split = match args.split {
        Some(SplitArg::Train) => Split::Train,
        Some(SplitArg::Validation) => Split::Validation,
        Some(SplitArg::Test) | None => Split::Test,
    };
    let samples = read(args, &trained, split)?;
    samples.warnings.iter().for_each(print::warning);
    let work = Work::of("measuring", samples.subset.count() as u64);
    let measures = measure(&trained, &samples, &mut |prediction| {
        work.advance();
        predictions.iter_mut().for_each(|file| file.add(&prediction));
    });
    drop(work);
    samples.subset.check_decoded()?;
    predictions.map_or(Ok(()), PredictionsFile::write)?;
    let title = args.data.as_deref().map_or_else(|| split.name().to_owned(), |dir| dir.display().to_string());
    if args.json {
        return print_json(args, &trained, &measures, split);
    }
    if let Some(run) = trained.run() {
        let (epoch, step) = (run.state.epoch, run.state.step);
        print::out(format_args!("checkpoint {}: the weights after epoch {epoch}, step {step}", run.checkpoint.name()))?;
    }
    print_text(&measures, &title, &trained.description.classes)
}

/// Opens the model. Prints its warning, if there is one.
pub(super) fn open(args: &ModelArgs, data_dir: Option<&Path>) -> Result<Trained, Error> {
    open_with(args, LoadOptions { data_dir: data_dir.map(Path::to_owned), ..LoadOptions::default() })
}

/// The same with more options.
pub(super) fn open_with(args: &ModelArgs, options: LoadOptions) -> Result<Trained, Error> {
    let checkpoint = args.checkpoint.map(|checkpoint| match checkpoint {
        CheckpointArg::Last => CheckpointKind::Last,
        CheckpointArg::Best => CheckpointKind::Best,
    });
    let backend = args.backend.map(|BackendArg(kind)| kind);
    let trained = Trained::open(&args.model, &LoadOptions { checkpoint, backend, ..options })?;
    if let Some(warning) = trained.run().and_then(|run| run.warning.as_ref()) {
        print::warning(warning);
    }
    Ok(trained)
}

/// The samples to measure on: a folder of new images, or a split of the data of the run.
fn read(args: &EvaluateArgs, trained: &Trained, split: Split) -> Result<Samples, Error> {
    let work = Work::begin("reading images");
    let progress = |done, total| work.reach(done, total);
    match (&args.data, trained.run()) {
        (Some(dir), _) => Samples::of_folder(trained, dir, &progress),
        (None, Some(run)) => Samples::of_split(run, split, &progress),
        (None, None) => {
            let path = args.model.model.display();
            let message = format!("`{path}` is a file without data; give a folder of images with `--data DIR`");
            Err(Error::Usage(message))
        }
    }
}

fn print_json(args: &EvaluateArgs, trained: &Trained, measures: &Measures, split: Split) -> Result<(), Error> {
    let mut line = json!(measures);
    match trained.run() {
        Some(run) => {
            line["run"] = json!(run.folder.path().display().to_string());
            line["checkpoint"] = json!(run.checkpoint.name());
            line["epoch"] = json!(run.state.epoch);
            line["step"] = json!(run.state.step);
        }
        None => line["file"] = json!(args.model.model.display().to_string()),
    }
    match &args.data {
        Some(dir) => line["data"] = json!(dir.display().to_string()),
        None => line["split"] = json!(split.name()),
    }
    if let Some(measures) = measures.classification() {
        line["class_names"] = json!(trained.description.classes);
        line["top_confusions"] = confusion::json(measures, &trained.description.classes);
    }
    print::json(&line)
}

fn print_text(measures: &Measures, title: &str, names: &[String]) -> Result<(), Error> {
    match measures {
        Measures::Classification(measures) => print_classification(measures, title, names),
        Measures::Means(Means { count, data_loss, metrics, input_metrics }) => {
            let measured = [vec![format!("data loss {}", loss(*data_loss))], metrics_listed(metrics)].concat().join(", ");
            print::out(format_args!("{title}: {}, {measured}", counted(*count, "sample")))?;
            print::out(format_args!("with the noise: {}", metrics_listed(input_metrics).join(", ").replace("noisy ", "")))
        }
    }
}

fn print_classification(measures: &Classification, title: &str, names: &[String]) -> Result<(), Error> {
    let Classification { count, data_loss, accuracy, balanced_accuracy, macro_f1, calibration_error, .. } = measures;
    print::out(format_args!("{title}: {} samples, data loss {}, accuracy {}", grouped(*count), loss(*data_loss), percent(*accuracy)))?;
    print::out(format_args!(
        "balanced accuracy {}, macro-F1 {}, calibration error {calibration_error:.4}\n",
        percent_or_dash(*balanced_accuracy),
        percent_or_dash(*macro_f1)
    ))?;
    let width = std::io::stdout().is_terminal().then(|| usize::from(Term::stdout().size().1));
    print::out(class_table(measures, names, width))?;
    let matrix = confusion::matrix(measures, names, width);
    let limit = if matrix.is_some() { 5 } else { confusion::LISTED };
    if let Some(matrix) = matrix {
        print::out(format_args!("\n{matrix}"))?;
    }
    match confusion::list(measures, names, limit) {
        Some(list) => print::out(format_args!("\nmost frequent confusions (actual → predicted)\n{list}")),
        None => Ok(()),
    }
}

fn percent_or_dash(fraction: Option<f64>) -> String {
    fraction.map_or("-".to_owned(), percent)
}

/// The table of classes; with many classes, those with the lowest F1.
fn class_table(measures: &Classification, names: &[String], width: Option<usize>) -> String {
    // The width of the columns of numbers.
    const NUMBERS: usize = 4 * 12;
    let longest = width.map_or(usize::MAX, |width| width.saturating_sub(NUMBERS).max(10));
    let mut classes: Vec<(&String, &ClassMeasures)> = names.iter().zip(&measures.classes).collect();
    let all = classes.len();
    let is_long = all > LISTED_CLASSES;
    if is_long {
        classes.retain(|(_, class)| class.f1.is_some());
        classes.sort_by(|(_, a), (_, b)| a.f1.unwrap_or(0.0).total_cmp(&b.f1.unwrap_or(0.0)));
        classes.truncate(LISTED_CLASSES);
    }
    let rows = classes.iter().map(|(name, class)| {
        vec![
            shortened(name, longest),
            grouped(class.count),
            percent_or_dash(class.precision),
            percent_or_dash(class.recall),
            percent_or_dash(class.f1),
        ]
    });
    let table = table(&["class", "samples", "precision", "recall", "F1"], rows);
    if is_long { format!("the {} of {all} classes with the lowest F1; `--json` has all\n{table}", classes.len()) } else { table }
}
