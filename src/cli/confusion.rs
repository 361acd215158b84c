//! The confusion matrix, and the list of the most frequent confusions.

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::table::{Cell, grouped, one_line, percent, shortened, table};
use crate::metrics::Classification;

/// The largest number of classes with a readable matrix.
pub(super) const MATRIX_CLASSES: usize = 12;
/// The number of listed confusions.
pub(super) const LISTED: usize = 10;
/// The largest width of a class name beside the matrix, in columns.
const NAME: usize = 24;

/// The confusion matrix: correct predictions bold, mistakes in colour. Returns `None` if there are too many classes or the lines are longer than `width`
/// columns. `width` is `None` for lines of any length.
pub(super) fn matrix(measures: &Classification, names: &[String], width: Option<usize>) -> Option<String> {
    if names.len() > MATRIX_CLASSES {
        return None;
    }
    let labels: Vec<String> = (0..names.len()).map(|label| label.to_string()).collect();
    let header: Vec<&str> = std::iter::once("actual \\ predicted").chain(labels.iter().map(String::as_str)).collect();
    let rows = names.iter().zip(&measures.confusion).enumerate().map(|(label, (name, row))| {
        let title = if *name == label.to_string() { name.clone() } else { format!("{label} {}", shortened(name, NAME)) };
        let counts = row.iter().enumerate().map(|(predicted, count)| {
            let style = match (predicted == label, count) {
                (true, _) => Style::new().bold(),
                (false, 0) => Style::new().dimmed(),
                (false, _) => AnsiColor::Red.on_default(),
            };
            Cell::styled(count, style)
        });
        std::iter::once(Cell::from(title)).chain(counts).collect::<Vec<Cell>>()
    });
    let matrix = table(&header, rows);
    let widest = matrix.lines().map(console::measure_text_width).max().unwrap_or(0);
    width.is_none_or(|width| widest <= width).then_some(matrix)
}

/// The most frequent confusions, one per line. Returns `None` without mistakes.
pub(super) fn list(measures: &Classification, names: &[String], limit: usize) -> Option<String> {
    let lines: Vec<String> = measures
        .top_confusions(limit)
        .iter()
        .map(|top| {
            let (actual, predicted) = (one_line(&names[top.actual]), one_line(&names[top.predicted]));
            format!("{actual} → {predicted}: {} ({} of class {actual})", grouped(top.count), percent(top.share))
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The most frequent confusions as JSON.
pub(super) fn json(measures: &Classification, names: &[String]) -> Value {
    let top = measures.top_confusions(LISTED);
    let top = top
        .iter()
        .map(|top| json!({ "actual": names[top.actual], "predicted": names[top.predicted], "count": top.count, "share": top.share }));
    top.collect()
}
