//! The final figures of runs.

use std::collections::BTreeSet;

use super::ComparedRun;
use crate::numbers::{Losses, duration, grouped, magnitude, metric_difference, metric_title, metric_value, percent, rounded, short};
use crate::session::{SplitSummary, Summary};

/// A final figure of each run.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name in `summary.json`, such as `test.data_loss`.
    pub key: String,
    /// Its title, such as `data loss (test)`.
    pub title: String,
    /// What it is measured in.
    pub unit: Unit,
    /// The value of each run.
    pub values: Vec<Option<f64>>,
}

/// What a figure is measured in, and how it is written for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A loss or a penalty.
    Loss,
    /// A metric of this name.
    Metric(String),
    /// A count.
    Count,
    /// λ.
    Lambda,
    /// ‖w‖².
    Norm,
    /// A fraction, in percent.
    Fraction,
    /// Seconds.
    Seconds,
    /// Images per second.
    Speed,
}

impl Unit {
    /// A value for people, with the decimals that make it comparable with `others`, which are beside it.
    #[must_use]
    pub fn shown(&self, value: f64, others: impl IntoIterator<Item = f64>) -> String {
        match self {
            Self::Loss => Losses::of(others.into_iter().chain([value])).shown(value),
            Self::Metric(name) => metric_value(name, value),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was a whole number")]
            Self::Count => grouped(value as u64),
            Self::Lambda => short(value),
            Self::Norm => magnitude(value),
            Self::Fraction => percent(value),
            Self::Seconds => duration(value),
            Self::Speed => rounded(value),
        }
    }

    /// A mean difference with its sign and its standard error without, for people.
    #[must_use]
    pub fn difference(&self, mean: f64, error: Option<f64>) -> (String, Option<String>) {
        let digits = Losses::of(error.into_iter().chain([mean]));
        let shown = |value: f64| match self {
            Self::Metric(name) => metric_difference(name, value),
            _ => digits.signed(value),
        };
        (shown(mean), error.map(|error| shown(error).trim_start_matches('+').to_owned()))
    }
}

impl Figure {
    /// Whether it measures how good the network is, so that runs are compared by it.
    pub(super) fn is_measured(&self) -> bool {
        matches!(self.unit, Unit::Loss | Unit::Metric(_)) && (self.key.starts_with("test.") || self.key.starts_with("validation."))
    }
}

/// The figures that some run has.
pub(super) fn figures(runs: &[ComparedRun]) -> Vec<Figure> {
    let of = |key: &str, title: &str, unit: Unit, value: &dyn Fn(&Summary) -> Option<f64>| Figure {
        key: key.to_owned(),
        title: title.to_owned(),
        unit,
        values: runs.iter().map(|run| value(run.summary.as_ref()?)).collect(),
    };
    let mut all = Vec::new();
    for (name, split) in splits() {
        let metrics: BTreeSet<&String> =
            runs.iter().filter_map(|run| split(run.summary.as_ref()?).as_ref()).flat_map(|split| split.metrics.keys()).collect();
        all.push(of(&format!("{name}.data_loss"), &format!("data loss ({name})"), Unit::Loss, &|summary| {
            Some(split(summary).as_ref()?.data_loss)
        }));
        for metric in metrics {
            let title = format!("{} ({name})", metric_title(metric));
            let value = |summary: &Summary| split(summary).as_ref()?.metric(metric);
            all.push(of(&format!("{name}.{metric}"), &title, Unit::Metric(metric.clone()), &value));
        }
    }
    all.push(of("penalty", "penalty", Unit::Loss, &|summary| summary.penalty));
    all.extend(lambdas(runs));
    all.push(of("weight_norm_squared", "‖w‖²", Unit::Norm, &|summary| summary.weight_norm_squared));
    if runs.iter().filter_map(|run| run.summary.as_ref()?.zero_weights).any(|zeros| zeros > 0.0) {
        all.push(of("zero_weights", "weights 0", Unit::Fraction, &|summary| summary.zero_weights));
    }
    all.push(of("epochs", "epochs", Unit::Count, &|summary| Some(summary.epochs as f64)));
    all.push(of("best_epoch", "best epoch", Unit::Count, &|summary| summary.best_epoch.map(|epoch| epoch as f64)));
    all.push(of("seconds", "training", Unit::Seconds, &|summary| Some(summary.seconds)));
    all.push(of("images_per_second", "images/s", Unit::Speed, &|summary| summary.images_per_second));
    all.retain(|figure| figure.values.iter().any(Option::is_some));
    all
}

/// λ of each penalty that some run has.
fn lambdas(runs: &[ComparedRun]) -> Vec<Figure> {
    let mut labels: Vec<&String> = Vec::new();
    for label in runs.iter().flat_map(|run| &run.penalties) {
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    let value = |run: &ComparedRun, label: &String| {
        let index = run.penalties.iter().position(|own| own == label)?;
        run.summary.as_ref()?.lambdas.get(index).copied()
    };
    let figure = |label: &String| Figure {
        key: format!("lambda.{label}"),
        title: format!("λ ({label})"),
        unit: Unit::Lambda,
        values: runs.iter().map(|run| value(run, label)).collect(),
    };
    labels.into_iter().map(figure).collect()
}

type OfSplit = fn(&Summary) -> &Option<SplitSummary>;

/// The splits of a summary by their names.
fn splits() -> [(&'static str, OfSplit); 3] {
    [("test", |summary| &summary.test), ("validation", |summary| &summary.validation), ("train", |summary| &summary.train)]
}
