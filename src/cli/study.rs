//! The table of the trials of a sweep.

use super::args::TableFormatArg;
use super::table::table;
use crate::config::Criterion;
use crate::error::Error;
use crate::numbers::{loss, magnitude, metric_title, metric_value, percent, signed};
use crate::search::{FitState, Plan, Study, TrialSummary, mark, plain_setting};
pub(super) use crate::search::{criterion_title, settings, why};

/// The cell of a trial: rounded for people, or with every digit.
type Cell<'a> = Box<dyn Fn(&TrialSummary, bool) -> Option<String> + 'a>;

/// A column.
struct Column<'a> {
    title: String,
    cell: Cell<'a>,
}

/// The table of the trials.
///
/// # Errors
///
/// When a cell can't be written as CSV.
pub(super) fn comparison(plan: &Plan, study: &Study, format: TableFormatArg) -> Result<String, Error> {
    let columns = columns(plan, study);
    let is_exact = format == TableFormatArg::Csv;
    let header: Vec<&str> = columns.iter().map(|column| column.title.as_str()).collect();
    let missing = if is_exact { "" } else { "-" };
    let cells =
        |trial: &TrialSummary| columns.iter().map(|column| (column.cell)(trial, is_exact).unwrap_or_else(|| missing.to_owned())).collect();
    let rows: Vec<Vec<String>> = study.trials.iter().map(cells).collect();
    Ok(match format {
        TableFormatArg::Text => table(&header, rows),
        TableFormatArg::Markdown => markdown(&header, &rows),
        TableFormatArg::Latex => latex(&header, &rows),
        TableFormatArg::Csv => csv(&header, &rows)?,
    })
}

fn columns<'a>(plan: &'a Plan, study: &'a Study) -> Vec<Column<'a>> {
    let number = |title: &str, value: fn(&TrialSummary) -> Option<f64>, short: fn(f64) -> String| Column {
        title: title.to_owned(),
        cell: Box::new(move |trial, is_exact| value(trial).map(|value| if is_exact { value.to_string() } else { short(value) })),
    };
    let setting = |key: &'a str| Column {
        title: key.to_owned(),
        cell: Box::new(move |trial: &TrialSummary, _| plan.setting(trial.trial, key).map(plain_setting)),
    };
    let metrics = study.trials.iter().find(|trial| !trial.validation.is_empty()).map(|trial| &trial.validation);
    let metric = |name: &'a String| Column {
        title: metric_title(name),
        cell: Box::new(move |trial: &TrialSummary, is_exact| {
            trial.validation.get(name).map(|value| if is_exact { value.to_string() } else { metric_value(name, *value) })
        }),
    };
    let has = |value: &dyn Fn(&TrialSummary) -> bool| study.trials.iter().any(value);
    let mut columns: Vec<Column> = plan.space.iter().map(|dimension| setting(&dimension.key)).collect();
    columns.push(number(criterion_title(study.criterion), |trial| Some(trial.comparison?.mean), loss));
    columns.push(number("difference", |trial| Some(trial.comparison?.difference), signed));
    if has(&|trial| trial.comparison.is_some_and(|found| found.standard_error.is_some())) {
        columns.push(number("± standard error", |trial| trial.comparison?.standard_error, loss));
    }
    let is_corrected = |trial: &TrialSummary| trial.comparison.is_some_and(|found| found.standard_error != found.naive_standard_error);
    if has(&is_corrected) {
        columns.push(number("naive", |trial| trial.comparison?.naive_standard_error, loss));
    }
    columns.extend(metrics.into_iter().flat_map(|metrics| metrics.keys()).map(metric));
    columns.push(number("‖w‖²", |trial| trial.weight_norm_squared, magnitude));
    if has(&|trial| trial.zero_weights.is_some_and(|zeros| zeros > 0.0)) {
        columns.push(number("weights 0", |trial| trial.zero_weights, percent));
    }
    if has(&|trial| trial.gamma.is_some()) {
        columns.push(number("γ", |trial| trial.gamma, magnitude));
    }
    if study.criterion == Criterion::Loo {
        columns.push(number("unreliable", |trial| trial.unreliable, percent));
    }
    if has(&|trial| trial.state == FitState::Pruned) {
        columns.push(Column { title: "epochs".to_owned(), cell: Box::new(|trial, _| Some(trial.epochs.to_string())) });
    }
    columns.push(Column { title: String::new(), cell: Box::new(move |trial, _| Some(mark(trial, study))) });
    columns
}

fn markdown(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let escaped = |cell: &str| cell.replace('|', "\\|");
    let head = [line(header.iter().map(|cell| escaped(cell)).collect()), format!("|{}", "---|".repeat(header.len()))];
    head.into_iter().chain(rows.iter().map(|row| line(row.iter().map(|cell| escaped(cell)).collect()))).collect::<Vec<_>>().join("\n")
}

fn latex(header: &[&str], rows: &[Vec<String>]) -> String {
    let escaped = |cell: &str| {
        let symbols = [("‖w‖²", "$\\lVert w\\rVert^2$"), ("−", "$-$"), ("±", "$\\pm$"), ("λ", "$\\lambda$"), ("γ", "$\\gamma$")];
        let special = cell.chars().map(|c| if "&%$#_{}".contains(c) { format!("\\{c}") } else { c.to_string() }).collect::<String>();
        symbols.iter().fold(special, |cell, (symbol, command)| cell.replace(symbol, command))
    };
    let line = |cells: &mut dyn Iterator<Item = &str>| format!("{} \\\\", cells.map(escaped).collect::<Vec<_>>().join(" & "));
    let mut lines = vec![format!("\\begin{{tabular}}{{l{}}}", "r".repeat(header.len().saturating_sub(1))), "\\toprule".to_owned()];
    lines.extend([line(&mut header.iter().copied()), "\\midrule".to_owned()]);
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.extend(["\\bottomrule".to_owned(), "\\end{tabular}".to_owned()]);
    lines.join("\n")
}

fn csv(header: &[&str], rows: &[Vec<String>]) -> Result<String, Error> {
    let failed = |error: csv::Error| Error::Usage(format!("can't write the table as CSV: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header).map_err(failed)?;
    rows.iter().try_for_each(|row| writer.write_record(row)).map_err(failed)?;
    let bytes = writer.into_inner().unwrap_or_else(|error| unreachable!("it is written to memory: {error}"));
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}
