//! What an event shows: values of each kind, as TensorBoard's plugins expect them.

use prost::Message;

use super::message::{
    BLOBS, Category, Chart, CurveContent, DOUBLE, Dimension, FLOAT, Layout, Lines, Metadata, PluginData, STRING, SettingsContent, Shape,
    TENSOR, Tensor, Value,
};
use crate::metrics::{Decisions, ProbabilityCounts};
use crate::run::WeightStatistics;

/// A number.
pub(super) fn scalar(tag: String, value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "TensorBoard has scalars as float32")]
    let value = value as f32;
    Value { tag, scalar: Some(value), ..Value::default() }
}

/// The histogram of a kernel. Returns `None` for other parameters, which have none.
pub(super) fn histogram(tag: String, statistics: &WeightStatistics) -> Option<Value> {
    let WeightStatistics { min, max, histogram, .. } = statistics;
    let (min, max, bins) = (f64::from(*min), f64::from(*max), histogram.len());
    let edge = |index: usize| if index == bins { max } else { min + (max - min) * index as f64 / bins as f64 };
    let rows = histogram.iter().enumerate().flat_map(|(index, count)| [edge(index), edge(index + 1), *count as f64]);
    let tensor = Tensor { kind: DOUBLE, shape: Some(shape(&[bins, 3])), doubles: rows.collect(), ..Tensor::default() };
    (bins > 0).then(|| of_plugin(tag, "histograms", Vec::new(), TENSOR, tensor))
}

/// Images: PNG files. `description` is Markdown. Returns `None` if one is not a PNG file.
pub(super) fn images(tag: String, description: &str, files: Vec<Vec<u8>>) -> Option<Value> {
    let (width, height) = png_size(files.first()?)?;
    let sizes = [width, height].map(|side| side.to_string().into_bytes());
    let strings: Vec<Vec<u8>> = sizes.into_iter().chain(files).collect();
    let tensor = Tensor { kind: STRING, shape: Some(shape(&[strings.len()])), strings, ..Tensor::default() };
    let mut value = of_plugin(tag, "images", Vec::new(), BLOBS, tensor);
    value.metadata.iter_mut().for_each(|metadata| description.clone_into(&mut metadata.description));
    Some(value)
}

/// Width and height, which are at the beginning of every PNG file.
fn png_size(file: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| Some(u32::from_be_bytes(file.get(at..at + 4)?.try_into().ok()?));
    (file.get(12..16)? == b"IHDR").then_some((number(16)?, number(20)?))
}

/// Precision and recall of a class at each threshold.
pub(super) fn precision_recall(tag: String, counts: &ProbabilityCounts) -> Value {
    let decisions = counts.decisions();
    let thresholds = decisions.len();
    let count = |count: u64| count as f64;
    let rows: [Vec<f64>; 6] = [
        decisions.iter().map(|decisions| count(decisions.true_positives)).collect(),
        decisions.iter().map(|decisions| count(decisions.false_positives)).collect(),
        decisions.iter().map(|decisions| count(decisions.true_negatives)).collect(),
        decisions.iter().map(|decisions| count(decisions.false_negatives)).collect(),
        decisions.iter().map(Decisions::precision).collect(),
        decisions.iter().map(Decisions::recall).collect(),
    ];
    #[expect(clippy::cast_possible_truncation, reason = "TensorBoard has these as float32")]
    let floats = rows.concat().into_iter().map(|value| value as f32).collect();
    let tensor = Tensor { kind: FLOAT, shape: Some(shape(&[6, thresholds])), floats, ..Tensor::default() };
    let content = CurveContent { version: 0, thresholds: u32::try_from(thresholds).unwrap_or(u32::MAX) };
    of_plugin(tag, "pr_curves", content.encode_to_vec(), TENSOR, tensor)
}

/// Settings of the run, or its end, for the plugin `hparams`.
pub(super) fn settings(tag: &str, content: &SettingsContent) -> Value {
    let tensor = Tensor { kind: FLOAT, shape: Some(shape(&[])), floats: vec![0.0], ..Tensor::default() };
    of_plugin(tag.to_owned(), "hparams", content.encode_to_vec(), TENSOR, tensor)
}

/// Charts that show several curves each, for the plugin `custom_scalars`. `charts` have a title and regular expressions for tags.
pub(super) fn layout(title: &str, charts: Vec<(String, Vec<String>)>) -> Value {
    let chart = |(title, tags)| Chart { title, lines: Some(Lines { tags }) };
    let category = Category { title: title.to_owned(), charts: charts.into_iter().map(chart).collect() };
    let strings = vec![Layout { categories: vec![category] }.encode_to_vec()];
    let tensor = Tensor { kind: STRING, shape: Some(shape(&[])), strings, ..Tensor::default() };
    of_plugin("custom_scalars__config__".to_owned(), "custom_scalars", Vec::new(), TENSOR, tensor)
}

fn of_plugin(tag: String, name: &str, content: Vec<u8>, data_class: i32, tensor: Tensor) -> Value {
    let plugin = Some(PluginData { name: name.to_owned(), content });
    let metadata = Some(Metadata { plugin, data_class, ..Metadata::default() });
    Value { tag, tensor: Some(tensor), metadata, scalar: None }
}

fn shape(sizes: &[usize]) -> Shape {
    let dimension = |size: &usize| Dimension { size: i64::try_from(*size).unwrap_or(i64::MAX) };
    Shape { dimensions: sizes.iter().map(dimension).collect() }
}
