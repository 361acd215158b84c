//! Tables and numbers for people.

use comfy_table::{CellAlignment, Table, presets};

/// A table without lines: the first column to the left, the others to the right.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A count with thousands apart: `60,000`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
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

/// A speed or other large number, rounded to a whole one with thousands apart.
pub(super) fn rounded(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a speed, rounded for people")]
    grouped(number.round() as u64)
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
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 60_000, 1_234_567].map(grouped), ["0", "999", "1,000", "60,000", "1,234,567"]);
        assert_eq!([5.64, 64.0, 3725.0].map(duration), ["5.6 s", "1 min 04 s", "1 h 02 min"]);
        assert_eq!(percent(0.98765), "98.77 %");
        assert_eq!([counted(1, "epoch"), counted(1000, "step")], ["1 epoch", "1,000 steps"]);
    }
}
