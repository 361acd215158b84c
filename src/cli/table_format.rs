//! Formats of tables: text for a terminal, Markdown, LaTeX and CSV.

use super::args::TableFormatArg;
use super::table::table;
use crate::error::Error;

impl TableFormatArg {
    /// Whether numbers have every digit, for programs.
    pub(super) fn is_exact(self) -> bool {
        self == Self::Csv
    }

    /// What stands for a missing value.
    pub(super) fn missing(self) -> &'static str {
        if self.is_exact() { "" } else { "-" }
    }

    /// A table.
    ///
    /// # Errors
    ///
    /// When a cell can't be written as CSV.
    pub(super) fn table(self, header: &[&str], rows: Vec<Vec<String>>) -> Result<String, Error> {
        Ok(match self {
            Self::Text => table(header, rows),
            Self::Markdown => markdown(header, &rows),
            Self::Latex => latex(header, &rows),
            Self::Csv => csv(header, &rows)?,
        })
    }
}

fn markdown(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let escaped = |cell: &str| cell.replace('|', "\\|");
    let head = [line(header.iter().map(|cell| escaped(cell)).collect()), format!("|{}", "---|".repeat(header.len()))];
    head.into_iter().chain(rows.iter().map(|row| line(row.iter().map(|cell| escaped(cell)).collect()))).collect::<Vec<_>>().join("\n")
}

fn latex(header: &[&str], rows: &[Vec<String>]) -> String {
    let escaped = |cell: &str| {
        let symbols = [("‖w‖²", "$\\lVert w\\rVert^2$"), ("−", "$-$"), ("±", "$\\pm$"), ("λ", "$\\lambda$"), ("γ", "$\\gamma$")];
        let special = cell.chars().map(|c| if "&%$#_{}".contains(c) { format!("\\{c}") } else { c.to_string() }).collect::<String>();
        symbols.iter().fold(special, |cell, (symbol, command)| cell.replace(symbol, command))
    };
    let line = |cells: &mut dyn Iterator<Item = &str>| format!("{} \\\\", cells.map(escaped).collect::<Vec<_>>().join(" & "));
    let mut lines = vec![format!("\\begin{{tabular}}{{l{}}}", "r".repeat(header.len().saturating_sub(1))), "\\toprule".to_owned()];
    lines.extend([line(&mut header.iter().copied()), "\\midrule".to_owned()]);
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.extend(["\\bottomrule".to_owned(), "\\end{tabular}".to_owned()]);
    lines.join("\n")
}

fn csv(header: &[&str], rows: &[Vec<String>]) -> Result<String, Error> {
    let failed = |error: csv::Error| Error::Usage(format!("can't write the table as CSV: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header).map_err(failed)?;
    rows.iter().try_for_each(|row| writer.write_record(row)).map_err(failed)?;
    let bytes = writer.into_inner().unwrap_or_else(|error| unreachable!("it is written to memory: {error}"));
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}
