//! What is added when a run has ended: the measures of the kept network, its curves of precision and recall, and examples.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::message::Value;
use super::summary::{images, precision_recall, scalar};
use crate::session::{EvaluatedPicture, EvaluatedSample, Evaluation, MeasuredSplit, SplitSummary, Summary};

/// The measures of the kept network, such as `kept/test/accuracy`.
pub(super) fn measures(summary: &Summary, evaluation: Option<&Evaluation>) -> Vec<Value> {
    let splits = [("train", &summary.train), ("validation", &summary.validation), ("test", &summary.test)];
    let of_split = |(name, split): (&str, &Option<SplitSummary>)| {
        let Some(SplitSummary { data_loss, metrics, .. }) = split.as_ref() else { return Vec::new() };
        let named = |(metric, value): (&str, f64)| scalar(format!("kept/{name}/{metric}"), value);
        let metrics = metrics.iter().map(|(metric, value)| (metric.as_str(), *value));
        std::iter::once(("data_loss", *data_loss)).chain(metrics).map(named).collect()
    };
    let others = [
        ("penalty", summary.penalty),
        ("lambda", summary.lambda),
        ("weight_norm_squared", summary.weight_norm_squared),
        ("zero_weights", summary.zero_weights),
        ("zero_channels", summary.zero_channels),
    ];
    let others = others.into_iter().filter_map(|(name, value)| Some(scalar(format!("kept/{name}"), value?)));
    let calibration = evaluation.and_then(|evaluation| {
        let error = evaluation.classification.as_ref()?.calibration_error;
        Some(scalar(format!("kept/{}/calibration_error", split_name(evaluation.split)), error))
    });
    splits.into_iter().flat_map(of_split).chain(others).chain(calibration).collect()
}

/// Curves of precision and recall of each class, and examples: the samples of the highest loss and the most confident mistakes with what was predicted,
/// or pictures with what they were made of. `classes` are the names of the classes.
pub(super) fn examples(evaluation: &Evaluation, classes: &[String]) -> Vec<Value> {
    let split = split_name(evaluation.split);
    let counts = classes.iter().zip(&evaluation.probability_counts);
    let curves = counts.map(|(class, counts)| precision_recall(format!("{split}/{class}"), counts));
    let lists = [("confident_mistakes", &evaluation.confident_mistakes), ("highest_losses", &evaluation.highest_losses)];
    let samples = lists.into_iter().flat_map(|(name, list)| (1..).zip(list).filter_map(move |(rank, sample)| example(name, rank, sample)));
    let pictures = (1..).zip(&evaluation.pictures).flat_map(|(rank, picture)| pictures(rank, picture));
    curves.chain(samples).chain(pictures).collect()
}

fn example(list: &str, rank: usize, sample: &EvaluatedSample) -> Option<Value> {
    let EvaluatedSample { index, file, label, prediction, probability, loss, image } = sample;
    let tag = format!("{list}/{rank:02} label {label}, predicted {prediction} ({probability:.2})");
    let origin = file.clone().unwrap_or_else(|| format!("sample {index}"));
    images(tag, &format!("`{origin}`: cross-entropy {loss:.4}"), vec![decoded(image.as_ref())?])
}

fn pictures(rank: usize, picture: &EvaluatedPicture) -> impl Iterator<Item = Value> {
    let EvaluatedPicture { index, file, psnr, noisy_psnr, input, output, target, .. } = picture;
    let origin = file.clone().unwrap_or_else(|| format!("picture {index}"));
    let quality = |psnr: f64| format!(" (PSNR {psnr:.2} dB)");
    let noisy = noisy_psnr.map_or_else(String::new, quality);
    let images_of = [("1 input", noisy, input), ("2 output", quality(*psnr), output), ("3 target", String::new(), target)];
    images_of.into_iter().filter_map(move |(what, quality, image)| {
        images(format!("pictures/{rank} {what}{quality}"), &format!("`{origin}`"), vec![decoded(image.as_ref())?])
    })
}

fn decoded(image: Option<&String>) -> Option<Vec<u8>> {
    STANDARD.decode(image?).ok()
}

fn split_name(split: MeasuredSplit) -> &'static str {
    match split {
        MeasuredSplit::Train => "train",
        MeasuredSplit::Validation => "validation",
        MeasuredSplit::Test => "test",
    }
}
