//! The rows of a run as a table.

use std::path::Path;

use crate::atomic;
use crate::error::WriteError;
use crate::train::Row;

/// Writes `rows` to `path` in one step: CSV with a header, one line for each epoch and split. `penalties` are the labels of the penalties.
///
/// # Errors
///
/// When the file can't be written.
pub fn write_metrics_csv(rows: &[Row], penalties: &[String], path: &Path) -> Result<(), WriteError> {
    atomic::write(path, &table(rows, penalties))
}

fn table(rows: &[Row], penalties: &[String]) -> Vec<u8> {
    let rows: Vec<(&Row, Vec<(String, f64)>)> =
        rows.iter().map(|row| (row, row.measures().into_iter().chain(row.state(penalties)).collect())).collect();
    let names = names(rows.iter().map(|(_, columns)| columns.as_slice()));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut line = |line: Vec<String>| {
        writer.write_record(line).unwrap_or_else(|error| unreachable!("lines of one length are written to memory: {error}"));
    };
    line(["epoch", "step", "split"].into_iter().map(str::to_owned).chain(names.iter().cloned()).collect());
    for (row, columns) in &rows {
        let value = |name: &String| columns.iter().find(|(column, _)| column == name).map_or_else(String::new, |(_, value)| number(*value));
        let origin = [row.epoch.to_string(), row.step.to_string(), row.split.name().to_owned()];
        line(origin.into_iter().chain(names.iter().map(value)).collect());
    }
    writer.into_inner().unwrap_or_else(|error| unreachable!("it is written to memory: {error}"))
}

/// The names of all columns. One that some rows do not have is after the one before it in the rows that have it.
fn names<'a>(rows: impl Iterator<Item = &'a [(String, f64)]>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        let mut at = 0;
        for (name, _) in row {
            if let Some(known) = names.iter().position(|known| known == name) {
                at = known;
            } else {
                names.insert(at, name.clone());
            }
            at += 1;
        }
    }
    names
}

/// With every digit; NaN and infinities by name.
fn number(value: f64) -> String {
    if value.is_finite() { serde_json::Value::from(value).to_string() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_only_some_rows_have_keep_their_place() {
        let text = r#"{"epoch":1,"step":4,"split":"train","data_loss":0.5,"penalty":1e-7,"objective":0.75,"accuracy":0.875,"weight_norm_squared":3.0,"lambda":null,"lambdas":[2.0],"learning_rate":0.1,"seconds":2.0,"images_per_second":8.0}"#;
        let first: Row = serde_json::from_str(text).unwrap();
        let second = Row { epoch: 2, gamma: Some(4.0), ..first.clone() };
        let expected = "epoch,step,split,data_loss,penalty,objective,accuracy,weight_norm_squared,lambda,gamma,learning_rate,seconds,images_per_second\n\
                        1,4,train,0.5,1e-7,0.75,0.875,3.0,2.0,,0.1,2.0,8.0\n\
                        2,4,train,0.5,1e-7,0.75,0.875,3.0,2.0,4.0,0.1,2.0,8.0\n";
        assert_eq!(String::from_utf8(table(&[first, second], &[])).unwrap(), expected);
        assert_eq!([f64::NAN, f64::INFINITY].map(number), ["NaN", "inf"]);
    }
}
