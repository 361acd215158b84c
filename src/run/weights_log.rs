//! `weights.jsonl`: after each epoch, what the values of each trained parameter are like. Only reports read it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use regulus_model::graph::{Graph, Role};
use regulus_model::{Values, Weights};
use serde::{Deserialize, Serialize};

use super::RunError;
use crate::atomic;
use crate::error::{Error, WriteError};

/// The bins of a histogram.
const BINS: usize = 40;

/// One line of `weights.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightsRow {
    /// Completed epochs; 0 for the initial weights.
    pub epoch: u64,
    /// The trained parameters by name.
    pub parameters: BTreeMap<String, WeightStatistics>,
}

/// The values of one parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightStatistics {
    /// Σ w².
    pub squares: f64,
    /// The fraction of values that are exactly 0.
    pub zeros: f64,
    /// The smallest value.
    pub min: f32,
    /// The largest value.
    pub max: f32,
    /// The number of values in each of 40 equal bins from `min` to `max`. For kernels only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histogram: Vec<u64>,
}

impl WeightsRow {
    /// The line of the weights of `graph` after `epoch` epochs.
    #[must_use]
    pub fn new(epoch: u64, weights: &Weights, graph: &Graph) -> Self {
        let trained = graph.parameters().filter(|parameter| parameter.role.is_trained());
        let of = |values: &Values, role| WeightStatistics::of(&values.numbers, role == Role::Kernel);
        let parameters = trained.filter_map(|parameter| {
            let values = weights.get(&parameter.name)?;
            Some((parameter.name.clone(), of(values, parameter.role)))
        });
        Self { epoch, parameters: parameters.collect() }
    }
}

impl WeightStatistics {
    fn of(numbers: &[f32], has_histogram: bool) -> Self {
        let (mut squares, mut zeros, mut min, mut max) = (0.0, 0_u64, f32::INFINITY, f32::NEG_INFINITY);
        for number in numbers {
            squares += f64::from(*number).powi(2);
            zeros += u64::from(*number == 0.0);
            (min, max) = (min.min(*number), max.max(*number));
        }
        let mut histogram = vec![0; if has_histogram { BINS } else { 0 }];
        if has_histogram {
            let per_width = if max > min { BINS as f32 / (max - min) } else { 0.0 };
            for number in numbers {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the number of bins")]
                let bin = ((number - min) * per_width) as usize;
                histogram[bin.min(BINS - 1)] += 1;
            }
        }
        Self { squares, zeros: zeros as f64 / numbers.len().max(1) as f64, min, max, histogram }
    }
}

/// Appends a line.
pub(super) fn append(path: &Path, row: &WeightsRow) -> Result<(), WriteError> {
    let line = serde_json::to_string(row).unwrap_or_else(|error| unreachable!("names and numbers serialize: {error}")) + "\n";
    let write = || {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(line.as_bytes())?;
        file.sync_data()
    };
    write().map_err(WriteError::at(path))
}

/// The lines before the first that is not whole. Empty without a file, as in runs of earlier versions.
pub(super) fn read(path: &Path) -> Result<Vec<WeightsRow>, RunError> {
    Ok(whole_lines(&content(path)?).map(|(_, row)| row).collect())
}

/// Removes the lines after `epoch`, which the resumed run writes again, and incomplete ones. Returns a warning if a line before is lost. Nothing but reports depends on
/// the file, so this is no error.
pub(super) fn truncate(path: &Path, epoch: u64) -> Result<Option<String>, Error> {
    let text = content(path)?;
    let (mut kept, mut last) = (String::new(), None);
    for (line, row) in whole_lines(&text).take_while(|(_, row)| row.epoch <= epoch) {
        kept += line;
        last = Some(row.epoch);
    }
    if kept.len() < text.len() {
        atomic::write(path, kept.as_bytes())?;
    }
    let is_lost = !text.is_empty() && last != Some(epoch);
    Ok(is_lost.then(|| format!("`{}` is incomplete: reports of this run lack the weights of some epochs", path.display())))
}

fn content(path: &Path) -> Result<String, RunError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(RunError::Read { path: path.to_owned(), source }),
    }
}

/// The lines, each with its end, and what they say; until the first that is not whole.
fn whole_lines(text: &str) -> impl Iterator<Item = (&str, WeightsRow)> {
    let whole = |line| Some((line, serde_json::from_str(str::strip_suffix(line, "\n")?).ok()?));
    text.split_inclusive('\n').map_while(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: u64) -> WeightsRow {
        WeightsRow { epoch, parameters: BTreeMap::from([("a.weight".to_owned(), WeightStatistics::of(&[0.5, -1.5], true))]) }
    }

    #[test]
    fn statistics_by_hand() {
        let found = WeightStatistics::of(&[-1.0, 0.0, 0.0, 3.0], true);
        assert_eq!((found.squares, found.zeros, found.min, found.max), (10.0, 0.5, -1.0, 3.0));
        // Bins of a tenth: −1 is in the first, 0 in the eleventh, 3 in the last.
        let filled: Vec<(usize, u64)> = found.histogram.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0, 1), (10, 2), (39, 1)]);
        let equal = WeightStatistics::of(&[0.25; 3], true);
        assert_eq!((equal.histogram[0], equal.histogram.iter().sum::<u64>()), (3, 3));
        assert!(WeightStatistics::of(&[1.0], false).histogram.is_empty());
    }

    #[test]
    fn lines_after_an_epoch_and_torn_ones_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.jsonl");
        assert_eq!((truncate(&path, 3).unwrap(), read(&path).unwrap()), (None, Vec::new()), "no file, as in earlier versions");
        (0..4).for_each(|epoch| append(&path, &row(epoch)).unwrap());
        assert_eq!(truncate(&path, 2).unwrap(), None);
        assert_eq!(read(&path).unwrap(), [row(0), row(1), row(2)]);
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{\"epoch\":3,").unwrap();
        assert_eq!((truncate(&path, 2).unwrap(), read(&path).unwrap().len()), (None, 3));
        assert!(truncate(&path, 3).unwrap().unwrap().contains("is incomplete"));
    }
}
