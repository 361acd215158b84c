//! Tables and formatted numbers.

use std::fmt::{Display, Write};

use anstyle::Style;
use console::measure_text_width;

use crate::metrics::Metrics;

/// A cell of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell with a terminal style.
    pub(super) fn styled(text: impl Display, style: Style) -> Self {
        Self { text: text.to_string(), style }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, style: Style::new() }
    }
}

/// A table without lines. The first column is left-aligned, the others are right-aligned.
pub(super) fn table<C: Into<Cell>>(header: &[&str], rows: impl IntoIterator<Item = Vec<C>>) -> String {
    let header = header.iter().map(|title| Cell::from((*title).to_owned())).collect();
    let rows: Vec<Vec<Cell>> =
        std::iter::once(header).chain(rows.into_iter().map(|row| row.into_iter().map(Into::into).collect())).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| measure_text_width(&cell.text)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<Cell>| {
        let mut line = String::new();
        for (column, (Cell { text, style }, width)) in row.iter().zip(&widths).enumerate() {
            let space = " ".repeat(width - measure_text_width(text));
            let cell = format!("{style}{text}{style:#}");
            let _ = if column == 0 { write!(line, "{cell}{space}") } else { write!(line, "  {space}{cell}") };
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A name as one line: characters that move the cursor are escaped.
pub(super) fn one_line(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// A name as one line of at most `width` columns.
pub(super) fn shortened(name: &str, width: usize) -> String {
    console::truncate_str(&one_line(name), width, "…").into_owned()
}

/// A count with thousands separators: `60,000`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count with its noun: `1 epoch`, `1,000 steps`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A number rounded to an integer, with thousands separators.
pub(super) fn rounded(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a speed, rounded for people")]
    grouped(number.round() as u64)
}

/// The title of a metric, such as `PSNR`.
pub(super) fn metric_title(name: &str) -> String {
    match name {
        "psnr" | "ssim" => name.to_uppercase(),
        "noisy_psnr" | "noisy_ssim" => name.replace("noisy_", "noisy ").replace("psnr", "PSNR").replace("ssim", "SSIM"),
        name => name.replace('_', " "),
    }
}

/// The value of a metric: an accuracy in percent, PSNR in dB, others with four decimals.
pub(super) fn metric_value(name: &str, value: f64) -> String {
    match name {
        "accuracy" => percent(value),
        "psnr" | "noisy_psnr" => format!("{value:.2} dB"),
        _ => format!("{value:.4}"),
    }
}

/// Metrics with their titles, such as `PSNR 28.31 dB`.
pub(super) fn metrics_listed(metrics: &Metrics) -> Vec<String> {
    metrics.iter().map(|(name, value)| format!("{} {}", metric_title(name), metric_value(name, *value))).collect()
}

/// A loss with four decimals, or with four digits if it is small.
pub(super) fn loss(value: f64) -> String {
    if value == 0.0 || value.abs() >= 0.01 { format!("{value:.4}") } else { format!("{value:.3e}") }
}

/// A fraction as a percentage.
pub(super) fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

/// Seconds as `1 h 02 min`, `3 min 04 s` or `5.6 s`.
pub(super) fn duration(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds, rounded for people")]
    let whole = seconds.round() as u64;
    match whole {
        3600.. => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
        60.. => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_in_every_script() {
        let rows = [vec!["猫".to_owned(), "1".to_owned()], vec!["câlin".to_owned(), "10".to_owned()]];
        assert_eq!(table(&["class", "n"], rows), "class   n\n猫      1\ncâlin  10");
        assert_eq!(one_line("a\tb\n\u{1b}[2Jc"), "a\\tb\\n\\u{1b}[2Jc");
        assert_eq!(shortened("猫猫猫猫", 5), "猫猫…");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 60_000, 1_234_567].map(grouped), ["0", "999", "1,000", "60,000", "1,234,567"]);
        assert_eq!([5.64, 64.0, 3725.0].map(duration), ["5.6 s", "1 min 04 s", "1 h 02 min"]);
        assert_eq!(percent(0.98765), "98.77 %");
        assert_eq!([counted(1, "epoch"), counted(1000, "step")], ["1 epoch", "1,000 steps"]);
    }
}
