//! The page that compares runs.

use maud::{Markup, html};
use regulus_model::Task;

use super::curves::{loss_unit, over_epochs, penalty_axis};
use super::page::{details, figures, number, page, section, table, text, warning};
use super::plot::{COLOURS, Series, SeriesStyle};
use crate::comparison::{ComparedRun, Figure, PairedDifference, RunComparison, settings_in_words};
use crate::metrics::Metrics;
use crate::numbers::{is_fraction, metric_title, setting};
use crate::train::{Row, Split};

/// The largest number of runs with a style of their own.
const STYLES: usize = 2 * COLOURS;
/// The largest number of runs that an entry of a legend names.
const NAMED: usize = 4;

/// The page of a comparison.
pub(super) fn comparison_page(compared: &RunComparison) -> Markup {
    let content = html! {
        @for found in &compared.warnings { (warning(found)) }
        (section("Final figures", &final_figures(compared)))
        (section("Settings that differ", &settings(compared)))
        (section("Paired differences", &differences(compared)))
        (section("Curves", &curves(compared)))
        (section("Folders", &details("The folder of each run", &folders(compared))))
    };
    let labels: Vec<&str> = compared.runs.iter().map(|run| run.label.as_str()).collect();
    let title = match labels.as_slice() {
        [one, two] => format!("{one} and {two}"),
        [first, .., last] => format!("{} runs: {first} … {last}", labels.len()),
        _ => String::new(),
    };
    page(&title, &format!("Runs compared by Regulus {}", env!("CARGO_PKG_VERSION")), &content)
}

fn header(compared: &RunComparison, first: &str) -> Vec<String> {
    std::iter::once(first.to_owned()).chain(compared.runs.iter().map(|run| run.label.clone())).collect()
}

fn final_figures(compared: &RunComparison) -> Markup {
    let cell = |figure: &Figure, run: usize| {
        let all = || figure.values.iter().flatten().copied();
        let shown = |value: f64| number(&format!("runs.{run}.{}", figure.key), value, &figure.unit.shown(value, all()));
        figure.values[run].map_or_else(|| text("–"), shown)
    };
    let status = std::iter::once(text("status")).chain(compared.runs.iter().map(|run| text(run.status.shown())));
    let rows = compared
        .figures
        .iter()
        .map(|figure| std::iter::once(text(&figure.title)).chain((0..compared.runs.len()).map(|run| cell(figure, run))).collect());
    let rows = std::iter::once(status.collect()).chain(rows);
    table("Measured after training, with the weights of the kept checkpoint", 1, &header(compared, "figure"), rows)
}

fn settings(compared: &RunComparison) -> Markup {
    if compared.settings.is_empty() {
        return html! { p { "All settings are the same." } };
    }
    let value = |value: &Option<toml::Value>| text(value.as_ref().map_or_else(|| "–".to_owned(), setting));
    let rows = compared.settings.iter().map(|(key, values)| std::iter::once(text(key)).chain(values.iter().map(value)).collect());
    table("Keys of the configs with every default; all others are the same", 1, &header(compared, "key"), rows)
}

fn differences(compared: &RunComparison) -> Markup {
    let Some(first) = compared.differences.first() else {
        return html! { p class="note" { "No two runs of the same seed have other settings and final figures." } };
    };
    let header = ["compared runs", "figure", "pairs", "mean difference", "± standard error"].map(str::to_owned);
    let row = |(index, found): (usize, &PairedDifference)| {
        let key = |name: &str| format!("differences.{index}.{name}");
        let (mean, error) = found.unit.difference(found.mean, found.standard_error);
        let error =
            found.standard_error.zip(error).map_or_else(|| text("–"), |(value, shown)| number(&key("standard_error"), value, &shown));
        vec![
            text(settings_in_words(&found.settings)),
            text(&found.title),
            text(found.pairs.len().to_string()),
            number(&key("mean"), found.mean, &mean),
            error,
        ]
    };
    let is_same_reference = compared.differences.iter().all(|other| other.reference == first.reference);
    let reference =
        if is_same_reference { settings_in_words(&first.reference) } else { format!("the settings of {}", compared.runs[0].label) };
    html! {
        (table(&format!("Compared runs minus those of the same seed with {reference}"), 2, &header, compared.differences.iter().enumerate().map(row)))
        p class="note" { "A difference well beyond twice its standard error is hardly chance. One pair has no standard error." }
    }
}

fn curves(compared: &RunComparison) -> Markup {
    let is_classifier = compared.runs[0].task == Task::Classify;
    let unit = loss_unit(is_classifier);
    let loss = format!("data loss ({unit})");
    let mut all = vec![
        curve(compared, "Data loss, train", &loss, true, Split::Train, |row| Some(row.data_loss)),
        curve(compared, "Data loss, validation", &loss, true, Split::Validation, |row| Some(row.data_loss)),
    ];
    let names: std::collections::BTreeSet<&String> =
        compared.runs.iter().flat_map(|run| &run.rows).flat_map(|row| row.metrics.keys()).collect();
    for name in names {
        let title = metric_title(name);
        let (axis, factor) = if is_fraction(name) { (format!("{title} (%)"), 100.0) } else { (title, 1.0) };
        let value = |row: &Row| Metrics::get(&row.metrics, name).map(|value| factor * value);
        all.push(curve(compared, &format!("Validation: {}", metric_title(name)), &axis, false, Split::Validation, value));
    }
    if compared.runs.iter().flat_map(|run| &run.rows).any(|row| row.penalty != 0.0) {
        all.push(curve(compared, "Penalty, apart from the data loss", &penalty_axis(is_classifier), true, Split::Train, |row| {
            Some(row.penalty)
        }));
    }
    let all: Vec<Markup> = all.into_iter().flatten().collect();
    html! {
        @if all.is_empty() { p { "No epoch is complete." } }
        (figures(&all))
        @if has_style_by_settings(compared) {
            p class="note" { "Runs of the same settings have lines of the same style; they differ in seed, split or fold. Point at a dot to see its run." }
        } @else if compared.runs.len() > STYLES { p class="note" { "There are more runs than lines that can be told apart: the colours repeat after " (STYLES) " runs. Point at a dot to see its run." } }
    }
}

/// A curve for each run.
fn curve(
    compared: &RunComparison,
    title: &str,
    axis: &str,
    may_be_log: bool,
    split: Split,
    value: impl Fn(&Row) -> Option<f64>,
) -> Option<Markup> {
    let points = |run: &ComparedRun| {
        let rows = run.rows.iter().filter(|row| row.split == split);
        rows.filter_map(|row| Some([row.epoch as f64, value(row)?])).filter(|point| point[1].is_finite()).collect()
    };
    let series = compared.runs.iter().enumerate().map(|(index, run)| Series {
        name: run.label.clone(),
        style: style(compared, index),
        points: points(run),
    });
    let mut plot = over_epochs(title, axis, may_be_log, series.collect())?;
    if has_style_by_settings(compared) {
        plot.legend = legend(compared, |run| !points(run).is_empty());
    }
    Some(plot.figure())
}

/// An entry for each settings, with the names of their runs. Runs without a curve are left out.
fn legend(compared: &RunComparison, has_curve: impl Fn(&ComparedRun) -> bool) -> Vec<(SeriesStyle, String)> {
    let runs_of = |settings: usize| -> Vec<usize> {
        (0..compared.runs.len()).filter(|run| compared.groups[*run] == settings && has_curve(&compared.runs[*run])).collect()
    };
    let entry = |runs: Vec<usize>| {
        let labels: Vec<&str> = runs.iter().map(|run| compared.runs[*run].label.as_str()).collect();
        let name = match labels.as_slice() {
            [first, _, .., last] if labels.len() > NAMED => format!("{first} … {last} ({} runs of the same settings)", labels.len()),
            [_, _, ..] => format!("{} (same settings)", labels.join(", ")),
            _ => labels.concat(),
        };
        (style(compared, runs[0]), name)
    };
    (0..settings_of(compared)).map(runs_of).filter(|runs| !runs.is_empty()).map(entry).collect()
}

/// The style of a run: where settings have several runs one for each settings, else one for each run.
fn style(compared: &RunComparison, run: usize) -> SeriesStyle {
    let number = if has_style_by_settings(compared) { compared.groups[run] } else { run % STYLES };
    if number < COLOURS { SeriesStyle::Line(number) } else { SeriesStyle::Dashed(number) }
}

/// The number of different settings.
fn settings_of(compared: &RunComparison) -> usize {
    compared.groups.iter().max().map_or(0, |last| last + 1)
}

/// Whether there are several settings, and one of them has several runs.
fn has_style_by_settings(compared: &RunComparison) -> bool {
    (2..=STYLES).contains(&settings_of(compared)) && settings_of(compared) < compared.groups.len()
}

fn folders(compared: &RunComparison) -> Markup {
    let rows = compared.runs.iter().map(|run| vec![text(&run.label), text(run.path.display().to_string())]);
    table("Folders as they were given", 2, &["run", "folder"].map(str::to_owned), rows)
}
