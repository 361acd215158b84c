//! Runs side by side: the settings that differ, final figures, and paired differences between runs of the same seed.

mod figure;
mod pairs;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::error::Error;
use crate::numbers::setting;
use crate::run::RunError;

use pairs::Paired;

pub use figure::{Figure, Unit};
pub use pairs::{PairedDifference, SeedPair};
pub use run::ComparedRun;

/// Runs side by side.
#[derive(Clone, Debug)]
pub struct RunComparison {
    /// The runs, in the order they were given.
    pub runs: Vec<ComparedRun>,
    /// The keys of the resolved configs that have other values in some runs, with the value of each run.
    pub settings: Vec<(String, Vec<Option<toml::Value>>)>,
    /// The final figures, of the checkpoint that `train.keep` selects.
    pub figures: Vec<Figure>,
    /// The paired differences of losses and metrics to the settings of the first run.
    pub differences: Vec<PairedDifference>,
    /// For each run the number of its settings, which runs of other seeds share.
    pub groups: Vec<usize>,
    /// What makes the comparison doubtful.
    pub warnings: Vec<String>,
}

impl RunComparison {
    /// Reads and compares the runs in `paths`. Nothing is written or locked.
    ///
    /// # Errors
    ///
    /// When there are fewer than two, one is given twice or is not a run folder, a file is damaged, or the tasks are not the same.
    pub fn new(paths: &[PathBuf]) -> Result<Self, Error> {
        if paths.len() < 2 {
            return Err(Error::Usage("expected two or more run folders to compare".to_owned()));
        }
        let mut seen = BTreeSet::new();
        for path in paths {
            if !seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
                return Err(Error::Usage(format!("run `{}` is given twice; leave one out", path.display())));
            }
        }
        let labels = labels(paths);
        let read = paths.iter().zip(labels).map(|(path, label)| ComparedRun::read(path, label));
        let runs: Vec<ComparedRun> = read.collect::<Result<_, Error>>()?;
        let first = &runs[0];
        for other in &runs[1..] {
            if std::mem::discriminant(&other.task) != std::mem::discriminant(&first.task) {
                let (one, two) = (first.path.clone(), other.path.clone());
                return Err(RunError::OtherTask { tasks: [first.task_name(), other.task_name()], paths: [one, two] }.into());
            }
        }
        let settings = differing(&runs);
        let figures = figure::figures(&runs);
        let Paired { differences, groups, mut warnings } = Paired::new(&runs, &figures);
        let of_runs = runs.iter().flat_map(|run| run.warnings.iter().map(|warning| format!("`{}`: {warning}", run.path.display())));
        warnings.extend(of_runs);
        if let Some(other) = runs[1..].iter().find(|other| other.dataset_sha256 != first.dataset_sha256) {
            warnings.push(format!(
                "`{}` and `{}` were not trained and measured on the same images, so that their figures may differ for that reason",
                first.path.display(),
                other.path.display()
            ));
        }
        Ok(Self { runs, settings, figures, differences, groups, warnings })
    }
}

/// The ends of the paths that tell the runs apart.
fn labels(paths: &[PathBuf]) -> Vec<String> {
    let parts: Vec<Vec<String>> =
        paths.iter().map(|path| path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()).collect();
    let longest = parts.iter().map(Vec::len).max().unwrap_or(1);
    let ends = |count: usize| parts.iter().map(|parts| parts[parts.len().saturating_sub(count)..].join("/")).collect::<Vec<String>>();
    let are_distinct = |labels: &Vec<String>| labels.iter().collect::<BTreeSet<_>>().len() == labels.len();
    (1..=longest).map(ends).find(are_distinct).unwrap_or_else(|| ends(longest))
}

/// The keys whose values are not the same in all runs.
fn differing(runs: &[ComparedRun]) -> Vec<(String, Vec<Option<toml::Value>>)> {
    let keys: BTreeSet<&String> = runs.iter().flat_map(|run| run.settings.keys()).collect();
    let values = keys.into_iter().map(|key| (key.clone(), runs.iter().map(|run| run.settings.get(key).cloned()).collect::<Vec<_>>()));
    values.filter(|(_, values)| values.iter().any(|value| *value != values[0])).collect()
}

/// Settings as text, such as `penalty.0.lambda=0.1`.
#[must_use]
pub fn settings_in_words(settings: &BTreeMap<String, Option<toml::Value>>) -> String {
    let value = |value: &Option<toml::Value>| value.as_ref().map_or_else(|| "not set".to_owned(), setting);
    let all: Vec<String> = settings.iter().map(|(key, of_key)| format!("{key}={}", value(of_key))).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_shortest_ends_that_differ() {
        let of = |paths: &[&str]| labels(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(of(&["artifacts/a", "artifacts/b/"]), ["a", "b"]);
        assert_eq!(of(&["x/a/run", "x/b/run", "run"]), ["a/run", "b/run", "run"]);
        assert_eq!(of(&["a/x/run", "b/x/run"]), ["a/x/run", "b/x/run"]);
    }
}
