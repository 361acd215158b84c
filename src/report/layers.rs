//! The weights of each layer: ‖w‖² over the epochs, and histograms.

use maud::{Markup, html};
use regulus_model::graph::{Parameter, Role};

use super::curves::{mark, over_epochs};
use super::page::{details, figures, table, text};
use super::plot::{Axis, Plot, Series, SeriesStyle};
use super::run_files::RunFiles;
use super::scale::Scale;
use crate::numbers::{grouped, magnitude, percent, short};
use crate::run::{WeightStatistics, WeightsRow};

/// The largest number of layers with a line or a histogram.
const SHOWN: usize = 12;

/// The section of weights; empty without `weights.jsonl`.
pub(super) fn layers(run: &RunFiles) -> Markup {
    let Some(last) = run.weights.last() else { return html! {} };
    let kernels: Vec<&Parameter> = run.manifest.graph.parameters().filter(|parameter| parameter.role == Role::Kernel).collect();
    let squares = |parameter: &Parameter| last.parameters.get(&parameter.name).map_or(0.0, |found| found.squares);
    let mut shown = kernels.clone();
    shown.sort_by(|one, other| squares(other).total_cmp(&squares(one)));
    shown.truncate(SHOWN);
    // In the order of the network.
    shown = kernels.iter().copied().filter(|parameter| shown.contains(parameter)).collect();
    let note = (kernels.len() > SHOWN)
        .then(|| format!("The {SHOWN} of {} kernels with the largest ‖w‖² are shown; the table has all.", kernels.len()));
    let moments = Moment::all(run);
    let named: Vec<String> = moments.iter().map(Moment::in_words).collect();
    let named = match named.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => named.concat(),
    };
    html! {
        p { "A kernel is the weights of a convolution or dense layer. The histograms show " (named) "." }
        @if let Some(note) = note { p class="note" { (note) } }
        (figures(&norms(run, &shown).into_iter().chain(shown.iter().filter_map(|parameter| histogram(parameter, &moments))).collect::<Vec<_>>()))
        (details("The weights of each parameter as a table", &all(run, &moments)))
    }
}

/// The weights at one time.
struct Moment<'a> {
    name: &'static str,
    style: SeriesStyle,
    row: &'a WeightsRow,
}

impl<'a> Moment<'a> {
    /// Start, best and end, where they are different epochs.
    fn all(run: &'a RunFiles) -> Vec<Self> {
        let (first, last) = (run.weights.first(), run.weights.last());
        let best = run.best_epoch().and_then(|epoch| run.weights.iter().find(|row| row.epoch == epoch));
        let ends = [("start", SeriesStyle::Steps(4), first), ("best", SeriesStyle::Steps(1), best), ("end", SeriesStyle::Steps(0), last)];
        let mut moments: Vec<Self> = Vec::new();
        for (name, style, row) in ends {
            let Some(row) = row else { continue };
            if name == "best" && last.is_some_and(|last| last.epoch == row.epoch)
                || moments.iter().any(|moment| moment.row.epoch == row.epoch)
            {
                continue;
            }
            moments.push(Self { name, style, row });
        }
        moments
    }

    fn in_words(&self) -> String {
        match (self.name, self.row.epoch) {
            ("start", 0) => "the initial weights (start)".to_owned(),
            (name, epoch) => format!("those after epoch {epoch} ({name})"),
        }
    }
}

fn norms(run: &RunFiles, shown: &[&Parameter]) -> Option<Markup> {
    let series = shown.iter().enumerate().map(|(index, parameter)| {
        let style = if index < super::plot::COLOURS { SeriesStyle::Line(index) } else { SeriesStyle::Dashed(index) };
        let point = |row: &WeightsRow| Some([row.epoch as f64, row.parameters.get(&parameter.name)?.squares]);
        Series { name: parameter.name.clone(), style, points: run.weights.iter().filter_map(point).collect() }
    });
    let mut plot = over_epochs("‖w‖² of each kernel", "‖w‖² = Σ w²", true, series.collect())?;
    mark(run, &mut plot);
    Some(plot.figure())
}

fn histogram(parameter: &Parameter, moments: &[Moment]) -> Option<Markup> {
    let found = |moment: &Moment| {
        let statistics = moment.row.parameters.get(&parameter.name).filter(|found| !found.histogram.is_empty())?;
        Some(Series { name: moment.name.to_owned(), style: moment.style, points: outline(statistics) })
    };
    let series: Vec<Series> = moments.iter().filter_map(found).collect();
    if series.is_empty() {
        return None;
    }
    let of = |axis: usize| series.iter().flat_map(move |series| series.points.iter().map(move |point| point[axis])).collect::<Vec<f64>>();
    let (x, y) = (Scale::linear(of(0)), Scale::linear(of(1)));
    let title = format!("{} ({} weights)", parameter.name, grouped(parameter.size() as u64));
    let mut plot = Plot::new(title, Axis { title: "weight".to_owned(), scale: x }, Axis { title: "density".to_owned(), scale: y });
    let zeros = moments.last().and_then(|moment| moment.row.parameters.get(&parameter.name)).map_or(0.0, |found| found.zeros);
    if zeros > 0.0 {
        plot.note = format!("{} of the weights are exactly 0 at the end.", percent(zeros));
    }
    plot.series = series;
    Some(plot.figure())
}

/// The outline of a histogram as a density. Bins are joined where there are few weights.
fn outline(found: &WeightStatistics) -> Vec<[f64; 2]> {
    let (min, max) = (f64::from(found.min), f64::from(found.max));
    // Equal weights are a peak of some width.
    let (min, max) = if max > min { (min, max) } else { (min - 1e-3, max + 1e-3) };
    let count: u64 = found.histogram.iter().sum();
    let most = 1.5 * (count as f64).sqrt();
    let joined = [1, 2, 4, 5].into_iter().find(|joined| (found.histogram.len() / joined) as f64 <= most).unwrap_or(8);
    let bins: Vec<u64> = found.histogram.chunks(joined).map(|bins| bins.iter().sum()).collect();
    let width = (max - min) / bins.len() as f64;
    // The steps go to the x of a point and then to its y.
    let mut points = vec![[min, 0.0]];
    for (bin, samples) in bins.iter().enumerate() {
        points.push([min + bin as f64 * width, *samples as f64 / (count.max(1) as f64 * width)]);
    }
    points.push([max, 0.0]);
    points
}

fn all(run: &RunFiles, moments: &[Moment]) -> Markup {
    let names = moments.iter().map(|moment| format!("‖w‖², {}", moment.name));
    let header: Vec<String> = ["parameter", "shape", "weights"]
        .map(str::to_owned)
        .into_iter()
        .chain(names)
        .chain(["smallest", "largest", "exactly 0"].map(str::to_owned))
        .collect();
    let trained = run.manifest.graph.parameters().filter(|parameter| parameter.role.is_trained());
    let rows = trained.map(|parameter| {
        let statistics = |moment: &Moment| moment.row.parameters.get(&parameter.name).cloned();
        let squares = moments.iter().map(|moment| statistics(moment).map_or(html! {}, |found| text(magnitude(found.squares))));
        let end = moments.last().and_then(statistics);
        let of_end = |value: &dyn Fn(&WeightStatistics) -> String| end.as_ref().map_or(html! {}, |found| text(value(found)));
        let shape: Vec<String> = parameter.shape.iter().map(ToString::to_string).collect();
        [text(&parameter.name), text(shape.join("×")), text(grouped(parameter.size() as u64))]
            .into_iter()
            .chain(squares)
            .chain([
                of_end(&|found| short(found.min.into())),
                of_end(&|found| short(found.max.into())),
                of_end(&|found| percent(found.zeros)),
            ])
            .collect()
    });
    table("Smallest, largest and zeros are those of the end", 1, &header, rows)
}
