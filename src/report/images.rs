//! Samples and pictures as images, and the filters of the first layer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};
use regulus_model::graph::{Parameter, Role};

use super::page::{image, number, text};
use super::run_files::RunFiles;
use crate::data::{Picture, Shape};
use crate::numbers::{loss, metric_value, percent};
use crate::session::{EvaluatedPicture, EvaluatedSample, Evaluation};

/// The largest number of filters.
const FILTERS: usize = 64;

/// A list of samples. `key` names it in the numbers.
pub(super) fn samples(key: &str, samples: &[EvaluatedSample]) -> Markup {
    let name = |sample: &EvaluatedSample| sample.file.clone().unwrap_or_else(|| format!("#{}", sample.index));
    html! {
        ul class="images" {
            @for (at, sample) in samples.iter().enumerate() {
                li {
                    @match &sample.image {
                        Some(png) => (image(png, &format!("Image of class {}, predicted as {}", sample.label, sample.prediction))),
                        None => p class="note" { "neither grey nor colour" },
                    }
                    "class " b { (sample.label) } @if sample.prediction == sample.label { ", correct" } @else { ", predicted " b { (sample.prediction) } }
                    br; "probability " (number(&format!("{key}.{at}.probability"), sample.probability, &percent(sample.probability)))
                    br; "loss " (number(&format!("{key}.{at}.loss"), sample.loss, &loss(sample.loss)))
                    br; span class="soft" { (name(sample)) }
                }
            }
        }
    }
}

/// What the names of images without a file are; nothing if all have one.
pub(super) fn about_indexes(evaluation: &Evaluation) -> Markup {
    let samples = evaluation.confident_mistakes.iter().chain(&evaluation.highest_losses).map(|sample| &sample.file);
    let has_indexes = samples.chain(evaluation.pictures.iter().map(|picture| &picture.file)).any(Option::is_none);
    html! {
        @if has_indexes {
            p class="note" { "An image without a file is named by # and its place in the split, counted from 0, as in " code { "regulus evaluate --predictions" } "." }
        }
    }
}

/// Input, output and target of denoised pictures.
pub(super) fn pictures(pictures: &[EvaluatedPicture]) -> Markup {
    html! {
        div class="triples" {
            @for (index, picture) in pictures.iter().enumerate() {
                figure {
                    figcaption {
                        "PSNR " (number(&format!("picture.{index}.psnr"), picture.psnr, &metric_value("psnr", picture.psnr)))
                        @if let Some(noisy) = picture.noisy_psnr { ", of the noisy picture " (text(metric_value("psnr", noisy))) }
                        span class="soft" { " – " (picture.file.clone().unwrap_or_else(|| format!("#{}", picture.index))) }
                    }
                    div {
                        @for (name, png) in [("input", &picture.input), ("output", &picture.output), ("target", &picture.target)] {
                            div {
                                @if let Some(png) = png { (image(png, &format!("{name} of picture {}", index + 1))) }
                                span { (name) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The kernel that the input goes into, as images. `None` if there is none whose weights are images.
pub(super) fn filters(run: &RunFiles) -> Option<Markup> {
    let kept = run.kept.as_ref()?;
    let input = run.manifest.graph.input();
    let parameter = run.manifest.graph.parameters().find(|parameter| parameter.role == Role::Kernel)?;
    let shape = image_shape(parameter, input)?;
    let values = kept.weights.get(&parameter.name)?;
    let all = parameter.shape[0];
    let shown = all.min(FILTERS);
    let images: Option<Vec<String>> =
        values.numbers.chunks(shape.size()).take(shown).map(|weights| Some(STANDARD.encode(filter(weights, shape).to_png()?))).collect();
    let images = images?;
    // A weight is seen, and an image is not too large.
    let width = (16 * shape.width).clamp(48, 112);
    let what = if parameter.shape.len() == 4 { "filters" } else { "units" };
    let count = if shown < all { format!("the first {shown} of {all} {what}") } else { format!("all {all} {what}") };
    let colours = match shape.channels {
        3 => "Grey is 0; red, green and blue are the weights of these channels.",
        1 => "Grey is 0, white the largest weight of each, black its negative.",
        _ => "Grey is 0, white the largest weight of each, black its negative; of the first channel.",
    };
    Some(html! {
        figure {
            figcaption { (parameter.name) ": " (count) ", " (kept.kind.name()) " checkpoint, epoch " (kept.epoch) }
            div class="filters" role="img" aria-label={ "The weights of " (parameter.name) " as images. " (colours) } {
                @for (index, png) in images.iter().enumerate() { img width=(width) alt={ "output " (index) } src={ "data:image/png;base64," (png) }; }
            }
            p class="note" { (colours) }
        }
    })
}

/// The shape of the image that the weights to one output are.
fn image_shape(parameter: &Parameter, input: Shape) -> Option<Shape> {
    match parameter.shape.as_slice() {
        // A single weight is no image.
        [_, channels, height, width] if height * width > 1 => Some(Shape { channels: *channels, height: *height, width: *width }),
        [_, inputs] if *inputs == input.size() => Some(input),
        _ => None,
    }
}

/// The weights to one output as an image, scaled to the largest absolute one.
fn filter(weights: &[f32], shape: Shape) -> Picture {
    let channels = if shape.channels == 3 { 3 } else { 1 };
    let shown = &weights[..channels * shape.height * shape.width];
    let largest = shown.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs())).max(f32::MIN_POSITIVE);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 255")]
    let pixels = shown.iter().map(|weight| (127.5 + 127.5 * weight / largest).round() as u8).collect();
    Picture { shape: Shape { channels, ..shape }, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_scaled_to_its_largest_weight() {
        let shape = Shape { channels: 2, height: 1, width: 3 };
        let picture = filter(&[-0.5, 0.0, 0.25, 9.0, 9.0, 9.0], shape);
        assert_eq!((picture.shape.channels, picture.pixels), (1, vec![0, 128, 191]), "the first of two channels");
        assert_eq!(filter(&[0.0; 3], Shape { channels: 3, height: 1, width: 1 }).pixels, [128; 3]);
    }
}
