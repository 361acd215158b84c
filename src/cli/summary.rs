//! The summary that is printed after training.

use serde_json::json;

use super::print;
use super::table::{counted, duration, grouped, percent, rounded, table};
use crate::config::CheckpointKind;
use crate::error::Error;
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
        (Some(best), Some(last)) if best.epoch != last.epoch => print_both(best, last, summary.kept, labels)?,
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
    let splits = [("train", summary.train), ("validation", summary.validation), ("test", summary.test)];
    let row = |(name, split): (&str, Option<SplitSummary>)| {
        split.map(|split| vec![name.to_owned(), grouped(split.count), format!("{:.4}", split.data_loss), percent(split.accuracy)])
    };
    print::out(table(&["split", "samples", "data loss", "accuracy"], splits.into_iter().filter_map(row)))?;
    if let (Some(penalty), Some(norm)) = (summary.penalty, summary.weight_norm_squared) {
        let zeros = summary.zero_weights.filter(|zeros| *zeros > 0.0);
        let zeros = zeros.map_or(String::new(), |zeros| format!(", {} of the weights 0", percent(zeros)));
        let lambdas: Vec<String> =
            summary.lambdas.iter().zip(labels).map(|(lambda, label)| format!(", λ {} ({label})", short(*lambda))).collect();
        print::out(format_args!("\npenalty {penalty:.4e}, ‖w‖² {norm:.3}{zeros}{}", lambdas.concat()))?;
    }
    Ok(())
}

/// Prints a table of the best and the last network.
fn print_both(best: &Measured, last: &Measured, kept: Option<CheckpointKind>, labels: &[String]) -> Result<(), Error> {
    let title = |kind: CheckpointKind| format!("{}{}: data loss", kind.name(), if kept == Some(kind) { " (kept)" } else { "" });
    let header = ["split", "samples", &title(CheckpointKind::Best), "accuracy", &title(CheckpointKind::Last), "accuracy"];
    let splits = [("train", best.train, last.train), ("validation", best.validation, last.validation), ("test", best.test, last.test)];
    let split_rows = splits.into_iter().filter_map(|(name, best, last)| {
        let (best, last) = (best?, last?);
        let measures = [best, last].map(|split| [format!("{:.4}", split.data_loss), percent(split.accuracy)]);
        Some([vec![name.to_owned(), grouped(best.count)], measures.concat()].concat())
    });
    let row = |name: &str, value: &dyn Fn(&Measured) -> String| {
        vec![name.to_owned(), String::new(), value(best), String::new(), value(last), String::new()]
    };
    let mut rows: Vec<Vec<String>> = split_rows.collect();
    rows.push(row("epoch", &|measured| grouped(measured.epoch)));
    rows.push(row("penalty", &|measured| format!("{:.4e}", measured.penalty)));
    rows.push(row("‖w‖²", &|measured| format!("{:.3}", measured.weight_norm_squared)));
    for (index, label) in labels.iter().enumerate() {
        rows.push(row(&format!("λ ({label})"), &|measured| measured.lambdas.get(index).copied().map_or_else(String::new, short)));
    }
    if best.zero_weights > 0.0 || last.zero_weights > 0.0 {
        rows.push(row("weights 0", &|measured| percent(measured.zero_weights)));
    }
    print::out(table(&header, rows))
}

/// Epochs and steps, and why training ended.
fn end_in_words(summary: &Summary) -> String {
    let done = format!("{}, {}", counted(summary.epochs, "epoch"), counted(summary.steps, "step"));
    match (summary.status, summary.ended_by) {
        (Status::EarlyStopped, _) => format!("stopped early after {done}: the validation loss no longer fell"),
        (_, Some(EndedBy::MaxSteps)) => format!("{done}: ended by `train.max_steps`"),
        _ => done,
    }
}

/// The checkpoint that commands use, and how to select the other one.
fn checkpoint_in_words(summary: &Summary, kept: CheckpointKind) -> String {
    let (Some(best), Some(last)) = (&summary.best, &summary.last) else {
        return "`evaluate`, `predict` and `export` use the last weights".to_owned();
    };
    if best.epoch == last.epoch {
        return format!(
            "`evaluate`, `predict` and `export` use the weights of epoch {}, the last and the best on the validation split",
            last.epoch
        );
    }
    let (kept, other, epoch) = match kept {
        CheckpointKind::Best => (format!("the weights of epoch {}, the best on the validation split", best.epoch), "last", last.epoch),
        CheckpointKind::Last => (format!("the weights of epoch {}, the last", last.epoch), "best", best.epoch),
    };
    format!(
        "`evaluate`, `predict` and `export` use {kept}; `--checkpoint {other}` selects those of epoch {epoch}, and `train.keep` = \"{other}\" makes them the default"
    )
}

/// A λ with few digits.
pub(super) fn short(lambda: f64) -> String {
    if lambda == 0.0 || (1e-3..1e6).contains(&lambda.abs()) {
        let digits = format!("{lambda:.4}");
        digits.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{lambda:.3e}")
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn lambdas_have_few_digits() {
        let lambdas = [0.0, 5.0, 0.5, 20.0, 7.312_345, 0.001, 1e-5, 2.5e7];
        assert_eq!(lambdas.map(short), ["0", "5", "0.5", "20", "7.3123", "0.001", "1.000e-5", "2.500e7"]);
    }
}
