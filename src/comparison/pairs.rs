//! Paired differences between runs of the same seed.

use std::collections::BTreeMap;

use super::{ComparedRun, Figure, Unit};
use crate::search::mean_and_deviation;

/// Keys that do not change what a run learns.
const WITHOUT_EFFECT: [&str; 3] = ["name", "artifacts", "backend.threads"];

/// Keys on which the validation images depend, besides the seed of their split.
const OF_VALIDATION: [&str; 2] = ["data.validation", "data.train_limit"];

/// Two runs of the same seed and split.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedPair {
    /// The run with the settings of the first run.
    pub reference: usize,
    /// The run with the other settings.
    pub run: usize,
    /// The figure of the run minus that of the reference.
    pub difference: f64,
}

/// The differences of one figure between two settings, over runs of the same seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct PairedDifference {
    /// The settings that differ from those of the reference. `None`: not set.
    pub settings: BTreeMap<String, Option<toml::Value>>,
    /// The same keys in the reference, whose settings are those of the first run.
    pub reference: BTreeMap<String, Option<toml::Value>>,
    /// The name of the figure in `summary.json`.
    pub figure: String,
    /// The title of the figure.
    pub title: String,
    /// What it is measured in.
    pub unit: Unit,
    /// The pairs.
    pub pairs: Vec<SeedPair>,
    /// The mean of the differences.
    pub mean: f64,
    /// The standard error of the mean, s·√(1/J + r) over J pairs, s the standard deviation of the differences. r is 0 if all runs have the same split, and the
    /// ratio of validation to training samples if they have several, which overlap (Nadeau and Bengio 2003). `None` with J = 1.
    pub standard_error: Option<f64>,
}

/// Values of keys.
type Values<'a> = BTreeMap<&'a str, &'a toml::Value>;

/// Runs with the same data and settings, by seed and split.
struct Group<'a> {
    dataset: &'a str,
    settings: Values<'a>,
    runs: BTreeMap<String, usize>,
}

/// The differences of losses and metrics to the settings of the first run.
pub(super) struct Paired {
    pub(super) differences: Vec<PairedDifference>,
    /// For each run the number of its settings.
    pub(super) groups: Vec<usize>,
    /// What is not used, and why.
    pub(super) warnings: Vec<String>,
}

impl Paired {
    pub(super) fn new(runs: &[ComparedRun], figures: &[Figure]) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let mut paired = Self { differences: Vec::new(), groups: Vec::new(), warnings: Vec::new() };
        for (index, run) in runs.iter().enumerate() {
            let (random, settings): (Values, Values) =
                run.settings.iter().map(|(key, value)| (key.as_str(), value)).partition(|(key, value)| is_random(key, value));
            let settings: Values = settings.into_iter().filter(|(key, _)| !WITHOUT_EFFECT.contains(key)).collect();
            let seed = random.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
            let at =
                groups.iter().position(|group| group.dataset == run.dataset_sha256 && group.settings == settings).unwrap_or_else(|| {
                    groups.push(Group { dataset: &run.dataset_sha256, settings, runs: BTreeMap::new() });
                    groups.len() - 1
                });
            paired.groups.push(at);
            let first = *groups[at].runs.entry(seed).or_insert(index);
            if first != index {
                let (used, unused) = (runs[first].path.display(), run.path.display());
                paired.warnings.push(format!("`{unused}` has the settings and the seed of `{used}`; only the latter is paired"));
            }
        }
        if let Some((reference, others)) = groups.split_first() {
            let measured = || figures.iter().filter(|figure| figure.is_measured());
            // Losses on other images are not paired.
            for group in others.iter().filter(|group| group.dataset == reference.dataset) {
                let other = OF_VALIDATION.into_iter().find(|key| group.settings.get(key) != reference.settings.get(key));
                let is_paired = |figure: &&Figure| other.is_none() || !figure.key.starts_with("validation.");
                let differences: Vec<PairedDifference> =
                    measured().filter(is_paired).filter_map(|figure| difference(runs, reference, group, figure)).collect();
                let has_validation =
                    measured().filter(|figure| !is_paired(figure)).any(|figure| difference(runs, reference, group, figure).is_some());
                if let (Some(key), true) = (other, has_validation) {
                    let path = runs[*group.runs.values().min().unwrap_or(&0)].path.display();
                    paired
                        .warnings
                        .push(format!("`{path}` has another `{key}`, and so other validation images: validation figures are not paired"));
                }
                paired.differences.extend(differences);
            }
        }
        paired
    }
}

fn difference(runs: &[ComparedRun], reference: &Group, group: &Group, figure: &Figure) -> Option<PairedDifference> {
    let pair = |(seed, run): (&String, &usize)| {
        let reference = *reference.runs.get(seed)?;
        let difference = figure.values[*run]? - figure.values[reference]?;
        difference.is_finite().then_some(SeedPair { reference, run: *run, difference })
    };
    let pairs: Vec<SeedPair> = group.runs.iter().filter_map(pair).collect();
    if pairs.is_empty() {
        return None;
    }
    let (mean, deviation) = mean_and_deviation(&pairs.iter().map(|pair| pair.difference).collect::<Vec<_>>());
    let splits: Vec<Option<String>> = pairs.iter().map(|pair| split_of(&runs[pair.run])).collect();
    let has_several = splits.iter().any(|split| *split != splits[0]);
    let correction = if has_several { runs[pairs[0].run].validation_ratio } else { 0.0 };
    let keys =
        || reference.settings.keys().chain(group.settings.keys()).filter(|key| reference.settings.get(*key) != group.settings.get(*key));
    let of = |settings: &Values| keys().map(|key| ((*key).to_owned(), settings.get(key).map(|value| (*value).clone()))).collect();
    Some(PairedDifference {
        settings: of(&group.settings),
        reference: of(&reference.settings),
        figure: figure.key.clone(),
        title: figure.title.clone(),
        unit: figure.unit.clone(),
        mean,
        standard_error: deviation.map(|deviation| deviation * (1.0 / pairs.len() as f64 + correction).sqrt()),
        pairs,
    })
}

/// Whether a key says which random numbers or which fold a run has.
fn is_random(key: &str, value: &toml::Value) -> bool {
    matches!(key, "seed" | "data.split_seed") || key == "data.validation" && value.as_str().is_some_and(|value| value.starts_with("fold"))
}

/// What the random validation split depends on. `None`: there is none.
fn split_of(run: &ComparedRun) -> Option<String> {
    let validation = run.settings.get("data.validation")?;
    let is_random_split = validation.as_float().is_some_and(|share| share > 0.0) || is_random("data.validation", validation);
    let seed = run.settings.get("data.split_seed").or(run.seed())?;
    is_random_split.then(|| format!("{validation} {seed}"))
}
