//! Curves over the epochs, as they fit on a terminal.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType};

use super::state::State;
use crate::numbers::{brief, is_fraction, metric_title, short};
use crate::train::{Row, Split};

/// The ratio of the largest to the smallest value from which a scale is logarithmic.
const WIDE: f64 = 20.0;

/// A figure with its lines.
pub(super) struct Curves {
    title: String,
    /// The factor of labels, such as 100 for percent.
    factor: f64,
    may_be_log: bool,
    lines: Vec<(&'static str, Vec<(f64, f64)>)>,
}

/// The figures of a training that have points, the most important first.
pub(super) fn all(state: &State) -> Vec<Curves> {
    let current = |index: usize| state.current.iter().map(move |point| (point[0], point[index]));
    let points = |split: Split, value: &dyn Fn(&Row) -> Option<f64>| -> Vec<(f64, f64)> {
        state.rows.iter().filter(|row| row.split == split).filter_map(|row| Some((row.epoch as f64, value(row)?))).collect()
    };
    let train = |index: usize, value: &dyn Fn(&Row) -> Option<f64>| {
        points(Split::Train, value).into_iter().chain(current(index)).collect::<Vec<_>>()
    };
    let mut figures = vec![Curves {
        title: "data loss".to_owned(),
        factor: 1.0,
        may_be_log: true,
        lines: vec![("train", train(1, &|row| Some(row.data_loss))), ("validation", points(Split::Validation, &|row| Some(row.data_loss)))],
    }];
    if !state.penalties.is_empty() {
        let lines = vec![("penalty", train(2, &|row| Some(row.penalty)))];
        figures.push(Curves { title: "penalty".to_owned(), factor: 1.0, may_be_log: true, lines });
    }
    let names = state.rows.last().map(|row| brief(&row.metrics, state.best_by).into_keys().collect::<Vec<_>>()).unwrap_or_default();
    for name in names {
        let is_share = is_fraction(&name);
        let title = if is_share { format!("{}, %", metric_title(&name)) } else { metric_title(&name) };
        let value = |row: &Row| row.metrics.get(&name).copied();
        let lines = vec![("train", points(Split::Train, &value)), ("validation", points(Split::Validation, &value))];
        figures.push(Curves { title, factor: if is_share { 100.0 } else { 1.0 }, may_be_log: false, lines });
    }
    for (index, label) in state.penalties.iter().enumerate() {
        let line = points(Split::Train, &|row| row.lambdas.get(index).copied());
        // A constant λ is a number beside the measures.
        if line.iter().any(|point| point.1.to_bits() != line[0].1.to_bits()) {
            figures.push(Curves { title: format!("λ ({label})"), factor: 1.0, may_be_log: true, lines: vec![("λ", line)] });
        }
    }
    figures
}

impl Curves {
    /// Draws the figure.
    pub(super) fn draw(&self, frame: &mut Frame, area: Rect, has_colours: bool) {
        let finite = |points: &[(f64, f64)]| points.iter().copied().filter(|point| point.1.is_finite()).collect::<Vec<_>>();
        let lines: Vec<(&str, Vec<(f64, f64)>)> = self.lines.iter().map(|(name, points)| (*name, finite(points))).collect();
        let values: Vec<f64> = lines.iter().flat_map(|(_, points)| points.iter().map(|point| point.1)).collect();
        let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
        let is_log = self.may_be_log && low > 0.0 && high > WIDE * low;
        let place = |value: f64| if is_log { value.log10() } else { value };
        // One value has a scale around it.
        let (low, high) = match (low, high) {
            _ if values.is_empty() => (0.0, 1.0),
            (low, high) if high - low <= 1e-9 * high.abs() => (low - 0.5 * low.abs().max(1e-9), high + 0.5 * high.abs().max(1e-9)),
            ends => ends,
        };
        let placed: Vec<Vec<(f64, f64)>> = lines
            .iter()
            .map(|(_, points)| thinned(points, usize::from(area.width) * 2).map(|(epoch, value)| (epoch, place(value))).collect())
            .collect();
        let looks = [(Marker::Braille, Color::Cyan), (Marker::Dot, Color::Magenta)];
        let style = |colour: Color| if has_colours { Style::new().fg(colour) } else { Style::new() };
        let datasets = placed.iter().zip(looks).map(|(points, (marker, colour))| {
            Dataset::default()
                .marker(marker)
                .graph_type(if marker == Marker::Braille { GraphType::Line } else { GraphType::Scatter })
                .style(style(colour))
                .data(points)
        });
        let middle = if is_log { (low * high).sqrt() } else { f64::midpoint(low, high) };
        let labels = [low, middle, high].map(|value| Span::raw(short(rounded(self.factor * value))));
        let last = lines.iter().filter_map(|(_, points)| points.last()).fold(1.0_f64, |last, point| last.max(point.0));
        let first = lines.iter().filter_map(|(_, points)| points.first()).fold(last, |first, point| first.min(point.0));
        let first = if last - first < 1e-9 { 0.0 } else { first };
        let mut title = vec![Span::styled(self.title.clone(), Style::new().bold())];
        if self.lines.len() > 1 {
            for ((name, _), (marker, colour)) in self.lines.iter().zip(looks).filter(|((_, points), _)| !points.is_empty()) {
                title.push(Span::styled(format!("  {} {name}", if marker == Marker::Braille { "─" } else { "•" }), style(colour)));
            }
        }
        if is_log {
            title.push(Span::raw("  (log)"));
        }
        let x_labels = [Span::raw(short(first.round())), Span::raw(format!("epoch {}", short(last.round())))];
        let chart = Chart::new(datasets.collect())
            .block(Block::new().title(Line::from(title)))
            .x_axis(Axis::default().bounds([first, last]).labels(x_labels))
            .y_axis(Axis::default().bounds([place(low), place(high)]).labels(labels));
        frame.render_widget(chart, area);
    }
}

/// A number with three digits.
fn rounded(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

/// At most `count` points, evenly by their index, with the last.
fn thinned(points: &[(f64, f64)], count: usize) -> impl Iterator<Item = (f64, f64)> {
    let step = points.len().div_ceil(count.max(1)).max(1);
    let last = points.len().saturating_sub(1);
    points.iter().enumerate().filter(move |(index, _)| index % step == 0 || *index == last).map(|(_, point)| *point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_points_are_thinned_and_the_last_stays() {
        let points: Vec<(f64, f64)> = (0..1001).map(|index| (f64::from(index), 0.0)).collect();
        let thin: Vec<f64> = thinned(&points, 100).map(|point| point.0).collect();
        assert!(thin.len() <= 101 && thin[..2] == [0.0, 11.0] && thin.last() == Some(&1000.0), "{thin:?}");
        assert_eq!(thinned(&points[..3], 100).count(), 3);
        assert_eq!([0.123_45, 98.766, 1234.5].map(|value| rounded(value).to_string()), ["0.123", "98.8", "1230"]);
    }
}
