//! The summary lines of a training.

use serde_json::json;

use super::print;
use super::table::{counted, duration, grouped, percent, rounded, table};
use crate::error::Error;
use crate::run::{CheckpointKind, EndedBy, Measured, RunFolder, SplitSummary, Status, Summary};

/// Tells how a run ended. Its penalties are called by `labels`.
pub(super) fn tell_end(folder: &RunFolder, summary: &Summary, labels: &[String], json: bool) -> Result<(), Error> {
    if json {
        let run = folder.path().display().to_string();
        return print::json(&json!({ "event": "end", "run": run, "warnings": summary.warnings, "summary": summary }));
    }
    summary.warnings.iter().for_each(print::warning);
    match (&summary.best, &summary.last) {
        (Some(best), Some(last)) if best.epoch != last.epoch => tell_both(best, last, summary.kept, labels)?,
        _ => tell_kept(summary, labels)?,
    }
    print::out(format_args!("\n{}", ended(summary)))?;
    if let Some(kept) = summary.kept {
        print::out(kept_in_words(summary, kept))?;
    }
    let speed = summary.images_per_second.map_or(String::new(), |speed| format!(", {} images/s", rounded(speed)));
    print::out(format_args!("{} of training{speed}", duration(summary.seconds)))?;
    print::out(format_args!("run folder: {}", folder.path().display()))
}

/// A table of the one network there is.
fn tell_kept(summary: &Summary, labels: &[String]) -> Result<(), Error> {
    let parts = [("train", summary.train), ("validation", summary.validation), ("test", summary.test)];
    let row = |(name, part): (&str, Option<SplitSummary>)| {
        part.map(|part| vec![name.to_owned(), grouped(part.count), format!("{:.4}", part.data_loss), percent(part.accuracy)])
    };
    print::out(table(&["part", "samples", "data loss", "accuracy"], parts.into_iter().filter_map(row)))?;
    if let (Some(penalty), Some(norm)) = (summary.penalty, summary.weight_norm_squared) {
        let zeros = summary.zero_weights.filter(|zeros| *zeros > 0.0);
        let zeros = zeros.map_or(String::new(), |zeros| format!(", {} of the weights 0", percent(zeros)));
        let lambdas: Vec<String> =
            summary.lambdas.iter().zip(labels).map(|(lambda, label)| format!(", λ {} ({label})", short(*lambda))).collect();
        print::out(format_args!("\npenalty {penalty:.4e}, ‖w‖² {norm:.3}{zeros}{}", lambdas.concat()))?;
    }
    Ok(())
}

/// A table of the best and the last network side by side.
fn tell_both(best: &Measured, last: &Measured, kept: Option<CheckpointKind>, labels: &[String]) -> Result<(), Error> {
    let title = |which: CheckpointKind| format!("{}{}: data loss", which.name(), if kept == Some(which) { " (kept)" } else { "" });
    let header = ["part", "samples", &title(CheckpointKind::Best), "accuracy", &title(CheckpointKind::Last), "accuracy"];
    let parts = [("train", best.train, last.train), ("validation", best.validation, last.validation), ("test", best.test, last.test)];
    let parts = parts.into_iter().filter_map(|(name, best, last)| {
        let (best, last) = (best?, last?);
        let measures = [best, last].map(|part| [format!("{:.4}", part.data_loss), percent(part.accuracy)]);
        Some([vec![name.to_owned(), grouped(best.count)], measures.concat()].concat())
    });
    let both = |name: &str, of: &dyn Fn(&Measured) -> String| {
        vec![name.to_owned(), String::new(), of(best), String::new(), of(last), String::new()]
    };
    let mut rows: Vec<Vec<String>> = parts.collect();
    rows.push(both("epoch", &|one| grouped(one.epoch)));
    rows.push(both("penalty", &|one| format!("{:.4e}", one.penalty)));
    rows.push(both("‖w‖²", &|one| format!("{:.3}", one.weight_norm_squared)));
    for (place, label) in labels.iter().enumerate() {
        rows.push(both(&format!("λ ({label})"), &|one| one.lambdas.get(place).copied().map_or_else(String::new, short)));
    }
    if best.zero_weights > 0.0 || last.zero_weights > 0.0 {
        rows.push(both("weights 0", &|one| percent(one.zero_weights)));
    }
    print::out(table(&header, rows))
}

fn ended(summary: &Summary) -> String {
    let done = format!("{}, {}", counted(summary.epochs, "epoch"), counted(summary.steps, "step"));
    match (summary.status, summary.ended_by) {
        (Status::EarlyStopped, _) => format!("stopped early after {done}: the validation loss no longer fell"),
        (_, Some(EndedBy::MaxSteps)) => format!("{done}: ended by `train.max_steps`"),
        _ => done,
    }
}

/// Which network commands take, and how to take the other one.
fn kept_in_words(summary: &Summary, kept: CheckpointKind) -> String {
    let (Some(best), Some(last)) = (&summary.best, &summary.last) else {
        return "`evaluate`, `predict` and `export` take the last weights".to_owned();
    };
    if best.epoch == last.epoch {
        return format!(
            "`evaluate`, `predict` and `export` take the weights of epoch {}, the last and the best on the validation split",
            last.epoch
        );
    }
    let (kept, of, other) = match kept {
        CheckpointKind::Best => (format!("the weights of epoch {}, the best on the validation split", best.epoch), "last", last.epoch),
        CheckpointKind::Last => (format!("the weights of epoch {}, the last", last.epoch), "best", best.epoch),
    };
    format!(
        "`evaluate`, `predict` and `export` take {kept}; with `--checkpoint {of}` those of epoch {other}, and `train.keep` = \"{of}\" keeps them"
    )
}

/// A λ in few digits.
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
    fn lambdas_in_few_digits() {
        let lambdas = [0.0, 5.0, 0.5, 20.0, 7.312_345, 0.001, 1e-5, 2.5e7];
        assert_eq!(lambdas.map(short), ["0", "5", "0.5", "20", "7.3123", "0.001", "1.000e-5", "2.500e7"]);
    }
}
