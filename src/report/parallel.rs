//! Parallel coordinates: a line for each trial through its values of every searched key.

use std::fmt::Write;

use maud::{Markup, html};

use super::scale::Scale;
use super::sweep_figures::short_unit;
use super::sweep_files::SweepFiles;
use crate::numbers::setting;
use crate::search::{TrialSummary, criterion_title};

/// Height of the axes and margins.
const HEIGHT: f64 = 220.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 12.0;
const SIDE: f64 = 84.0;
/// Between two axes.
const GAP: f64 = 150.0;

/// An axis with the place of each trial from 0 at the bottom to 1, and its labels.
struct Coordinate {
    title: String,
    places: Vec<Option<f64>>,
    labels: Vec<(f64, String)>,
}

/// The figure of a sweep over several keys. Returns `None` for one key.
pub(super) fn parallel(sweep: &SweepFiles) -> Option<Markup> {
    let (plan, study) = (&sweep.plan, &sweep.study);
    if plan.space.len() < 2 {
        return None;
    }
    let keys = plan.space.iter().map(|dimension| {
        let values: Vec<Option<&toml::Value>> = (0..plan.trials.len()).map(|trial| plan.setting(trial, &dimension.key)).collect();
        of_values(&dimension.key, &values)
    });
    let losses: Vec<Option<f64>> = study.trials.iter().map(|trial| Some(trial.comparison?.mean)).collect();
    let known: Vec<f64> = losses.iter().flatten().copied().collect();
    let scale = Scale::fitting(&known);
    let criterion = of_scale(&format!("{} ({})", criterion_title(study.criterion), short_unit(sweep)), &scale, &losses);
    let all: Vec<Coordinate> = keys.chain([criterion]).collect();
    let width = 2.0 * SIDE + GAP * (all.len() - 1) as f64;
    let mut ranked: Vec<f64> = known;
    ranked.sort_by(f64::total_cmp);
    let quarter = ranked.get(ranked.len() / 4).copied().unwrap_or(f64::INFINITY);
    let class = |trial: &TrialSummary| match trial.comparison {
        _ if Some(trial.trial) == study.chosen => "line c1",
        Some(found) if found.mean <= quarter => "line c0",
        _ => "line faint c4",
    };
    // The chosen one is drawn last.
    let mut order: Vec<&TrialSummary> = study.trials.iter().collect();
    order.sort_by_key(|trial| (Some(trial.trial) == study.chosen, trial.comparison.is_some_and(|found| found.mean <= quarter)));
    let titles: Vec<&str> = all.iter().map(|axis| axis.title.as_str()).collect();
    let chosen = study.trials.iter().find(|trial| Some(trial.trial) == study.chosen).map(|trial| {
        let settings: Vec<String> = trial.settings.iter().map(|(key, value)| format!("{key} {}", setting(value))).collect();
        format!(" The chosen one has {}.", settings.join(", "))
    });
    let words = format!("{} trials as lines through {}.{}", study.trials.len(), titles.join(", "), chosen.unwrap_or_default());
    Some(html! {
        figure class="wide" {
            figcaption { "Trials by all keys" }
            div class="scroll" tabindex="0" role="region" aria-label="Trials by all keys" {
                svg role="img" aria-label=(words) style={ "min-width:" (width) "px;max-width:" (width * 1.1) "px" } viewBox={ "0 0 " (width) " " (HEIGHT + TOP + BOTTOM) } {
                    @for trial in order { path class=(class(trial)) d=(line(&all, trial.trial)) {} }
                    @for (index, axis) in all.iter().enumerate() {
                        path class="axis" d={ "M" (x(index)) " " (TOP) "v" (HEIGHT) } {}
                        // Above one another where names are long.
                        text class="middle title" x=(x(index)) y=(if index % 2 == 0 { 12.0 } else { 26.0 }) { (axis.title) }
                        @for (share, label) in &axis.labels { text class="end halo" x=(x(index) - 5.0) y=(format!("{:.1}", y(*share) + 4.0)) { (label) } }
                    }
                }
            }
            ul class="legend" aria-hidden="true" {
                li { svg viewBox="0 0 24 10" { path class="line c1" d="M0 5H24" {} } "chosen" }
                li { svg viewBox="0 0 24 10" { path class="line c0" d="M0 5H24" {} } "best quarter" }
                li { svg viewBox="0 0 24 10" { path class="line faint c4" d="M0 5H24" {} } "others" }
            }
        }
    })
}

fn x(index: usize) -> f64 {
    SIDE + GAP * index as f64
}

fn y(share: f64) -> f64 {
    TOP + HEIGHT * (1.0 - share)
}

/// A gap where a key does not apply to the trial.
fn line(axes: &[Coordinate], trial: usize) -> String {
    let mut path = String::new();
    let mut is_open = false;
    for (index, axis) in axes.iter().enumerate() {
        match axis.places.get(trial).copied().flatten() {
            Some(share) => {
                let _ = write!(path, "{}{} {:.1}", if is_open { 'L' } else { 'M' }, x(index), y(share));
                is_open = true;
            }
            None => is_open = false,
        }
    }
    path
}

fn of_values(title: &str, values: &[Option<&toml::Value>]) -> Coordinate {
    let number = |value: &toml::Value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
    let numbers: Vec<Option<f64>> = values.iter().map(|value| value.and_then(number)).collect();
    if values.iter().zip(&numbers).all(|(value, number)| value.is_none() || number.is_some()) {
        let known: Vec<f64> = numbers.iter().flatten().copied().collect();
        let positive = known.iter().copied().filter(|value| *value > 0.0);
        let (low, high) = positive.fold((f64::INFINITY, 0.0), |(low, high), value| (f64::min(low, value), f64::max(high, value)));
        let scale = if high > 8.0 * low { Scale::log(known) } else { Scale::linear(known) };
        return of_scale(title, &scale, &numbers);
    }
    let words: Vec<Option<String>> = values.iter().map(|value| value.map(setting)).collect();
    let mut distinct: Vec<&String> = Vec::new();
    for word in words.iter().flatten() {
        if !distinct.contains(&word) {
            distinct.push(word);
        }
    }
    let place = |at: usize| if distinct.len() > 1 { at as f64 / (distinct.len() - 1) as f64 } else { 0.5 };
    let places = words.iter().map(|word| distinct.iter().position(|known| Some(*known) == word.as_ref()).map(place)).collect();
    let labels = distinct.iter().enumerate().map(|(at, word)| (place(at), (*word).clone())).collect();
    Coordinate { title: title.to_owned(), places, labels }
}

fn of_scale(title: &str, scale: &Scale, values: &[Option<f64>]) -> Coordinate {
    let places = values.iter().map(|value| scale.share((*value)?)).collect();
    let labels = scale.ticks().into_iter().filter_map(|tick| Some((scale.share(tick.value)?, tick.label))).collect();
    Coordinate { title: title.to_owned(), places, labels }
}
