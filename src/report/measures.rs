//! Tables of measures of checkpoints and of epochs.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::page::{number, table, text};
use super::run_files::RunFiles;
use crate::config::CheckpointKind;
use crate::numbers::{Losses, grouped, magnitude, metric_title, metric_value, percent, short};
use crate::session::{Measured, SplitSummary, Summary};
use crate::train::{Row, Split};

/// A checkpoint with its measures on each split.
type Checkpoint<'a> = (&'a str, String, [(&'static str, Option<&'a SplitSummary>); 3]);

/// The measures of the best and the last checkpoint, or of the only one.
pub(super) fn checkpoints(summary: &Summary) -> Markup {
    let checkpoints: Vec<Checkpoint> = match (&summary.best, &summary.last) {
        (Some(best), Some(last)) if best.epoch == last.epoch => {
            vec![("best", format!("best and last, epoch {}", best.epoch), splits_of(best))]
        }
        (Some(best), Some(last)) => {
            [("best", best), ("last", last)].map(|(key, measured)| (key, titled(key, measured, summary.kept), splits_of(measured))).into()
        }
        _ => vec![(
            "",
            format!("the last checkpoint, epoch {}", summary.epochs),
            [("train", summary.train.as_ref()), ("validation", summary.validation.as_ref()), ("test", summary.test.as_ref())],
        )],
    };
    let all = || checkpoints.iter().flat_map(|(_, _, splits)| splits.iter().filter_map(|(_, split)| *split));
    if all().next().is_none() {
        return html! {};
    }
    let metrics: BTreeSet<&String> = all().flat_map(|split| split.metrics.keys()).collect();
    let losses = losses(summary);
    let header: Vec<String> = ["checkpoint", "split", "samples", "data loss"]
        .map(str::to_owned)
        .into_iter()
        .chain(metrics.iter().map(|name| metric_title(name)))
        .collect();
    let rows = checkpoints.iter().flat_map(|(key, title, splits)| {
        let metrics = &metrics;
        splits.iter().filter_map(move |(name, split)| {
            let split = (*split)?;
            let key = if key.is_empty() { (*name).to_owned() } else { format!("{key}.{name}") };
            let measured = metrics.iter().map(|metric| {
                split
                    .metric(metric)
                    .map_or_else(|| text("–"), |value| number(&format!("{key}.{metric}"), value, &metric_value(metric, value)))
            });
            let own = [
                text(title),
                text(name),
                text(grouped(split.count)),
                number(&format!("{key}.data_loss"), split.data_loss, &losses.shown(split.data_loss)),
            ];
            Some(own.into_iter().chain(measured).collect::<Vec<_>>())
        })
    });
    table("Measured after training, with the weights of the checkpoint", 2, &header, rows.collect::<Vec<_>>())
}

/// How the data losses of all checkpoints and splits are written.
pub(super) fn losses(summary: &Summary) -> Losses {
    let own = [&summary.train, &summary.validation, &summary.test];
    let measured = [&summary.best, &summary.last].into_iter().flatten();
    let all = own.into_iter().chain(measured.flat_map(|measured| [&measured.train, &measured.validation, &measured.test]));
    Losses::of(all.flatten().map(|split| split.data_loss))
}

fn titled(key: &str, measured: &Measured, kept: Option<CheckpointKind>) -> String {
    let is_kept = kept.is_some_and(|kept| kept.name() == key);
    format!("{key}, epoch {}{}", measured.epoch, if is_kept { " (kept)" } else { "" })
}

fn splits_of(measured: &Measured) -> [(&'static str, Option<&SplitSummary>); 3] {
    [("train", measured.train.as_ref()), ("validation", measured.validation.as_ref()), ("test", measured.test.as_ref())]
}

/// Every row of `metrics.jsonl`.
pub(super) fn epochs(run: &RunFiles) -> Markup {
    let metrics: BTreeSet<&String> = run.rows.iter().flat_map(|row| row.metrics.keys()).collect();
    let mut header: Vec<String> = ["epoch", "split", "data loss", "penalty"].map(str::to_owned).into();
    header.extend(metrics.iter().map(|name| metric_title(name)));
    header.extend(["‖w‖²".to_owned(), "learning rate".to_owned()]);
    header.extend(run.penalties().iter().map(|label| format!("λ ({label})")));
    header.push("weights 0".to_owned());
    let [losses, penalties] = [|row: &Row| row.data_loss, |row: &Row| row.penalty].map(|value| Losses::of(run.rows.iter().map(value)));
    let row = |row: &Row| {
        let split = if row.split == Split::Train { "train" } else { "validation" };
        let mut cells =
            vec![text(row.epoch.to_string()), text(split), text(losses.shown(row.data_loss)), text(penalties.shown(row.penalty))];
        cells.extend(metrics.iter().map(|name| row.metrics.get(*name).map_or_else(|| text("–"), |value| text(metric_value(name, *value)))));
        cells.extend([text(magnitude(row.weight_norm_squared)), text(short(row.learning_rate))]);
        cells.extend(
            (0..run.penalties().len()).map(|index| row.lambdas.get(index).map_or_else(|| text("–"), |lambda| text(short(*lambda)))),
        );
        cells.push(row.zero_weights.map_or_else(|| text("–"), |zeros| text(percent(zeros))));
        cells
    };
    table("Rows of train average over the steps of the epoch; those of validation are of its end", 2, &header, run.rows.iter().map(row))
}
