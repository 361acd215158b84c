//! The table of `regulus runs`.

use std::collections::BTreeSet;

use console::measure_text_width;

use super::print;
use super::summary::short;
use super::table::{metric_title, metric_value, one_line, table_of_words};
use crate::config::{Criterion, Measure};
use crate::listing::{FolderStatus, Kind, Listed};
use crate::numbers::{Losses, age, is_brief};

/// The widest table.
const WIDEST: usize = 100;
/// What a table that would be wider can do without. The first that fit are kept.
const DISPENSABLE: [&str; 5] = ["penalty", "age", "dataset", "name", "epochs"];
/// What a row without a value has.
const MISSING: &str = "-";

/// A column.
struct Column {
    title: String,
    cells: Vec<String>,
    is_of_words: bool,
}

impl Column {
    fn is_dispensable(&self) -> bool {
        DISPENSABLE.contains(&self.title.as_str())
    }

    fn width(&self) -> usize {
        self.cells.iter().chain([&self.title]).map(|cell| measure_text_width(cell)).max().unwrap_or(0)
    }
}

/// The table. If it would be too wide, what is the same in every row becomes a line above it; then columns are left out, and a note names them.
pub(super) fn runs_table(found: &[Listed]) -> String {
    let mut columns = columns(found);
    let is_too_wide = |columns: &[Column]| columns.iter().map(|column| column.width() + 2).sum::<usize>() > WIDEST + 2;
    let mut common = Vec::new();
    for title in columns.iter().skip(1).map(|column| column.title.clone()).collect::<Vec<_>>() {
        let is_common = |column: &Column| column.title == title && column.cells.iter().all(|cell| *cell == column.cells[0]);
        if found.len() > 1 && is_too_wide(&columns) {
            let same = columns.extract_if(.., |column| is_common(column)).filter(|column| column.cells[0] != MISSING);
            common.extend(same.map(|column| format!("{} {}", column.title, column.cells[0])));
        }
    }
    let mut left_out = Vec::new();
    if is_too_wide(&columns) {
        let mut width: usize = columns.iter().filter(|column| !column.is_dispensable()).map(|column| column.width() + 2).sum();
        for title in DISPENSABLE {
            let added = columns.iter().find(|column| column.title == title).map_or(0, |column| column.width() + 2);
            if width + added <= WIDEST + 2 {
                width += added;
            } else {
                columns.retain(|column| column.title != title);
                left_out.push(format!("`{title}`"));
            }
        }
    }
    if !left_out.is_empty() {
        print::note(format_args!("left out, so that the table fits {WIDEST} columns: {}; `--json` has all", left_out.join(", ")));
    }
    let titles: Vec<&str> = columns.iter().map(|column| column.title.as_str()).collect();
    let words = columns.iter().filter(|column| column.is_of_words).count();
    let rows = (0..found.len()).map(|row| columns.iter().map(|column| column.cells[row].clone()).collect());
    let table = table_of_words(words, &titles, rows);
    if common.is_empty() { table } else { format!("all have: {}\n\n{table}", common.join(", ")) }
}

/// All columns, those of words first.
fn columns(found: &[Listed]) -> Vec<Column> {
    let column = |title: &str, is_of_words: bool, cell: &dyn Fn(&Listed) -> Option<String>| {
        let cells = found.iter().map(|listed| cell(listed).filter(|text| !text.is_empty()).unwrap_or_else(|| MISSING.to_owned()));
        Column { title: title.to_owned(), cells: cells.collect(), is_of_words }
    };
    let losses = Losses::of(found.iter().filter_map(Listed::loss));
    let mut columns = vec![
        column("run", true, &|listed| {
            let mark = if listed.kind == Kind::Sweep { " (sweep)" } else { "" };
            Some(format!("{}{mark}", one_line(&listed.path.display().to_string())))
        }),
        column("name", true, &|listed| listed.name.as_deref().map(one_line)),
        column("status", true, &|listed| Some(listed.status.shown())),
        column("dataset", true, &|listed| listed.dataset.clone()),
        column("penalty", true, &|listed| match listed.penalties.as_slice() {
            [] => (listed.status != FolderStatus::Damaged).then(|| "none".to_owned()),
            penalties => Some(penalties.join(", ")),
        }),
        column("λ", false, &|listed| Some(listed.lambdas.iter().map(|lambda| short(*lambda)).collect::<Vec<_>>().join(", "))),
        column("epochs", false, &|listed| listed.epochs.map(|epochs| epochs.to_string())),
        column("split", false, &|listed| listed.split.map(str::to_owned).or_else(|| Some(without_split(listed)?.to_owned()))),
        column("loss", false, &|listed| listed.loss().map(|loss| losses.shown(loss))),
    ];
    let metrics: BTreeSet<&String> = found.iter().flat_map(|listed| listed.metrics.keys()).collect();
    let metrics = metrics.into_iter().filter(|name| is_brief(name, Measure::DataLoss));
    for name in metrics {
        columns.push(column(&metric_title(name), false, &|listed| listed.metrics.get(name).map(|value| metric_value(name, *value))));
    }
    columns.push(column("age", false, &|listed| listed.age().map(age)));
    columns
}

/// What the loss of a sweep is that needs no split.
pub(super) fn without_split(listed: &Listed) -> Option<&'static str> {
    listed.criterion_value?;
    match listed.criterion? {
        Criterion::ValidationLoss => None,
        Criterion::Loo => Some("leave-one-out"),
        Criterion::Evidence => Some("−evidence"),
    }
}
