//! The table of the trials of a sweep.

use super::args::TableFormatArg;
use crate::config::{Criterion, Measure};
use crate::error::Error;
use crate::numbers::{is_brief, magnitude, metric_title, metric_value, percent, setting};
use crate::search::{FitState, Plan, Study, TrialSummary, digits, mark};
pub(super) use crate::search::{criterion_title, settings, why};

/// The cell of a trial: rounded for people, or with every digit.
type Cell<'a> = Box<dyn Fn(&TrialSummary, bool) -> Option<String> + 'a>;

/// The column of standard errors without the correction for training splits that overlap.
const UNCORRECTED: &str = "± uncorrected";

/// What the standard errors are. `None` if the table has nothing unusual.
pub(super) fn about_errors(plan: &Plan, study: &Study) -> Option<String> {
    let has_errors = study.trials.iter().any(|trial| trial.comparison.is_some_and(|found| found.standard_error.is_some()));
    let unpaired = "each trial has splits of its own, so that standard errors are those of unpaired trials: √(s₁² + s₂²) is the deviation";
    let corrected = "± standard error is that of the difference, corrected because the training splits overlap";
    let about = [
        (plan.sweep.reshuffle && has_errors).then(|| unpaired.to_owned()),
        is_corrected(study).then(|| format!("{corrected}; {UNCORRECTED} is the usual one, which is too small")),
    ];
    about.into_iter().flatten().reduce(|one, other| format!("{one}; {other}"))
}

fn is_corrected(study: &Study) -> bool {
    study.trials.iter().any(|trial| trial.comparison.is_some_and(|found| found.standard_error != found.naive_standard_error))
}

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
    let header: Vec<&str> = columns.iter().map(|column| column.title.as_str()).collect();
    let cell =
        |column: &Column, trial: &TrialSummary| (column.cell)(trial, format.is_exact()).unwrap_or_else(|| format.missing().to_owned());
    let cells = |trial: &TrialSummary| columns.iter().map(|column| cell(column, trial)).collect();
    format.table(&header, study.trials.iter().map(cells).collect())
}

fn columns<'a>(plan: &'a Plan, study: &'a Study) -> Vec<Column<'a>> {
    fn number<'a>(title: &str, value: fn(&TrialSummary) -> Option<f64>, short: impl Fn(f64) -> String + 'a) -> Column<'a> {
        let cell =
            move |trial: &TrialSummary, is_exact: bool| value(trial).map(|value| if is_exact { value.to_string() } else { short(value) });
        Column { title: title.to_owned(), cell: Box::new(cell) }
    }
    let of_key = |key: &'a str| Column {
        title: key.to_owned(),
        cell: Box::new(move |trial: &TrialSummary, _| plan.setting(trial.trial, key).map(setting)),
    };
    let metrics = study.trials.iter().find(|trial| !trial.validation.is_empty()).map(|trial| &trial.validation);
    let metric = |name: &'a String| Column {
        title: metric_title(name),
        cell: Box::new(move |trial: &TrialSummary, is_exact| {
            trial.validation.get(name).map(|value| if is_exact { value.to_string() } else { metric_value(name, *value) })
        }),
    };
    let has = |value: &dyn Fn(&TrialSummary) -> bool| study.trials.iter().any(value);
    let mut columns: Vec<Column> = plan.space.iter().map(|dimension| of_key(&dimension.key)).collect();
    let [means, differences] = digits(study);
    columns.push(number(criterion_title(study.criterion), |trial| Some(trial.comparison?.mean), move |value| means.shown(value)));
    columns.push(number("difference", |trial| Some(trial.comparison?.difference), move |value| differences.signed(value)));
    if has(&|trial| trial.comparison.is_some_and(|found| found.standard_error.is_some())) {
        columns.push(number("± standard error", |trial| trial.comparison?.standard_error, move |value| differences.shown(value)));
    }
    if is_corrected(study) {
        columns.push(number(UNCORRECTED, |trial| trial.comparison?.naive_standard_error, move |value| differences.shown(value)));
    }
    columns.extend(metrics.into_iter().flat_map(|metrics| metrics.keys()).filter(|name| is_brief(name, Measure::DataLoss)).map(metric));
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
