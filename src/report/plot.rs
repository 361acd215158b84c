//! A figure of lines, steps and intervals with two axes, as SVG.
//!
//! Colours are classes that the style sheet of the page defines, for light and for dark. Every figure has a text alternative that says what it shows.

use std::fmt::Write;

use maud::{Markup, html};

use super::legend::legend;
use super::scale::Scale;
use crate::numbers::short;

/// Size and margins in units that are pixels on a screen of 400.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 258.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 40.0;
/// The number of colours.
pub(super) const COLOURS: usize = 6;
/// The largest number of points that are drawn as dots.
const DOTS: usize = 40;

/// A figure with two axes.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
    /// The entries of the legend. Empty: one for each series with a name.
    pub(super) legend: Vec<(SeriesStyle, String)>,
    /// Ranges along x.
    pub(super) bands: Vec<Band>,
    /// Vertical and horizontal lines.
    pub(super) rules: Vec<Rule>,
    /// A sentence below the figure, and in its text alternative.
    pub(super) note: String,
}

/// An axis: its name with the unit, and its scale.
pub(super) struct Axis {
    pub(super) title: String,
    pub(super) scale: Scale,
}

/// Points that belong together.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) style: SeriesStyle,
    /// In the order of x.
    pub(super) points: Vec<[f64; 2]>,
}

/// How a series is drawn.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum SeriesStyle {
    /// A line of a colour.
    Line(usize),
    /// A dashed line of a colour.
    Dashed(usize),
    /// A line that goes up and down at the points only.
    Steps(usize),
    /// Large dots without a line.
    Dots(usize),
    /// Rings around dots.
    Rings(usize),
    /// Thin vertical lines: pairs of points of the same x.
    Thin(usize),
    /// Thick vertical lines: pairs of points of the same x.
    Thick(usize),
    /// Bars from 0 of this width.
    Bars(usize, f64),
}

/// Ranges along x of one meaning, each from its lowest to its highest x.
#[derive(Clone)]
pub(super) struct Band {
    pub(super) name: String,
    pub(super) ranges: Vec<[f64; 2]>,
}

/// A line across the figure.
pub(super) enum Rule {
    /// At an x, with a label.
    X(f64, String),
    /// At a y.
    Y(f64),
    /// From corner to corner.
    Diagonal,
}

impl SeriesStyle {
    pub(super) fn colour(self) -> usize {
        let (Self::Line(index)
        | Self::Dashed(index)
        | Self::Steps(index)
        | Self::Dots(index)
        | Self::Rings(index)
        | Self::Thin(index)
        | Self::Thick(index)
        | Self::Bars(index, _)) = self;
        index % COLOURS
    }
}

impl Plot {
    /// A plot without series.
    pub(super) fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self {
            title: title.into(),
            x,
            y,
            series: Vec::new(),
            legend: Vec::new(),
            bands: Vec::new(),
            rules: Vec::new(),
            note: String::new(),
        }
    }

    fn x(&self, value: f64) -> Option<f64> {
        Some(LEFT + self.x.scale.share(value)? * (WIDTH - LEFT - RIGHT))
    }

    fn y(&self, value: f64) -> Option<f64> {
        Some(HEIGHT - BOTTOM - self.y.scale.share(value)? * (HEIGHT - TOP - BOTTOM))
    }

    /// The figure.
    pub(super) fn figure(&self) -> Markup {
        html! {
            figure {
                figcaption { (self.title) }
                svg role="img" aria-label=(self.in_words()) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } {
                    @for range in self.bands.iter().flat_map(|band| &band.ranges) { (self.band(*range)) }
                    (self.axes())
                    @for series in &self.series { (self.series(series)) }
                    @for rule in &self.rules { (self.rule(rule)) }
                }
                (legend(self))
                @if !self.note.is_empty() { p class="note" { (self.note) } }
            }
        }
    }

    /// What the figure shows, for those who do not see it.
    fn in_words(&self) -> String {
        let spacing = |axis: &Axis| if axis.scale.is_log() { " (logarithmic)" } else { "" };
        let mut words = format!("{}: {}{} by {}{}.", self.title, self.y.title, spacing(&self.y), self.x.title, spacing(&self.x));
        for series in self.series.iter().filter(|series| !matches!(series.style, SeriesStyle::Thin(_) | SeriesStyle::Thick(_))) {
            let finite: Vec<[f64; 2]> = series.points.iter().copied().filter(|point| point[1].is_finite()).collect();
            let (Some(first), Some(last)) = (finite.first(), finite.last()) else { continue };
            let by_value = |one: &&[f64; 2], other: &&[f64; 2]| one[1].total_cmp(&other[1]);
            let (Some(low), Some(high)) = (finite.iter().min_by(by_value), finite.iter().max_by(by_value)) else { continue };
            let name = if series.name.is_empty() { &self.y.title } else { &series.name };
            let at = |point: &[f64; 2]| format!("{} at {}", short(point[1]), short(point[0]));
            if finite.len() == 1 {
                let _ = write!(words, " {name}: {}.", at(first));
            } else {
                let _ = write!(words, " {name}: from {} to {}, lowest {}, highest {}.", at(first), at(last), at(low), at(high));
            }
        }
        for series in self.series.iter().filter(|series| matches!(series.style, SeriesStyle::Thin(_) | SeriesStyle::Thick(_))) {
            let range = |ends: &[[f64; 2]]| format!("{} to {} at {}", short(ends[0][1]), short(ends[1][1]), short(ends[0][0]));
            let ranges: Vec<String> = series.points.chunks_exact(2).map(range).collect();
            if !ranges.is_empty() {
                let _ = write!(words, " {}: {}.", series.name, ranges.join(", "));
            }
        }
        for rule in &self.rules {
            if let Rule::X(value, label) = rule {
                let _ = write!(words, " {label}: {}.", short(*value));
            }
        }
        for band in &self.bands {
            let range = |ends: &[f64; 2]| {
                let [from, to] = ends.map(short);
                if from == to { format!("at {from}") } else { format!("from {from} to {to}") }
            };
            let _ = write!(words, " {}: {}.", band.name, band.ranges.iter().map(range).collect::<Vec<_>>().join(", "));
        }
        if self.note.is_empty() { words } else { format!("{words} {}", self.note) }
    }

    fn axes(&self) -> Markup {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let x_ticks = self.x.scale.ticks().into_iter().filter_map(|tick| Some((self.x(tick.value)?, tick.label)));
        let y_ticks = self.y.scale.ticks().into_iter().filter_map(|tick| Some((self.y(tick.value)?, tick.label)));
        // A label of so many letters would reach its neighbour.
        let mut end = f64::NEG_INFINITY;
        let x_ticks = x_ticks.map(|(x, label)| {
            let half = 3.2 * label.chars().count() as f64;
            let fits = x - half > end + 3.0;
            end = if fits { x + half } else { end };
            (x, if fits { label } else { String::new() })
        });
        html! {
            @for (y, label) in y_ticks {
                path class="grid" d={ "M" (LEFT) " " (place(y)) "H" (right) } {}
                text class="end" x=(LEFT - 6.0) y=(place(y + 4.0)) { (label) }
            }
            @for (x, label) in x_ticks {
                path class="axis" d={ "M" (place(x)) " " (bottom) "v4" } {}
                text class="middle" x=(place(x)) y=(bottom + 16.0) { (label) }
            }
            path class="axis" d={ "M" (LEFT) " " (TOP) "V" (bottom) "H" (right) } {}
            text class="middle title" x=(place(f64::midpoint(LEFT, right))) y=(HEIGHT - 6.0) { (self.x.title) }
            text class="title" x="4" y="12" { (self.y.title) }
        }
    }

    fn band(&self, [from, to]: [f64; 2]) -> Markup {
        let (Some(from), Some(to)) = (self.x(from), self.x(to)) else { return html! {} };
        // A band of one value is seen, too.
        let (from, to) = if to - from < 6.0 { (from - 3.0, to + 3.0) } else { (from, to) };
        html! { rect class="band" x=(place(from)) y=(TOP) width=(place(to - from)) height=(HEIGHT - TOP - BOTTOM) {} }
    }

    fn rule(&self, rule: &Rule) -> Markup {
        match rule {
            Rule::X(value, label) => {
                let Some(x) = self.x(*value) else { return html! {} };
                let class = self.anchor(x, label);
                html! {
                    path class="rule" d={ "M" (place(x)) " " (TOP - 3.0) "V" (HEIGHT - BOTTOM) } {}
                    text class=(class) x=(place(if class == "note end" { x + 3.0 } else { x })) y=(TOP - 6.0) { (label) }
                }
            }
            Rule::Y(value) => {
                let Some(y) = self.y(*value) else { return html! {} };
                html! { path class="rule" d={ "M" (LEFT) " " (place(y)) "H" (WIDTH - RIGHT) } {} }
            }
            Rule::Diagonal => {
                html! { path class="rule" d={ "M" (LEFT) " " (HEIGHT - BOTTOM) "L" (WIDTH - RIGHT) " " (TOP) } {} }
            }
        }
    }

    /// Where the label above a vertical line is: in its middle, or beside it where another label or the end of the figure is near.
    fn anchor(&self, x: f64, label: &str) -> &'static str {
        let half = 3.0 * label.chars().count() as f64;
        let others =
            self.rules.iter().filter_map(|rule| if let Rule::X(value, label) = rule { Some((self.x(*value)?, label)) } else { None });
        let near =
            others.filter(|(other, name)| (other - x).abs() > 0.01 && (other - x).abs() < half + 3.0 * name.chars().count() as f64 + 6.0);
        match near.map(|(other, _)| other).next() {
            Some(other) if other > x => "note end",
            Some(_) => "note",
            None if x + half > WIDTH => "note end",
            // Else it covers the label of the y axis.
            None if x - half < LEFT => "note",
            None => "note middle",
        }
    }

    fn series(&self, series: &Series) -> Markup {
        let placed: Vec<[f64; 2]> = series.points.iter().filter_map(|point| Some([self.x(point[0])?, self.y(point[1])?])).collect();
        let colour = series.style.colour();
        let has_dots = match series.style {
            SeriesStyle::Line(_) | SeriesStyle::Dashed(_) => placed.len() <= DOTS,
            SeriesStyle::Dots(_) | SeriesStyle::Rings(_) => true,
            _ => false,
        };
        let (class, radius) = match series.style {
            SeriesStyle::Rings(_) => ("ring", 7.0),
            SeriesStyle::Dots(_) => ("dot", 4.0),
            _ => ("dot", 2.2),
        };
        html! {
            @match series.style {
                SeriesStyle::Line(_) => path class={ "line c" (colour) } d=(line(&placed)) {},
                SeriesStyle::Dashed(_) => path class={ "line dashed c" (colour) } d=(line(&placed)) {},
                SeriesStyle::Steps(_) => path class={ "line c" (colour) } d=(steps(&placed)) {},
                SeriesStyle::Thin(_) => path class={ "line c" (colour) } d=(pairs(&placed)) {},
                SeriesStyle::Thick(_) => path class={ "line thick c" (colour) } d=(pairs(&placed)) {},
                SeriesStyle::Bars(_, width) => path class={ "area c" (colour) } d=(self.bars(series, width)) {},
                SeriesStyle::Dots(_) | SeriesStyle::Rings(_) => {},
            }
            @if has_dots {
                @for (point, place) in series.points.iter().filter(|point| self.x(point[0]).is_some() && self.y(point[1]).is_some()).zip(&placed) {
                    circle class={ (class) " c" (colour) } cx=(self::place(place[0])) cy=(self::place(place[1])) r=(radius) {
                        title { (series.name) " " (short(point[1])) " at " (short(point[0])) }
                    }
                }
            }
        }
    }

    fn bars(&self, series: &Series, width: f64) -> String {
        let mut path = String::new();
        for [x, y] in &series.points {
            let corners = (self.x(x - width / 2.0), self.x(x + width / 2.0), self.y(*y), self.y(0.0));
            let (Some(left), Some(right), Some(top), Some(bottom)) = corners else { continue };
            let _ = write!(path, "M{} {}H{}V{}H{}Z", place(left), place(bottom), place(right), place(top), place(left));
        }
        path
    }
}

/// A coordinate with one decimal.
fn place(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

fn line(points: &[[f64; 2]]) -> String {
    let mut path = String::new();
    for (index, [x, y]) in points.iter().enumerate() {
        let _ = write!(path, "{}{} {}", if index == 0 { 'M' } else { 'L' }, place(*x), place(*y));
    }
    path
}

/// Horizontal to the x of the next point, then vertical.
fn steps(points: &[[f64; 2]]) -> String {
    let mut path = String::new();
    for (index, [x, y]) in points.iter().enumerate() {
        let _ = if index == 0 { write!(path, "M{} {}", place(*x), place(*y)) } else { write!(path, "H{}V{}", place(*x), place(*y)) };
    }
    path
}

/// A line from every other point to the one after it.
fn pairs(points: &[[f64; 2]]) -> String {
    points.chunks_exact(2).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_says_what_it_shows() {
        let axis = |title: &str, values: &[f64]| Axis { title: title.to_owned(), scale: Scale::linear(values.iter().copied()) };
        let mut plot = Plot::new("Loss", axis("epoch", &[1.0, 3.0]), axis("nats", &[0.5, 2.0]));
        plot.series.push(Series {
            name: "train".to_owned(),
            style: SeriesStyle::Line(0),
            points: vec![[1.0, 2.0], [2.0, 0.5], [3.0, 1.0]],
        });
        plot.rules.push(Rule::X(2.0, "best".to_owned()));
        plot.bands.push(Band { name: "near".to_owned(), ranges: vec![[1.0, 2.0], [3.0, 3.0]] });
        let words = "Loss: nats by epoch. train: from 2 at 1 to 1 at 3, lowest 0.5 at 2, highest 2 at 1. best: 2. near: from 1 to 2, at 3.";
        assert_eq!(plot.in_words(), words);
        let figure = plot.figure().into_string();
        assert!(figure.contains(&format!("role=\"img\" aria-label=\"{words}\"")), "{figure}");
        assert_eq!(figure.matches("<rect class=\"band\"").count(), 3, "two ranges, and one in the legend: {figure}");
        // A third of the way from 0 to 3 with 2 at the top, to the right end.
        assert!(figure.contains("d=\"M161.3 34L268.7 172L376 126\""), "{figure}");
    }

    #[test]
    fn a_label_at_the_y_axis_is_beside_its_line() {
        let axis = |values: [f64; 2]| Axis { title: String::new(), scale: Scale::linear(values) };
        let label = |x: f64| {
            let mut plot = Plot::new("", axis([0.0, 10.0]), axis([0.0, 1.0]));
            plot.rules.push(Rule::X(x, "chosen".to_owned()));
            plot.figure().into_string()
        };
        // The labels of the y axis end at 48, the axis is at 54 and the figure ends at 400.
        assert!(label(0.0).contains("<text class=\"note\" x=\"54\" y=\"28\">chosen</text>"), "{}", label(0.0));
        assert!(label(5.0).contains("<text class=\"note middle\" x=\"215\" y=\"28\">chosen</text>"), "{}", label(5.0));
    }

    #[test]
    fn names_are_escaped() {
        let axis = || Axis { title: "<a>".to_owned(), scale: Scale::linear([0.0]) };
        let mut plot = Plot::new("<script>", axis(), axis());
        let series = |name: &str| Series { name: name.to_owned(), style: SeriesStyle::Dots(0), points: vec![[0.0, 0.0]] };
        plot.series = vec![series("\"<b>"), series("&")];
        let figure = plot.figure().into_string();
        assert!(
            !figure.contains("<script>") && !figure.contains("<a>") && !figure.contains("<b>") && figure.contains("&lt;script&gt;"),
            "{figure}"
        );
    }
}
