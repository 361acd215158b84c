//! The confusion matrix as a figure, and the most frequent confusions.

use std::fmt::Write;

use maud::{Markup, html};

use super::page::{number, table, text};
use crate::metrics::Classification;
use crate::numbers::{counted, grouped, percent};

/// The largest number of classes whose counts are written into the cells.
const WRITTEN: usize = 12;
/// The largest number of classes with names beside the matrix.
const NAMED: usize = 30;
/// The shades of cells.
const SHADES: usize = 8;
/// The largest number of listed confusions.
const LISTED: usize = 10;
/// The longest name beside the matrix.
const LETTERS: usize = 14;
/// The size of the matrix.
const SIDE: f64 = 320.0;

/// The matrix.
pub(super) fn matrix(measures: &Classification, names: &[String]) -> Markup {
    let count = measures.confusion.len();
    if count == 0 {
        return html! {};
    }
    let short: Vec<String> = names.iter().map(|name| shortened(name)).collect();
    let longest = short.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let left = if count <= NAMED { 26.0 + 6.2 * longest as f64 } else { 44.0 };
    let (cell, bottom) = (SIDE / count as f64, if count <= NAMED { 24.0 + 6.0 * longest as f64 } else { 34.0 });
    let (width, height) = (left + SIDE + 6.0, SIDE + bottom + 6.0);
    let font = (cell * 0.5).clamp(4.0, 11.5);
    html! {
        figure class="square" {
            figcaption { "Confusion matrix" }
            svg role="img" aria-label=(in_words(measures, names)) viewBox={ "0 0 " (width.round()) " " (height.round()) } {
                g transform={ "translate(" (left.round()) " 4)" } {
                    (shades(measures, cell))
                    path class="axis" d={ "M0 0H" (SIDE) "V" (SIDE) "H0Z" } {}
                    @if count <= WRITTEN {
                        @for (row, counts) in measures.confusion.iter().enumerate() {
                            @for (column, samples) in counts.iter().enumerate().filter(|(_, samples)| **samples > 0) {
                                text class="middle" style={ "font-size:" (font) "px" } x=(at(column, cell)) y=(format!("{:.1}", (row as f64 + 0.5) * cell + 0.36 * font)) { (samples) }
                            }
                        }
                    }
                    @if count <= NAMED {
                        @for (index, name) in short.iter().enumerate() {
                            text class="end" style={ "font-size:" (font) "px" } x="-5" y=(format!("{:.1}", (index as f64 + 0.5) * cell + 0.36 * font)) { (name) }
                            text class="end" style={ "font-size:" (font) "px" } transform={ "translate(" (format!("{:.1}", (index as f64 + 0.5) * cell + 0.36 * font)) " " (SIDE + 6.0) ") rotate(-90)" } { (name) }
                        }
                    } @else {
                        @for index in (0..count).step_by(count.div_ceil(50) * 10) {
                            text class="end" x="-5" y=(format!("{:.1}", (index as f64 + 0.5) * cell + 4.0)) { (index) }
                            text class="middle" x=(at(index, cell)) y=(SIDE + 15.0) { (index) }
                        }
                    }
                    text class="middle title" x=(SIDE / 2.0) y=(height - 10.0) { "predicted class" }
                    text class="middle title" transform={ "translate(" (12.0 - left) " " (SIDE / 2.0) ") rotate(-90)" } { "actual class" }
                }
            }
            ul class="legend" aria-hidden="true" {
                li { svg viewBox="0 0 24 10" { rect class="area c0" width="24" height="10" {} } "correct, by their share of the class" }
                li { svg viewBox="0 0 24 10" { rect class="area c1" width="24" height="10" {} } "mistakes, by their number" }
            }
            @if count > NAMED { p class="note" { "Classes are numbered from 0, in the order of the table of all classes." } }
        }
    }
}

/// The cells, those of one shade as one path.
fn shades(measures: &Classification, cell: f64) -> Markup {
    let largest =
        measures.confusion.iter().enumerate().flat_map(|(row, counts)| counts.iter().enumerate().filter(move |(column, _)| *column != row));
    let largest = largest.map(|(_, samples)| *samples).max().unwrap_or(0).max(1) as f64;
    let mut paths = [const { String::new() }; 2 * SHADES];
    for (row, counts) in measures.confusion.iter().enumerate() {
        let all: u64 = counts.iter().sum();
        for (column, samples) in counts.iter().enumerate().filter(|(_, samples)| **samples > 0) {
            let is_correct = row == column;
            // The root, so that rare mistakes are seen beside frequent ones.
            let share = if is_correct { *samples as f64 / all as f64 } else { (*samples as f64 / largest).sqrt() };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the number of shades")]
            let shade = ((share * SHADES as f64).ceil() as usize).clamp(1, SHADES) - 1;
            let path = &mut paths[if is_correct { shade } else { SHADES + shade }];
            let _ = write!(path, "M{:.1} {:.1}h{cell:.1}v{cell:.1}h-{cell:.1}z", column as f64 * cell, row as f64 * cell);
        }
    }
    html! {
        @for (index, path) in paths.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
            path class=(if index < SHADES { "area c0" } else { "area c1" }) style={ "fill-opacity:" (format!("{:.2}", 0.08 + 0.62 * (index % SHADES + 1) as f64 / SHADES as f64)) } d=(path) {}
        }
    }
}

fn at(index: usize, cell: f64) -> String {
    format!("{:.1}", (index as f64 + 0.5) * cell)
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LETTERS { name.to_owned() } else { name.chars().take(LETTERS - 1).chain(['…']).collect() }
}

fn in_words(measures: &Classification, names: &[String]) -> String {
    let top = measures.top_confusions(3);
    let listed: Vec<String> =
        top.iter().map(|top| format!("{} as {} {} times", names[top.actual], names[top.predicted], top.count)).collect();
    let mistakes = if listed.is_empty() { "No mistakes".to_owned() } else { format!("Most frequent confusions: {}", listed.join(", ")) };
    let of = counted(measures.confusion.len() as u64, "class").replace("classs", "classes");
    format!(
        "Confusion matrix of {of}: {} of {} samples are predicted correctly. {mistakes}.",
        percent(measures.accuracy),
        grouped(measures.count)
    )
}

/// The most frequent confusions.
pub(super) fn top(measures: &Classification, names: &[String]) -> Markup {
    let top = measures.top_confusions(LISTED);
    if top.is_empty() {
        return html! {};
    }
    let header = ["actual class", "predicted as", "samples", "of the class"].map(str::to_owned);
    let rows = top.iter().enumerate().map(|(index, top)| {
        let count = number(&format!("confusion.{index}"), top.count as f64, &grouped(top.count));
        vec![text(&names[top.actual]), text(&names[top.predicted]), count, text(percent(top.share))]
    });
    table("The most frequent confusions", 2, &header, rows)
}
