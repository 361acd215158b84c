//! Tables.

use std::fmt::{Display, Write};

use anstyle::Style;
use console::measure_text_width;

pub(super) use crate::numbers::{brief, counted, duration, grouped, loss, metric_title, metric_value, metrics_listed, percent, rounded};

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
    table_of_words(1, header, rows)
}

/// A table without lines. The first `words` columns are left-aligned, the others are right-aligned.
pub(super) fn table_of_words<C: Into<Cell>>(words: usize, header: &[&str], rows: impl IntoIterator<Item = Vec<C>>) -> String {
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
            let between = if column == 0 { "" } else { "  " };
            let _ = if column < words { write!(line, "{between}{cell}{space}") } else { write!(line, "{between}{space}{cell}") };
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
}
