//! What changes over the epochs of a run.

use maud::Markup;

use super::plot::{Axis, Plot, Rule, Series, SeriesStyle};
use super::run_files::RunFiles;
use super::scale::Scale;
use crate::metrics::Metrics;
use crate::numbers::{is_fraction, metric_title};
use crate::train::{Row, Split};
use regulus_model::Task;

/// What the data loss is, with its unit.
pub(super) fn loss_unit(is_classifier: bool) -> &'static str {
    if is_classifier { "cross-entropy, nats" } else { "mean squared error" }
}

/// The title of the axis of penalties: they are added to the data loss, in its unit.
pub(super) fn penalty_axis(is_classifier: bool) -> String {
    if is_classifier { "penalty (nats)" } else { "penalty (in units of the data loss)" }.to_owned()
}

/// The figures of losses, metrics, rates and λ.
pub(super) fn curves(run: &RunFiles) -> Vec<Markup> {
    let mut figures = Vec::new();
    let is_classifier = run.manifest.task == Task::Classify;
    let unit = loss_unit(is_classifier);
    figures.extend(by_split(run, "Data loss", &format!("data loss ({unit})"), true, |row| Some(row.data_loss)));
    if !run.penalties().is_empty() || run.rows.iter().any(|row| row.penalty != 0.0) {
        figures.extend(by_split(run, "Penalty, apart from the data loss", &penalty_axis(is_classifier), true, |row| Some(row.penalty)));
    }
    let names: std::collections::BTreeSet<&String> = run.rows.iter().flat_map(|row| row.metrics.keys()).collect();
    for name in names {
        let title = metric_title(name);
        let (axis, factor) = match name.as_str() {
            name if is_fraction(name) => (format!("{title} (%)"), 100.0),
            "psnr" => ("PSNR (dB)".to_owned(), 1.0),
            _ => (title.clone(), 1.0),
        };
        let heading = title.chars().next().map(|first| first.to_uppercase().chain(title.chars().skip(1)).collect::<String>());
        let value = |row: &Row| Metrics::get(&row.metrics, name).map(|value| factor * value);
        figures.extend(by_split(run, &heading.unwrap_or_default(), &axis, false, value));
    }
    figures.extend(one(run, "Learning rate", "learning rate of the last step", |row| Some(row.learning_rate)));
    figures.extend(lambdas(run));
    figures.extend(one(run, "Effective parameters", "γ", |row| row.gamma));
    figures.extend(one(run, "Evidence", "ln p(data | λ) (nats)", |row| row.log_evidence));
    figures.extend(one(run, "Squared norm of the penalized weights", "‖w‖²", |row| Some(row.weight_norm_squared)));
    if run.rows.iter().any(|row| row.zero_weights.is_some_and(|zeros| zeros > 0.0)) {
        figures.extend(zeros(run));
    }
    figures
}

fn points(run: &RunFiles, split: Split, value: impl Fn(&Row) -> Option<f64>) -> Vec<[f64; 2]> {
    run.rows_of(split).filter_map(|row| Some([row.epoch as f64, value(row)?])).filter(|point| point[1].is_finite()).collect()
}

/// The axis of epochs.
pub(super) fn epochs(values: impl IntoIterator<Item = f64>) -> Axis {
    Axis { title: "epoch".to_owned(), scale: Scale::whole(values) }
}

/// A plot over the epochs of the series that have points. Returns `None` without any.
pub(super) fn over_epochs(title: &str, axis: &str, may_be_log: bool, series: Vec<Series>) -> Option<Plot> {
    let series: Vec<Series> = series.into_iter().filter(|series| !series.points.is_empty()).collect();
    let values: Vec<f64> = series.iter().flat_map(|series| series.points.iter().map(|point| point[1])).collect();
    if values.is_empty() {
        return None;
    }
    let scale = if may_be_log { Scale::fitting(&values) } else { Scale::linear(values) };
    let x = epochs(series.iter().flat_map(|series| series.points.iter().map(|point| point[0])));
    Some(Plot { series, ..Plot::new(title, x, Axis { title: axis.to_owned(), scale }) })
}

/// A plot of both splits, with the best and the last epoch.
fn by_split(run: &RunFiles, title: &str, axis: &str, may_be_log: bool, value: impl Fn(&Row) -> Option<f64>) -> Option<Markup> {
    let series = [("train", Split::Train, SeriesStyle::Line(0)), ("validation", Split::Validation, SeriesStyle::Dashed(1))]
        .map(|(name, split, style)| Series { name: name.to_owned(), style, points: points(run, split, &value) });
    let mut plot = over_epochs(title, axis, may_be_log, series.into())?;
    mark(run, &mut plot);
    Some(plot.figure())
}

/// Marks the best and the last epoch.
pub(super) fn mark(run: &RunFiles, plot: &mut Plot) {
    match (run.best_epoch(), run.last_epoch()) {
        (Some(best), Some(last)) if best == last => plot.rules.push(Rule::X(best as f64, "best and last".to_owned())),
        (Some(best), Some(last)) => plot.rules.extend([Rule::X(best as f64, "best".to_owned()), Rule::X(last as f64, "last".to_owned())]),
        _ => {}
    }
}

/// A plot of a value that both splits share.
fn one(run: &RunFiles, title: &str, axis: &str, value: impl Fn(&Row) -> Option<f64>) -> Option<Markup> {
    let series = Series { name: String::new(), style: SeriesStyle::Line(0), points: points(run, Split::Train, value) };
    Some(over_epochs(title, axis, true, vec![series])?.figure())
}

fn lambdas(run: &RunFiles) -> Option<Markup> {
    let title = if run.penalties().len() > 1 { "λ of each penalty" } else { "λ" };
    let series = run.penalties().iter().enumerate().map(|(index, label)| {
        let style = if index % 2 == 0 { SeriesStyle::Line(index) } else { SeriesStyle::Dashed(index) };
        Series { name: label.clone(), style, points: points(run, Split::Train, |row| row.lambdas.get(index).copied()) }
    });
    Some(over_epochs(title, "λ of the last step", true, series.collect())?.figure())
}

fn zeros(run: &RunFiles) -> Option<Markup> {
    let percent = |value: Option<f64>| value.map(|value| 100.0 * value);
    let weights = points(run, Split::Train, |row| percent(row.zero_weights));
    let channels = points(run, Split::Train, |row| percent(row.zero_channels));
    let series = vec![
        Series { name: "weights".to_owned(), style: SeriesStyle::Line(0), points: weights },
        Series { name: "output channels and units".to_owned(), style: SeriesStyle::Dashed(1), points: channels },
    ];
    Some(over_epochs("Weights that are exactly 0", "fraction that is 0 (%)", false, series)?.figure())
}
