//! The summary that is printed after training.

use std::collections::BTreeSet;

use serde_json::json;

use super::print;
use super::table::{brief, counted, duration, grouped, loss, metric_title, metric_value, percent, rounded, table};
use crate::config::{CheckpointKind, Measure};
use crate::error::Error;
use crate::numbers::magnitude;
pub(super) use crate::numbers::short;
use crate::run::RunFolder;
use crate::session::{EndedBy, Measured, SplitSummary, Status, Summary};

/// Prints the summary of a run. `labels` are the labels of its penalties.
pub(super) fn print_summary(folder: &RunFolder, summary: &Summary, labels: &[String], json: bool) -> Result<(), Error> {
    if json {
        let run = folder.path().display().to_string();
        return print::json(&json!({ "event": "end", "run": run, "warnings": summary.warnings, "summary": summary }));
    }
    summary.warnings.iter().for_each(print::warning);
    match (&summary.best, &summary.last) {
        (Some(best), Some(last)) if best.epoch != last.epoch => print_both(best, last, summary, labels)?,
        _ => print_one(summary, labels)?,
    }
    print::out(format_args!("\n{}", end_in_words(summary)))?;
    if let Some(kept) = summary.kept {
        print::out(checkpoint_in_words(summary, kept))?;
    }
    let speed = summary.images_per_second.map_or(String::new(), |speed| format!(", {} images/s", rounded(speed)));
    print::out(format_args!("{} of training{speed}", duration(summary.seconds)))?;
    print::out(format_args!("run folder: {}", folder.path().display()))
}

/// Prints a table of one network.
fn print_one(summary: &Summary, labels: &[String]) -> Result<(), Error> {
    let splits: Vec<(&str, &SplitSummary)> =
        [("train", &summary.train), ("validation", &summary.validation), ("test", &summary.test)].into_iter().filter_map(named).collect();
    let metrics = metric_names(splits.iter().map(|(_, split)| *split));
    let header: Vec<String> =
        ["split", "samples", "data loss"].map(str::to_owned).into_iter().chain(metrics.iter().map(|name| metric_title(name))).collect();
    let rows = splits.iter().map(|(name, split)| [vec![(*name).to_owned(), grouped(split.count)], measures(split, &metrics)].concat());
    print::out(table(&header.iter().map(String::as_str).collect::<Vec<_>>(), rows))?;
    if let (Some(penalty), Some(norm)) = (summary.penalty, summary.weight_norm_squared) {
        let zeros = summary.zero_weights.filter(|zeros| *zeros > 0.0);
        let zeros = zeros.map_or(String::new(), |zeros| format!(", {} of the weights 0", percent(zeros)));
        let lambdas: Vec<String> =
            summary.lambdas.iter().zip(labels).map(|(lambda, label)| format!(", λ {} ({label})", short(*lambda))).collect();
        print::out(format_args!("\npenalty {}, ‖w‖² {}{zeros}{}", loss(penalty), magnitude(norm), lambdas.concat()))?;
    }
    Ok(())
}

/// Prints a table of the best and the last network.
fn print_both(best: &Measured, last: &Measured, summary: &Summary, labels: &[String]) -> Result<(), Error> {
    let splits: Vec<(&str, [&SplitSummary; 2])> =
        [("train", &best.train, &last.train), ("validation", &best.validation, &last.validation), ("test", &best.test, &last.test)]
            .into_iter()
            .filter_map(|(name, best, last)| Some((name, [best.as_ref()?, last.as_ref()?])))
            .collect();
    // As many as fit beside each other.
    let metrics: BTreeSet<String> =
        splits.iter().flat_map(|(_, both)| *both).flat_map(|split| brief(&split.metrics, summary.best_by).into_keys()).collect();
    let titles = |kind: CheckpointKind| {
        let loss = format!("{}{}: data loss", kind.name(), if summary.kept == Some(kind) { " (kept)" } else { "" });
        std::iter::once(loss).chain(metrics.iter().map(|name| metric_title(name))).collect::<Vec<_>>()
    };
    let header = [["split", "samples"].map(str::to_owned).to_vec(), titles(CheckpointKind::Best), titles(CheckpointKind::Last)].concat();
    let split_rows = splits.iter().map(|(name, both)| {
        let [best, last] = both.map(|split| measures(split, &metrics));
        [vec![(*name).to_owned(), grouped(both[0].count)], best, last].concat()
    });
    let blanks = vec![String::new(); metrics.len()];
    let row = |name: &str, value: &dyn Fn(&Measured) -> String| {
        [vec![name.to_owned(), String::new(), value(best)], blanks.clone(), vec![value(last)], blanks.clone()].concat()
    };
    let mut rows: Vec<Vec<String>> = split_rows.collect();
    rows.push(row("epoch", &|measured| grouped(measured.epoch)));
    rows.push(row("penalty", &|measured| loss(measured.penalty)));
    rows.push(row("‖w‖²", &|measured| magnitude(measured.weight_norm_squared)));
    for (index, label) in labels.iter().enumerate() {
        rows.push(row(&format!("λ ({label})"), &|measured| measured.lambdas.get(index).copied().map_or_else(String::new, short)));
    }
    if best.zero_weights > 0.0 || last.zero_weights > 0.0 {
        rows.push(row("weights 0", &|measured| percent(measured.zero_weights)));
    }
    print::out(table(&header.iter().map(String::as_str).collect::<Vec<_>>(), rows))
}

/// A split that has been measured.
fn named<'a>((name, split): (&'static str, &'a Option<SplitSummary>)) -> Option<(&'static str, &'a SplitSummary)> {
    Some((name, split.as_ref()?))
}

/// The names of all metrics.
fn metric_names<'a>(splits: impl Iterator<Item = &'a SplitSummary>) -> BTreeSet<String> {
    splits.flat_map(|split| split.metrics.keys().cloned()).collect()
}

/// The data loss and the metrics of a split, for a table.
fn measures(split: &SplitSummary, metrics: &BTreeSet<String>) -> Vec<String> {
    let values = metrics.iter().map(|name| split.metric(name).map_or_else(String::new, |value| metric_value(name, value)));
    std::iter::once(loss(split.data_loss)).chain(values).collect()
}

/// Epochs and steps, and why training ended.
fn end_in_words(summary: &Summary) -> String {
    let done = format!("{}, {}", counted(summary.epochs, "epoch"), counted(summary.steps, "step"));
    match (summary.status, summary.ended_by) {
        (Status::EarlyStopped, _) => match summary.best_by {
            Measure::DataLoss => format!("stopped early after {done}: the validation loss no longer fell"),
            measure => format!("stopped early after {done}: the validation {} no longer rose", metric_title(measure.name())),
        },
        (_, Some(EndedBy::MaxSteps)) => format!("{done}: ended by `train.max_steps`"),
        _ => done,
    }
}

/// The checkpoint that commands use, and how to select the other one.
fn checkpoint_in_words(summary: &Summary, kept: CheckpointKind) -> String {
    let (Some(best), Some(last)) = (&summary.best, &summary.last) else {
        return "`evaluate`, `predict` and `export` use the last weights".to_owned();
    };
    let by = metric_title(summary.best_by.name());
    if best.epoch == last.epoch {
        return format!(
            "`evaluate`, `predict` and `export` use the weights of epoch {}, the last and the best on the validation split by {by}",
            last.epoch
        );
    }
    let (kept, other, epoch) = match kept {
        CheckpointKind::Best => {
            (format!("the weights of epoch {}, the best on the validation split by {by}", best.epoch), "last", last.epoch)
        }
        CheckpointKind::Last => (format!("the weights of epoch {}, the last", last.epoch), "best", best.epoch),
    };
    format!(
        "`evaluate`, `predict` and `export` use {kept}; `--checkpoint {other}` selects those of epoch {epoch}, and `train.keep` = \"{other}\" makes them the default"
    )
}
