//! The legend below a figure.

use maud::{Markup, html};

use super::plot::{Plot, SeriesStyle};

/// The legend of a plot: its own entries, or one for each series with a name; then its bands. Empty without any.
pub(super) fn legend(plot: &Plot) -> Markup {
    let of_series = plot.series.iter().filter(|series| !series.name.is_empty()).map(|series| (series.style, &series.name));
    let own = plot.legend.iter().map(|(style, name)| (*style, name));
    let entries: Vec<(SeriesStyle, &String)> = if plot.legend.is_empty() { of_series.collect() } else { own.collect() };
    html! {
        @if !entries.is_empty() || !plot.bands.is_empty() {
            ul class="legend" aria-hidden="true" {
                @for (style, name) in entries { li { (swatch(style)) (name) } }
                @for band in &plot.bands { li { svg viewBox="0 0 24 10" { rect class="band" width="24" height="10" {} } (band.name) } }
            }
        }
    }
}

/// The line of a series in a legend.
fn swatch(style: SeriesStyle) -> Markup {
    let colour = style.colour();
    html! {
        svg viewBox="0 0 24 10" {
            @match style {
                SeriesStyle::Line(_) | SeriesStyle::Steps(_) | SeriesStyle::Thin(_) => path class={ "line c" (colour) } d="M0 5H24" {},
                SeriesStyle::Dashed(_) => path class={ "line dashed c" (colour) } d="M0 5H24" {},
                SeriesStyle::Thick(_) => path class={ "line thick c" (colour) } d="M0 5H24" {},
                SeriesStyle::Dots(_) => circle class={ "dot c" (colour) } cx="12" cy="5" r="4.5" {},
                SeriesStyle::Rings(_) => circle class={ "ring c" (colour) } cx="12" cy="5" r="4" {},
                SeriesStyle::Bars(..) => rect class={ "area c" (colour) } width="24" height="10" {},
            }
        }
    }
}
