//! What a run is in MLflow: parameters, metrics with steps, tags.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::checksum::sha256;
use crate::config::Experiment;
use crate::run::Manifest;
use crate::session::{SplitSummary, Summary};
use crate::train::Row;

/// The longest value of a parameter.
const LONGEST_VALUE: usize = 6000;

/// A metric.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Metric {
    pub(super) key: String,
    pub(super) value: f64,
    /// The number of completed epochs.
    pub(super) step: u64,
    /// Seconds of training.
    pub(super) seconds: f64,
}

impl Metric {
    /// The metric in a request. `started` is the start of the run in seconds since 1970.
    pub(super) fn json(&self, started: f64) -> Value {
        // JSON has no numbers for these, and MLflow takes them as text.
        let value = match self.value {
            value if value.is_nan() => json!("NaN"),
            f64::INFINITY => json!("Infinity"),
            f64::NEG_INFINITY => json!("-Infinity"),
            value => json!(value),
        };
        json!({ "key": self.key, "value": value, "step": self.step, "timestamp": milliseconds(started + self.seconds) })
    }
}

/// Every setting as text.
pub(super) fn parameters(experiment: &Experiment) -> Vec<Value> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let parameter = |(path, value): (String, Value)| {
        let value: String = text(value).chars().take(LONGEST_VALUE).collect();
        json!({ "key": key_of(&path), "value": value })
    };
    experiment.settings().into_iter().map(parameter).collect()
}

/// The metrics of all epochs, with the names of the columns of `metrics.jsonl`, such as `data_loss/train`.
pub(super) fn metrics(rows: &[Row], penalties: &[String]) -> Vec<Metric> {
    let (mut metrics, mut last) = (Vec::new(), None);
    for row in rows {
        let mut add = |key: String, value: f64| metrics.push(Metric { key, value, step: row.epoch, seconds: row.seconds });
        row.measures().into_iter().for_each(|(name, value)| add(format!("{}/{}", key_of(&name), row.split.name()), value));
        if last.replace(row.epoch) != Some(row.epoch) {
            let state = distinct(row.state(penalties));
            state.into_iter().for_each(|(name, value)| add(name, value));
        }
    }
    metrics
}

/// The measures of the kept network after `epoch` epochs, such as `kept/test/accuracy`. Empty before the run has ended.
pub(super) fn measures(summary: &Summary, epoch: u64) -> Vec<Metric> {
    let seconds = summary.seconds;
    let metric = |name: String, value: f64| Metric { key: format!("kept/{name}"), value, step: epoch, seconds };
    let splits = [("train", &summary.train), ("validation", &summary.validation), ("test", &summary.test)];
    let of_split = |(name, split): (&str, &Option<SplitSummary>)| -> Vec<Metric> {
        let Some(SplitSummary { data_loss, metrics, .. }) = split.as_ref() else { return Vec::new() };
        let metrics = metrics.iter().map(|(metric, value)| (key_of(metric), *value));
        let all = std::iter::once(("data_loss".to_owned(), *data_loss)).chain(metrics);
        all.map(|(measure, value)| metric(format!("{name}/{measure}"), value)).collect()
    };
    let others = [("penalty", summary.penalty), ("lambda", summary.lambda), ("weight_norm_squared", summary.weight_norm_squared)];
    let others = others.into_iter().filter_map(|(name, value)| Some(metric(name.to_owned(), value?)));
    splits.into_iter().flat_map(of_split).chain(others).collect()
}

/// Tags of a run.
pub(super) fn tags(manifest: &Manifest, summary: Option<&Summary>) -> Vec<Value> {
    let tag = |key: &str, value: &str| json!({ "key": key, "value": value });
    let status = summary.map(|summary| serde_json::to_value(summary.status).unwrap_or_default());
    vec![
        tag(IDENTITY, &identity(manifest)),
        tag("regulus.version", &manifest.version),
        tag("regulus.backend", &manifest.backend),
        tag("regulus.device", &manifest.device),
        tag("regulus.dataset", &manifest.dataset.source),
        tag("regulus.dataset_sha256", &manifest.dataset.sha256),
        tag("regulus.status", status.as_ref().and_then(Value::as_str).unwrap_or("unfinished")),
        tag("mlflow.source.name", "regulus"),
    ]
}

/// The tag by which a run is found again.
pub(super) const IDENTITY: &str = "regulus.run";

/// What a run keeps when it is resumed or its folder is copied or moved, and changes when it is extended: parameters in MLflow can't be changed.
pub(super) fn identity(manifest: &Manifest) -> String {
    let config = manifest.extended.last().map_or(&manifest.config_sha256, |extension| &extension.config_sha256);
    sha256(format!("{} {config} {}", manifest.started, manifest.dataset.sha256).as_bytes())[..32].to_owned()
}

/// A time in milliseconds since 1970.
pub(super) fn milliseconds(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a time in milliseconds is far below 2^63")]
    let milliseconds = (1000.0 * seconds).round() as i64;
    milliseconds
}

/// A key as MLflow allows it: letters, digits, `_`, `-`, `.`, `/` and spaces; others become `_`.
fn key_of(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "_-./ ".contains(c) { c } else { '_' }).collect()
}

/// Names as keys, in which labels are separated by a dot: a store of files can't have both `gamma` and `gamma/…`. Equal ones are numbered.
fn distinct(columns: Vec<(String, f64)>) -> Vec<(String, f64)> {
    let mut known = HashSet::new();
    let key = |name: &str| key_of(&name.replace('/', "."));
    let mut distinct_key = |name: &str| {
        let numbered = (2..).map(|number| format!("{} {number}", key(name)));
        let free = std::iter::once(key(name)).chain(numbered).find(|key| known.insert(key.clone()));
        free.unwrap_or_else(|| unreachable!("one of the numbers is free"))
    };
    columns.into_iter().map(|(name, value)| (distinct_key(&name), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_allowed_characters_and_are_distinct() {
        let columns = ["lambda/l1 on conv*.weight", "lambda/l1 on conv_.weight", "gamma"].map(|name| (name.to_owned(), 0.0));
        let keys: Vec<String> = distinct(columns.to_vec()).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["lambda.l1 on conv_.weight", "lambda.l1 on conv_.weight 2", "gamma"]);
    }

    #[test]
    fn what_is_no_number_is_text() {
        let json = |value| Metric { key: "a".to_owned(), value, step: 3, seconds: 1.5 }.json(10.0);
        assert_eq!(json(0.25), json!({ "key": "a", "value": 0.25, "step": 3, "timestamp": 11_500 }));
        let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(|value| json(value)["value"].clone());
        assert_eq!(values, [json!("NaN"), json!("Infinity"), json!("-Infinity")]);
    }
}
