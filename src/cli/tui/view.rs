//! The layout of the screen.

use std::fmt::Write;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, LineGauge, Paragraph, Row as TableRow, Table};

use super::super::print;
use super::super::table::{duration, grouped, loss, metric_title, metric_value, rounded};
use super::curves;
use super::state::State;
use crate::numbers::{magnitude, measure_in_words, short};
use crate::train::{Row, Split};

/// The smallest width and height of a figure.
const FIGURE: [u16; 2] = [36, 6];

/// Draws everything.
pub(super) fn draw(frame: &mut Frame, state: &State) {
    let has_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let described = settings_in_words(state, frame.area().width.into());
    let lines = u16::try_from(described.len()).unwrap_or(u16::MAX).min(frame.area().height / 4);
    let one = Constraint::Length(1);
    let rows = [one, one, one, Constraint::Length(3), Constraint::Length(lines), Constraint::Min(0), one];
    let [head, progress, now, measures, settings, figures, foot] = Layout::vertical(rows).areas(frame.area());
    let bold = Style::new().bold();
    frame.render_widget(Paragraph::new(Line::styled(state.title.clone(), bold)), head);
    if usize::from(head.width) > state.title.chars().count() + state.folder.chars().count() + 2 {
        frame.render_widget(Paragraph::new(state.folder.clone()).alignment(Alignment::Right), head);
    }
    draw_progress(frame, state, progress, has_colours);
    frame.render_widget(Paragraph::new(now_in_words(state)), now);
    draw_measures(frame, state, measures);
    frame.render_widget(Paragraph::new(described.join("\n")), settings);
    draw_figures(frame, state, figures, has_colours);
    let message = print::last_held().map_or_else(String::new, |message| format!("   {message}"));
    frame.render_widget(
        Paragraph::new(Line::from(vec![
            Span::styled("q", bold),
            Span::raw(" or "),
            Span::styled("Ctrl-C", bold),
            Span::raw(": save and quit"),
            Span::raw(message),
        ])),
        foot,
    );
}

/// Epoch, share of the steps, and the time left.
fn draw_progress(frame: &mut Frame, state: &State, area: Rect, has_colours: bool) {
    let (step, steps, epoch) = state
        .progress
        .map_or((0, 0, state.rows.last().map_or(1, |row| row.epoch)), |progress| (progress.step, progress.steps, progress.epoch));
    // Before the first step of a resumed run the complete epochs are known.
    let (done, all) = if steps == 0 { (state.rows.last().map_or(0, |row| row.epoch), state.epochs.max(1)) } else { (step, steps) };
    let share = (done as f64 / all as f64).clamp(0.0, 1.0);
    let left = state.seconds_left().map_or_else(|| "time left unknown".to_owned(), |seconds| format!("{} left", duration(seconds)));
    let mut details = format!(" {:.0} %, {left}", 100.0 * share);
    if area.width >= 100 {
        let _ = write!(details, ", step {} of {}", grouped(step), grouped(steps));
    }
    let width = u16::try_from(details.chars().count()).unwrap_or(0);
    let [line, text] = Layout::horizontal([Constraint::Min(0), Constraint::Length(width)]).areas(area);
    let filled = if has_colours { Style::new().fg(Color::Green) } else { Style::new() };
    let gauge = LineGauge::default()
        .label(format!("epoch {epoch}/{}", state.epochs))
        .ratio(share)
        .filled_symbol("━")
        .unfilled_symbol("╌")
        .filled_style(filled);
    frame.render_widget(gauge, line);
    frame.render_widget(Paragraph::new(details), text);
}

/// What is done now.
fn now_in_words(state: &State) -> String {
    match (&state.phase, state.progress) {
        (Some((phase, since)), _) => {
            let left = match (phase.done, since.elapsed().as_secs_f64()) {
                (done, seconds) if done > 0 && phase.total > 0 => {
                    let left = seconds * phase.total.saturating_sub(done) as f64 / done as f64;
                    format!(" {:.0} %, {} left", 100.0 * done as f64 / phase.total as f64, duration(left))
                }
                _ => String::new(),
            };
            format!("now: {}{left}", phase.phase)
        }
        (None, Some(progress)) => format!(
            "now: data loss {}, penalty {}, {} images/s",
            loss(progress.data_loss),
            loss(progress.penalty),
            rounded(progress.images_per_second)
        ),
        (None, None) => "now: starting".to_owned(),
    }
}

/// The measures of the last complete epoch.
fn draw_measures(frame: &mut Frame, state: &State, area: Rect) {
    let Some(train) = state.last(Split::Train) else {
        frame.render_widget(Paragraph::new("no epoch is complete yet"), area);
        return;
    };
    let metrics: Vec<&String> = train.metrics.keys().collect();
    let titles = ["data loss".to_owned()]
        .into_iter()
        .chain(metrics.iter().map(|name| metric_title(name)))
        .chain(["penalty", "‖w‖²", "images/s"].map(str::to_owned));
    let right = |text: String| Cell::new(Line::raw(text).right_aligned());
    let header = std::iter::once(Cell::new(format!("epoch {}", train.epoch))).chain(titles.map(right));
    let row = |name: &str, row: &Row, has_speed: bool| {
        let measured = metrics.iter().map(|name| row.metrics.get(*name).map_or_else(String::new, |value| metric_value(name, *value)));
        let values = std::iter::once(loss(row.data_loss)).chain(measured);
        let others =
            [loss(row.penalty), magnitude(row.weight_norm_squared), if has_speed { rounded(row.images_per_second) } else { String::new() }];
        TableRow::new(std::iter::once(Cell::new(name.to_owned())).chain(values.chain(others).map(right)).collect::<Vec<_>>())
    };
    let mut rows = vec![row("train", train, true)];
    rows.extend(state.last(Split::Validation).map(|validation| row("validation", validation, false)));
    let columns = metrics.len() + 4;
    let widths = std::iter::once(Constraint::Length(11)).chain(std::iter::repeat_n(Constraint::Length(10), columns));
    let table = Table::new(rows, widths).header(TableRow::new(header.collect::<Vec<_>>()).style(Style::new().bold())).column_spacing(0);
    frame.render_widget(table, area);
}

/// λ of each penalty, the learning rate and the best epoch, on lines of at most `width` columns.
fn settings_in_words(state: &State, width: usize) -> Vec<String> {
    let Some(train) = state.last(Split::Train) else { return Vec::new() };
    let lambda = |(index, label): (usize, &String)| {
        let lambda = train.lambdas.get(index)?;
        let update = train.evidence.as_ref().and_then(|updates| *updates.get(index)?);
        let updated = update.map_or(String::new(), |update| format!(" → {}", short(update.lambda)));
        Some(format!("λ {}{updated} ({label})", short(*lambda)))
    };
    let mut words: Vec<String> = state.penalties.iter().enumerate().filter_map(lambda).collect();
    words.push(format!("learning rate {}", short(train.learning_rate)));
    words.extend(state.best.map(|(epoch, value, _)| format!("best epoch {epoch}: {}", measure_in_words(state.best_by, value))));
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() + 3 <= width => {
                line.push_str("   ");
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// As many figures as fit, in rows.
fn draw_figures(frame: &mut Frame, state: &State, area: Rect, has_colours: bool) {
    let figures = curves::all(state);
    let (columns, rows) = (usize::from((area.width / FIGURE[0]).max(1)), usize::from(area.height / FIGURE[1]));
    let shown = figures.len().min(columns * rows);
    if shown == 0 {
        return;
    }
    let used = shown.div_ceil(columns);
    let areas = Layout::vertical(std::iter::repeat_n(Constraint::Fill(1), used)).split(area);
    for (line, figures) in areas.iter().zip(figures[..shown].chunks(columns)) {
        let places = Layout::horizontal(std::iter::repeat_n(Constraint::Fill(1), figures.len())).spacing(1).split(*line);
        for (figure, place) in figures.iter().zip(places.iter()) {
            figure.draw(frame, *place, has_colours);
        }
    }
}
